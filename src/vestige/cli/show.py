"""What a finished run says on the terminal."""

from typing import Any

from rich.table import Table

from vestige.cli.app import note, out
from vestige.runs.folder import RunFolder, RunState


def show(run: RunFolder, results: dict[str, Any]) -> None:
    """The verdict, the numbers behind it and where the files are."""
    colour = {"leaks": "bold red", "some": "bold yellow", "nothing": "bold green"}.get(results["level"], "bold")
    _print(results["verdict"], colour)
    note(results["warnings"])
    if results["score"]:
        out.print(_score_table(results["score"]))
    if looked_up := results.get("retrieval"):
        chance = looked_up["rank_1_by_chance"]
        aside = "" if chance is None else f" (of as many never seen: {chance:.1f})"
        _print(
            f"Looked up among {looked_up['gallery']:,} embeddings: the true one is first for {looked_up['rank_1']} of "
            f"{looked_up['training']} training samples{aside}, within ten for {looked_up['within_10']}; of "
            f"{looked_up['likely']} samples called likely {looked_up['likely_in_training']} have a training sample "
            "nearest."
        )
    if asked := results.get("queried"):
        _print(
            f"{asked['queries']:,} queries; the scores show {asked['shown']} points, of which {asked['validated']} "
            "pass the check."
        )
        if asked["within"] is not None:
            best = max(null["n_recovered"] for null in asked["nulls"])
            _print(
                f"{asked['n_recovered']} of {asked['n']} come back to a relative error of {asked['within']:g}; "
                f"best null {best}."
            )
    if command := results.get("unlearn"):
        _print(f"To take them out: {command}")
    assert run.state is RunState.FINISHED
    files = ("report.html", "results.json", "samples.safetensors")
    for path in (run.path / name for name in files):
        if path.exists():
            _print(str(path))


def _print(text: str, style: str | None = None) -> None:
    out.print(text, style=style, markup=False, soft_wrap=True)


def _score_table(score: dict[str, Any]) -> Table:
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
