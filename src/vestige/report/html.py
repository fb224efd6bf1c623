"""One self-contained page for one audit: no script, nothing loaded from elsewhere, every name escaped.

The page is made from what the run folder holds, so that it can be made again:

    results.json        verdict, level, model, theory, reconstruction, score (or null), warnings, citations
    samples.safetensors "samples" (k, ...) in data space, likeliest first; "singular_values" (r,); with data also
                        "truth" (n, ...), "false_rate" and "true_rate" (c,); with held-out data "unseen" (n, ...)
    progress.jsonl      "index", "value" and "note" of each step
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from markupsafe import Markup
from torch import Tensor

from vestige.report import figures
from vestige.report.gallery import FAINT, gallery
from vestige.report.membership import held, membership_chart
from vestige.report.page import percent, template, write_page
from vestige.report.robustness import linearity_chart
from vestige.runs.folder import RunFolder

TENSORS = "samples"


def render_report(
    manifest: Mapping[str, Any],
    results: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    progress: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The page as text; see the module's first lines for what goes in.

    Args:
        manifest: of the run: config, environment, key, started.
        results: what results.json holds.
        tensors: what samples.safetensors holds.
        progress: the lines of progress.jsonl.

    Returns:
        HTML.
    """
    return template("report.html.jinja").render(
        verb="audit",
        level=results["level"],
        verdict=results["verdict"],
        warnings=results["warnings"],
        results=results,
        manifest=manifest,
        gallery=gallery(results, tensors),
        charts=_charts(results, tensors, progress),
        shares=[
            (name, 100 * min(max(value or 0, 0), 1), percent(value))
            for name, value in (results["reconstruction"].get("residual_per_layer") or {}).items()
        ],
        linearity=linearity_chart((results.get("robustness") or {}).get("theory")),
        membership_chart=membership_chart(results.get("membership")),
        held=held(results, tensors) if "held" in tensors else [],
        packages={k: v for k, v in manifest["environment"].get("packages", {}).items() if v},
    )


def write_report(run: RunFolder) -> Path:
    """Write report.html into the folder of a finished audit.

    Raises:
        RunError: there are no results yet, or not those of an audit.
    """

    def render(manifest: Mapping[str, Any], results: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
        return render_report(manifest, results, tensors, run.progress())

    return write_page(run, TENSORS, render, "the results of an audit")


def _charts(
    results: Mapping[str, Any], tensors: Mapping[str, Tensor], progress: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    charts, score, found = [], results.get("score"), results["reconstruction"]
    if score:
        nulls = {null["name"]: null["max"] for null in score["nulls"] if null["max"] is not None}
        drawn = figures.ranked_similarity(
            torch.tensor(score["similarity"]), threshold=score["threshold"], nulls=nulls, metric=score["metric"]
        )
        charts.append(_chart("Similarity to the truth", drawn, "Filled: recovered. Dashed: the best of each null."))
    if score and "false_rate" in tensors:
        drawn = figures.roc_curve(tensors["false_rate"], tensors["true_rate"], rate=score["rate"])
        charts.append(_chart("Recovered at each false positive rate", drawn, "Dashed: chance."))
    elif not score and max((value or 0 for value in found["confidence"]), default=0) >= FAINT:
        drawn = figures.confidence_profile(torch.tensor(found["confidence"]))
        charts.append(_chart("Confidence without the training data", drawn, "From agreement between restarts."))
    series = _series(progress)
    if series:
        charts.append(_chart("Objective of the attack", figures.history(series), "Lower is closer to stationarity."))
    if len(tensors.get("singular_values", ())):
        drawn = figures.singular_values(tensors["singular_values"], identifiable=found["identifiable"])
        title, note = (
            "First layer's singular values",
            f"The weights can identify {found['identifiable']} samples at most.",
        )
        if results.get("queried"):
            title, note = "Singular values over the noise", f"The scores show {found['identifiable']} points."
        charts.append(_chart(title, drawn, note))
    return charts


def _chart(title: str, svg: bytes, note: str) -> dict[str, Any]:
    # Markup: our own drawing, whose texts matplotlib has escaped
    return {"title": title, "svg": Markup(svg.decode()), "note": note}


def _series(progress: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """Points of each phase, named by its note up to a colon; a step done again after a resume counts once."""
    points: dict[str, dict[int, float]] = {}
    for step in progress:
        if isinstance(step.get("value"), int | float) and isinstance(step.get("index"), int):
            phase = str(step.get("note", "")).partition(":")[0]
            points.setdefault(phase, {})[step["index"]] = float(step["value"])
    named = sorted(points.items(), key=lambda item: -len(item[1]))[:3]
    return {name: sorted(values.items()) for name, values in named}
