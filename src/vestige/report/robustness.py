"""The page of an attack: robust accuracy, what each stage broke, and clean, adversarial and difference side by side.

results.json              n, eps, norm, clean_accuracy, robust_accuracy, intervals, stages, ranks, warnings, citations
adversarial.safetensors   "clean", "adv", "label", "clean_predicted", "predicted", "success", "distance", "stage"
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from torch import Tensor

from vestige.report.figures import curves, survival
from vestige.report.page import template, write_page
from vestige.report.picture import Drawn, named, painter, picture
from vestige.report.verdict import Level, misfit, unsaid
from vestige.runs.folder import RunFolder

LARGEST = 24  # samples shown
ERRORS = {"value": "value_error", "gradient": "gradient_error"}


@dataclass(frozen=True)
class Triple:
    """Clean, adversarial and difference as they are drawn, and what the model makes of them."""

    clean: Drawn
    adv: Drawn
    difference: Drawn
    caption: str
    remark: str


def write_robustness_report(run: RunFolder) -> Path:
    """Write report.html into the folder of a finished attack.

    Raises:
        RunError: there are no results yet, or not those of an attack.
    """
    return write_page(run, "adversarial", render_robustness, "the results of an attack")


def render_robustness(manifest: Mapping[str, Any], results: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """The page as text: no script, nothing loaded from elsewhere, every name escaped."""
    robust = results["robust_accuracy"]
    standing = [results["stages"][0]["before"], *(stage["after"] for stage in results["stages"])]
    names = ["clean", *(stage["name"] for stage in results["stages"])]
    level = Level.LEAKS if robust < 0.25 else Level.SOME if robust < 0.75 else Level.NOTHING
    why = misfit(results)
    said = (
        f"{100 * robust:.1f} % of {results['n']} samples of {results['data']} withstand every {results['norm']} "
        f"perturbation of {results['eps']:.4g} that was tried; {100 * results['clean_accuracy']:.1f} % are classified "
        "correctly without one."
    )
    return template("robustness.html.jinja").render(
        verb="attack",
        level=Level.UNKNOWN if why else level,
        verdict=f"{why} {said}" if why else said,
        warnings=unsaid(results["warnings"], why or ""),
        results=results,
        manifest=manifest,
        triples=_triples(results, tensors),
        shrinking=_shrinking(results),
        curve=Markup(survival(names, [value / results["n"] for value in standing]).decode()),
        linearity=linearity_chart(results.get("theory")),
    )


def _shrinking(results: Mapping[str, Any]) -> Markup | None:
    """Robust accuracy against eps."""
    found = results.get("curve")
    if not found:
        return None
    label = "robust accuracy, at most"
    return Markup(
        curves(found["eps"], {label: found["robust"]}, xlabel=f"eps ({results['norm']})", ylabel=label).decode()
    )


def linearity_chart(theory: Mapping[str, Any] | None) -> Markup | None:
    """Errors of value and gradient against the fraction of the perturbation, where there is such a section."""
    found = (theory or {}).get("linearity") or {}
    if "fractions" not in found:
        return None
    series = {name: [math.nan if v is None else v for v in found[key]] for name, key in ERRORS.items()}
    drawn = curves(
        found["fractions"], series, xlabel="fraction of the perturbation", ylabel="relative error", level=0.1
    )
    return Markup(drawn.decode())


def _triples(results: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> list[Triple]:
    """Samples that the model got right and that were broken, the smallest perturbations first."""
    right = tensors["clean_predicted"] == tensors["label"]
    rows = (right & tensors["success"]).nonzero().flatten()
    rows = rows[tensors["distance"][rows].argsort(stable=True)][:LARGEST].tolist()
    draw = painter(results, tensors["clean"])
    names = [*results["classes"], "no number"]  # the class -1 of an answer that is NaN
    found = []
    for row in rows:
        clean, adv = tensors["clean"][row], tensors["adv"][row]
        change = adv - clean
        label, wrong = (names[int(tensors[key][row])] for key in ("label", "predicted"))
        pictures = draw(clean), draw(adv), _change(draw(clean), change, results["model"].get("columns") or [])
        found.append(Triple(*pictures, f"{label} → {wrong}", f"{float(tensors['distance'][row]):.3g}"))
    return found


def _change(clean: Drawn, change: Tensor, names: Sequence[str]) -> Drawn:
    """A difference: no change lies in the middle, drawn as the sample is."""
    size = float(change.abs().max()) or 1.0
    if isinstance(clean, str):
        return picture(change, low=-size, high=size)
    return named(change, names, [-size] * len(names), [size] * len(names))
