"""The pictures of a report: recovered samples, with the truth beside them when it is known."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vestige.report.figures import thumbnail

LARGEST = 60  # pictures shown; the page says when there are more
FAINT = 0.01  # confidence below which a sample is shown only where there is nothing better


@dataclass(frozen=True)
class Picture:
    """One card: a reconstruction (none when others took them all), and the true sample when known, as data URIs."""

    recovered: str | None
    truth: str | None
    caption: str
    remark: str
    passed: bool | None


@dataclass(frozen=True)
class Gallery:
    """The cards shown and how many there are in all."""

    pictures: tuple[Picture, ...]
    total: int


def gallery(results: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Gallery:
    """Cards for the recovered samples: each true sample with its nearest one, or the likeliest without the truth.

    Args:
        results: of an audit, see `vestige.report.html`.
        tensors: "samples" in data space and, when the training data were given, "truth".
    """
    box = results["model"]["space"]
    bounds = {side: float("nan") if box[side] is None else box[side] for side in ("low", "high")}
    score = results.get("score")
    if score and "truth" in tensors and len(tensors["samples"]):
        order = sorted(range(score["n"]), key=lambda i: -score["similarity"][i])
        cards = [_pair(i, score, tensors, bounds) for i in order[:LARGEST]]
        return Gallery(tuple(cards), score["n"])
    samples, found = tensors["samples"], results["reconstruction"]
    likely = [i for i in range(len(samples)) if (found["confidence"][i] or 0) >= FAINT or _exact(i, found)]
    cards = [_alone(i, found, samples, bounds) for i in (likely or range(len(samples)))[:LARGEST]]
    return Gallery(tuple(cards), len(samples))


def _pair(i: int, score: Mapping[str, Any], tensors: Mapping[str, Tensor], bounds: dict[str, float]) -> Picture:
    match = score["match"][i]
    return Picture(
        None if match < 0 else _uri(thumbnail(tensors["samples"][match], **bounds)),
        _uri(thumbnail(tensors["truth"][i], **bounds)),
        "none left" if match < 0 else f"{score['similarity'][i]:.3f}",
        "recovered" if score["recovered"][i] else "",
        bool(score["recovered"][i]),
    )


def _alone(i: int, found: Mapping[str, Any], samples: Tensor, bounds: dict[str, float]) -> Picture:
    confidence, seen = found["confidence"][i], found["support"][i]
    caption = "–" if confidence is None else f"{confidence:.0%}"
    exact = _exact(i, found)
    remark = "exact fit" if exact else f"found {seen}×"
    return Picture(_uri(thumbnail(samples[i], **bounds)), None, caption, remark, exact or None)


def _exact(i: int, found: Mapping[str, Any]) -> bool:
    return bool(found["verified"][i]) if found.get("verified") else False


def _uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
