"""`vestige papers` and `vestige cite`: what vestige is built from."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from vestige.cli.app import out
from vestige.core.cite import citation, paper
from vestige.papers import RECORDS


def papers(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list instead of a table.")] = False,
) -> None:
    """List the thirty papers and which of them work."""
    if as_json:
        print(json.dumps([known.row() for known in RECORDS], indent=2))
        return
    table = Table(
        title=f"{sum(known.works for known in RECORDS)} of {len(RECORDS)} papers work", box=None, padding=(0, 1)
    )
    for name, wide in (("paper", None), ("title", 2), ("functions", 2), ("status", 2)):
        table.add_column(name, ratio=wide, no_wrap=wide is None, overflow="fold")
    for known in RECORDS:
        color = "green" if known.works else "dim"
        table.add_row(
            known.paper.arxiv, known.paper.title, ", ".join(known.functions), f"[{color}]{known.status}[/{color}]"
        )
    out.print(table)


def cite(
    what: Annotated[
        list[str] | None, typer.Argument(help="A run folder, or arXiv numbers; default: all that work.")
    ] = None,
) -> None:
    """Print BibTeX for a run's results or for papers."""
    if not what:
        print(citation(*(known.paper for known in RECORDS if known.works)))
        return
    entries = [_of_run(Path(item)) if Path(item).is_dir() else citation(paper(item)) for item in what]
    print("\n\n".join(dict.fromkeys(entries)))


def _of_run(path: Path) -> str:
    from vestige.runs.folder import RunFolder

    results = RunFolder.read(path).results()
    if not results or not isinstance(results.get("citations"), str):
        raise ValueError(f"{path} has no results to cite yet; run the same command again to finish it.")
    return results["citations"]
