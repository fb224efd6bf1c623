"""What a finished audit says on the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from vestige.audit import Audit, QueryAudit
from vestige.cli.app import note, out, say, say_files

COLORS = {"leaks": "bold red", "some": "bold yellow", "nothing": "bold green", "unknown": "bold bright_black"}


def show(found: Audit | QueryAudit) -> None:
    """The verdict, the numbers behind it and where the files are."""
    results = found.results
    say(found.verdict, style=COLORS.get(found.level, "bold"))
    note(found.warnings)
    if results["score"]:
        out.print(_score_table(results["score"]))
    if retrieval := results.get("retrieval"):
        _show_retrieval(retrieval)
    if queried := results.get("queried"):
        _show_queries(queried)
    if command := results.get("unlearn"):
        say(f"To take them out: {command}")
    say_files(found.folder, "samples.safetensors")


def _show_retrieval(found: Mapping[str, Any]) -> None:
    chance = found["rank_1_by_chance"]
    aside = "" if chance is None else f" ({chance:.1f} in a shuffled gallery, p = {found['rank_1_p']:.2g})"
    say(
        f"Looked up among {found['gallery']:,} embeddings: the true one is first for {found['rank_1']} of "
        f"{found['training']} training samples{aside}, within ten for {found['within_10']}; of "
        f"{found['likely']} samples called likely {found['likely_in_training']} have a training sample nearest."
    )


def _show_queries(found: Mapping[str, Any]) -> None:
    say(
        f"{found['queries']:,} queries; the scores show {found['shown']} points, of which {found['validated']} "
        "pass the check."
    )
    if found["within"] is not None:
        best = max(null["n_recovered"] for null in found["nulls"])
        say(
            f"{found['n_recovered']} of {found['n']} come back to a relative error of {found['within']:g}; "
            f"best null {best}."
        )


def _score_table(score: Mapping[str, Any]) -> Table:
    table = Table(box=None, padding=(0, 1))
    for column in ("compared with the true samples", "how many", "recovered", "SSIM > 0.4", "median", "largest"):
        table.add_column(column, justify="left" if column.startswith("compared") else "right")
    ours = {"name": "reconstructions", "count": score["candidates"], **{k: score[k] for k in ("n_recovered", "n_ssim")}}
    rows = [{**ours, "median": score["median"], "max": score["max"]}, *score["nulls"]]
    for row in rows:
        cells = [row[key] for key in ("count", "n_recovered", "n_ssim")]
        sizes = [row[key] for key in ("median", "max")]
        table.add_row(
            row["name"],
            *("–" if cell is None else f"{cell:,}" for cell in cells),
            *("–" if size is None else f"{size:.3f}" for size in sizes),
        )
    return table
