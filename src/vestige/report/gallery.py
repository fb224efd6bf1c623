"""The pictures of a report: recovered samples, with the truth beside them when it is known."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vestige.report.picture import Drawn, painter
from vestige.report.verdict import misfit

LARGEST = 60  # pictures shown; the page says when there are more
FAINT = 0.01  # confidence below which a sample is shown only where there is nothing better


@dataclass(frozen=True)
class Picture:
    """One card: a reconstruction (none when others took them all), as they are drawn.

    Where they are known the true sample stands beside it, and the unseen sample that comes nearest to that one.
    """

    recovered: Drawn | None
    truth: Drawn | None
    unseen: Drawn | None
    caption: str
    remark: str
    passed: bool | None


@dataclass(frozen=True)
class Gallery:
    """The cards shown, how many there are in all, and why none of them is worth a look, where that is so."""

    pictures: tuple[Picture, ...]
    total: int
    faint: str = ""


def gallery(results: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Gallery:
    """Cards for the recovered samples: each true sample with its nearest one, or the likeliest without the truth.

    Args:
        results: of an audit, see `vestige.report.html`.
        tensors: "samples" in data space and, when the training data were given, "truth", with held-out data also
            "unseen", the nearest of them to each true sample.
    """
    draw, score = painter(results, tensors.get("truth", tensors["samples"])), results.get("score")
    if score and "truth" in tensors and len(tensors["samples"]):
        order = sorted(range(score["n"]), key=lambda i: -score["similarity"][i])
        pairs = tuple(_pair(i, score, tensors, draw) for i in order[:LARGEST])
        strange = misfit(results) and not any(score["recovered"])
        return Gallery(pairs, score["n"], "these data do not fit this model" if strange else "")
    samples, found = tensors["samples"], results["reconstruction"]
    likely = [i for i in range(len(samples)) if (found["confidence"][i] or 0) >= FAINT or _exact(i, found)]
    cards = [_alone(i, found, draw(samples[i])) for i in (likely or range(len(samples)))[:LARGEST]]
    return Gallery(tuple(cards), len(samples), "" if likely else "no candidate has a confidence above 0")


def _pair(i: int, score: Mapping[str, Any], tensors: Mapping[str, Tensor], draw: Callable[[Tensor], Drawn]) -> Picture:
    match = score["match"][i]
    return Picture(
        None if match < 0 else draw(tensors["samples"][match]),
        draw(tensors["truth"][i]),
        draw(tensors["unseen"][i]) if "unseen" in tensors else None,
        "none left" if match < 0 else f"{score['similarity'][i]:.3f}",
        "recovered" if score["recovered"][i] else "",
        bool(score["recovered"][i]),
    )


def _alone(i: int, found: Mapping[str, Any], drawn: Drawn) -> Picture:
    confidence, seen = found["confidence"][i], found["support"][i]
    caption = "–" if confidence is None else f"{confidence:.0%}"
    exact = _exact(i, found)
    return Picture(drawn, None, None, caption, "exact fit" if exact else f"found {seen}×", exact or None)


def _exact(i: int, found: Mapping[str, Any]) -> bool:
    return bool(found["verified"][i]) if found.get("verified") else False
