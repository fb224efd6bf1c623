"""The page of a study, whichever: a verdict, tables, bars, curves and level lines, as the results name them.

results.json        verb, title, verdict, facts, tables, curves, map (or null), warnings, citations; some level and bars
study.safetensors   for a map: "map_x" (a,), "map_y" (b,), "map" (b, a), and "points_NAME" (n, 2)
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from torch import Tensor

from vestige.report.figures import contours, curves
from vestige.report.page import template, write_page
from vestige.report.verdict import Level
from vestige.runs.folder import RunFolder

POINTS = "points_"


def write_study_report(run: RunFolder) -> Path:
    """Write report.html into the folder of a finished study.

    Raises:
        RunError: there are no results yet, or not those of a study.
    """
    return write_page(run, "study", render_study, "the results of a study")


def render_study(manifest: Mapping[str, Any], results: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """The page as text: no script, nothing loaded from elsewhere, every name escaped."""
    charts = [{"title": chart["title"], "svg": _curves(chart), "note": chart["note"]} for chart in results["curves"]]
    if results["map"] is not None:
        charts.append(
            {"title": results["map"]["title"], "svg": _map(results["map"], tensors), "note": results["map"]["note"]}
        )
    tables = [{**table, **_cells(table)} for table in results["tables"]]
    facts = [(name, _cell(value)) for name, value in results["facts"]]
    bars = [{**each, "rows": _lengths(each["rows"], each.get("full"))} for each in results.get("bars", [])]
    return template("study.html.jinja").render(
        verb=results["verb"], level=results.get("level", Level.SOME), verdict=results["verdict"],
        warnings=results["warnings"], results=results, manifest=manifest, charts=charts, tables=tables, facts=facts,
        bars=bars,
    )  # fmt: skip


def _curves(chart: Mapping[str, Any]) -> Markup:
    series = {name: [math.nan if v is None else v for v in row] for name, row in chart["series"].items()}
    labels = {"xlabel": chart["xlabel"], "ylabel": chart["ylabel"], "ticks": chart.get("ticks", ())}
    return Markup(curves(chart["x"], series, **labels).decode())


def _map(drawn: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Markup:
    points = {name.removeprefix(POINTS): value for name, value in tensors.items() if name.startswith(POINTS)}
    axes = (tensors["map_x"], tensors["map_y"], tensors["map"])
    return Markup(contours(*axes, points, xlabel=drawn["xlabel"], ylabel=drawn["ylabel"]).decode())


def _cells(table: Mapping[str, Any]) -> dict[str, Any]:
    """Its cells as text, and which columns hold numbers, so that they line up on the right."""
    rows = table["rows"]
    numeric = [all(isinstance(row[k], int | float | None) for row in rows) for k in range(len(table["columns"]))]
    return {"rows": [[*map(_cell, row)] for row in rows], "numeric": numeric}


def _lengths(rows: Sequence[Sequence[Any]], full: float | None) -> list[tuple[str, float, str]]:
    """Each with its length in percent of what fills a bar: the longest, where nothing is said."""
    full = full or max((value for _, value in rows), default=0) or 1
    return [(name, 100 * min(max(value / full, 0.0), 1.0), _cell(value)) for name, value in rows]


def _cell(value: object) -> str:
    """Numbers with four digits, whole ones with commas; None as a dash."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "–" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
