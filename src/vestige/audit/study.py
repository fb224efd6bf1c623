"""A question about methods or data: a verdict, tables and curves, with a folder and a page if asked for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vestige.audit.job import Results, Tensors, open_job
from vestige.core.cite import Paper, citation, paper
from vestige.core.outcome import OnStep
from vestige.report.study import write_study_report


@dataclass(frozen=True, eq=False, kw_only=True)
class Study:
    """What a study showed.

    Attributes:
        verdict: one sentence.
        warnings: what a reader must know.
        results: every number, as plain JSON values; what results.json holds.
        folder: the run folder; None where out was None.
        source: the papers.
    """

    verdict: str
    warnings: tuple[str, ...]
    results: Results
    folder: Path | None
    source: tuple[Paper, ...]


Work = Callable[[OnStep], tuple[dict[str, Any], Tensors]]


def run_study(
    verb: str,
    papers: Sequence[str],
    config: Mapping[str, Any],
    work: Work,
    out: Path | str | None,
    on_step: OnStep | None,
) -> Study:
    """Do the work, or read what an earlier call of it left in the folder, and write the report."""
    source = tuple(map(paper, papers))
    with open_job(out, {"verb": verb, **config}, on_step) as job:
        if job.finished:
            results, _ = job.kept("study")
        else:
            with job.phase("") as told:
                found, tensors = work(told)
            results = job.keep(
                {"format": 1, "verb": verb, **found, "citations": citation(*source)}, "study", tensors, ()
            )
        job.write(write_study_report)
    return Study(
        verdict=results["verdict"],
        warnings=tuple(results["warnings"]),
        results=results,
        folder=job.folder,
        source=source,
    )
