"""The page of a landscape, whichever: a verdict, tables, curves and level lines, as the results name them.

results.json            verb, title, verdict, facts, tables, curves, map (or null), warnings, citations
landscape.safetensors   for a map: "map_x" (a,), "map_y" (b,), "map" (b, a), and "points_NAME" (n, 2)
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup
from torch import Tensor

from vestige.report.figures import contours, curves
from vestige.report.page import template, write_page
from vestige.runs.folder import RunFolder

POINTS = "points_"


def write_landscape_report(run: RunFolder) -> Path:
    """Write report.html into the folder of a finished landscape.

    Raises:
        RunError: there are no results yet, or not those of a landscape.
    """
    return write_page(run, "landscape", render_landscape, "the results of a landscape")


def render_landscape(manifest: Mapping[str, Any], results: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """The page as text: no script, nothing loaded from elsewhere, every name escaped."""
    charts = [{"title": chart["title"], "svg": _curves(chart), "note": chart["note"]} for chart in results["curves"]]
    if results["map"] is not None:
        charts.append(
            {"title": results["map"]["title"], "svg": _map(results["map"], tensors), "note": results["map"]["note"]}
        )
    tables = [{**table, "rows": [[*map(_cell, row)] for row in table["rows"]]} for table in results["tables"]]
    facts = [(name, _cell(value)) for name, value in results["facts"]]
    return template("landscape.html.jinja").render(
        results=results, manifest=manifest, charts=charts, tables=tables, facts=facts
    )


def _curves(chart: Mapping[str, Any]) -> Markup:
    series = {name: [math.nan if v is None else v for v in row] for name, row in chart["series"].items()}
    return Markup(curves(chart["x"], series, xlabel=chart["xlabel"], ylabel=chart["ylabel"]).decode())


def _map(drawn: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Markup:
    points = {name.removeprefix(POINTS): value for name, value in tensors.items() if name.startswith(POINTS)}
    axes = (tensors["map_x"], tensors["map_y"], tensors["map"])
    return Markup(contours(*axes, points, xlabel=drawn["xlabel"], ylabel=drawn["ylabel"]).decode())


def _cell(value: object) -> str:
    """Numbers with four digits; None as a dash."""
    return "–" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
