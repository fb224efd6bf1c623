"""`vestige papers` and `vestige cite`: what vestige is built from."""

import json
from pathlib import Path
from typing import Annotated

import typer

from vestige.cli.app import out, say
from vestige.core.cite import citation, paper
from vestige.papers import RECORDS


def papers(
    number: Annotated[str | None, typer.Argument(help="arXiv number of one paper; default: a line for each.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list instead of lines.")] = False,
) -> None:
    """List the thirty papers and which of them work."""
    wanted = [known for known in RECORDS if number in (None, known.paper.arxiv)]
    if not wanted:
        paper(number or "")  # says what is allowed
    if as_json:
        print(json.dumps([known.row() for known in wanted], indent=2))
        return
    if number is not None:
        for name, value in wanted[0].row().items():
            say(f"{name}: {', '.join(value) if isinstance(value, list) else value}")
        return
    out.print(
        f"{sum(known.works for known in RECORDS)} of {len(RECORDS)} papers work; `vestige papers NUMBER` says more"
    )
    for known in RECORDS:
        line = f"{known.paper.arxiv}  {'works' if known.works else '-':5}  {known.paper.title}"
        out.print(line if len(line) <= out.width else f"{line[: out.width - 3]}...", markup=False, soft_wrap=True)


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
