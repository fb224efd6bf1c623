"""The page of an unlearning run: what the attack reads back before, after and from a retrained network.

results.json        verdict, forgotten, attacks (before, after, perhaps retrained), evaluation, certificate, warnings
samples.safetensors "truth" (n, ...), and (k, ...) for each attack, all in data space
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from torch import Tensor

from vestige.report.figures import recovered_shares
from vestige.report.page import template, write_page
from vestige.report.picture import Drawn, painter
from vestige.report.verdict import Level
from vestige.runs.folder import RunFolder

PHASES = ("before", "after", "retrained")
LARGEST = 30  # kept samples shown; every forgotten one is
MEASURES = {
    "forget_accuracy": "accuracy on the forgotten",
    "retain_accuracy": "accuracy on the kept",
    "test_accuracy": "accuracy on unseen samples",
    "membership": "area under the curve of a membership attack",
    "forget_margin": "margin of the forgotten, over that of the kept",
    "output_distance": "distance of outputs from the retrained network's, relative",
}


@dataclass(frozen=True)
class Row:
    """One training sample and what came nearest to it from each network, as drawn; None where nothing was left."""

    number: int
    truth: Drawn
    nearest: tuple[tuple[str, Drawn | None, str, bool], ...]  # phase, picture, similarity, whether it is recovered
    remark: str
    wanted: bool

    @property
    def pictures(self) -> list[tuple[Drawn | None, str, str]]:
        """With their names and similarities, as `sample.html.jinja` takes them."""
        return [(picture, f"{phase} {similarity}", "") for phase, picture, similarity, _ in self.nearest]


def write_unlearning_report(run: RunFolder) -> Path:
    """Write report.html into the folder of a finished unlearning run.

    Raises:
        RunError: there are no results yet, or not those of such a run.
    """
    return write_page(run, "samples", render_unlearning, "an unlearning run")


def render_unlearning(manifest: Mapping[str, Any], results: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """The page as text: no script, nothing loaded from elsewhere, every name escaped."""
    attacks, gone = results["attacks"], set(results["forgotten"])
    phases = [phase for phase in PHASES if phase in attacks]
    shares = {
        "forgotten": [attacks[phase]["forgotten"] / results["n_forgotten"] for phase in phases],
        "kept": [attacks[phase]["kept"] / results["n_kept"] for phase in phases],
    }
    unavoidable = attacks["retrained"]["forgotten"] if "retrained" in attacks else 0
    heuristic = [f"No theorem covers this step: {'; '.join(results['heuristic'])}."] if results["heuristic"] else []
    draw = painter(results, tensors["truth"])
    kept = [i for i in range(len(tensors["truth"])) if i not in gone]
    return template("unlearning.html.jinja").render(
        verb="unlearn",
        level=Level.LEAKS if attacks["after"]["forgotten"] > unavoidable else Level.NOTHING,
        verdict=results["verdict"],
        warnings=[*heuristic, *results["warnings"]],
        results=results,
        manifest=manifest,
        forgotten=[_row(i, results, tensors, draw) for i in results["forgotten"]],
        kept=[_row(i, results, tensors, draw) for i in kept[:LARGEST]],
        n_kept=len(kept),
        measures=MEASURES,
        chart=Markup(recovered_shares(phases, shares).decode()),
    )


def _row(i: int, results: Mapping[str, Any], tensors: Mapping[str, Tensor], draw: Callable[[Tensor], Drawn]) -> Row:
    nearest = []
    for phase, attack in results["attacks"].items():
        match, similarity = attack["match"][i], attack["similarity"][i]
        picture = None if match < 0 else draw(tensors[phase][match])
        nearest.append((phase, picture, "–" if similarity is None else f"{similarity:.2f}", attack["recovered"][i]))
    before, after = nearest[0][-1], nearest[1][-1]
    gone, there = ("gone", "still there") if i in results["forgotten"] else ("lost", "recovered")
    remark = there if after else gone if before else ""
    return Row(i, draw(tensors["truth"][i]), tuple(nearest), remark, after != (i in results["forgotten"]))
