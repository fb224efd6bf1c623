"""The audit of a kernel machine that is asked for scores and nothing else; it ends in the same report."""

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vestige.audit.comparison import kept_tensors, score
from vestige.audit.fit import fit_of_scores
from vestige.audit.job import Job, Results, open_job
from vestige.audit.kernel_machine import BlackBoxModel, Machine, read_machine
from vestige.audit.summary import columns_of, judged, number, numbers, reconstruction_summary, score_summary
from vestige.audit.target import Space, space_config
from vestige.audit.truth import Data, Truth, check_held_out, read_data, read_truth
from vestige.core.cite import Paper, citation, paper
from vestige.core.outcome import OnStep
from vestige.core.rng import child
from vestige.reconstruct.kernels.black_box import Scores
from vestige.reconstruct.kernels.from_queries import reconstruct_from_queries
from vestige.reconstruct.kernels.result import QueryReconstruction, as_reconstruction
from vestige.reconstruct.kernels.scoring import QueryScore, score_points
from vestige.reconstruct.result import Reconstruction
from vestige.reconstruct.scoring.score import ReconstructionScore
from vestige.report import Level, write_report

SOURCE = (paper("2505.19019"),)
TEMPORARY = ("checkpoint",)


@dataclass(frozen=True, eq=False, kw_only=True)
class QueryAudit:
    """What the scores of a kernel machine give away.

    Attributes:
        verdict: one sentence that claims no more than was measured.
        level: how alarming it is: "leaks", "some", "nothing" or "unknown".
        samples: training points, the best checked first, in data space.
        reconstruction: everything behind them; None where an earlier call did the work.
        score: what leaked, against the truth and against chance; None without data, and like `reconstruction`.
        point_score: relative errors of the points beside their nulls; likewise.
        warnings: what the reader should know before believing it.
        results: every number, as plain JSON values; what results.json holds.
        folder: the run folder; None where out was None.
        source: the papers.
    """

    verdict: str
    level: Level
    samples: Tensor
    reconstruction: QueryReconstruction | None
    score: ReconstructionScore | None
    point_score: QueryScore | None
    warnings: tuple[str, ...]
    results: dict[str, Any]
    folder: Path | None
    source: tuple[Paper, ...] = SOURCE


def audit_queries(
    model: Machine,
    *,
    kernel: str = "auto",
    scores: Scores | str | None = None,
    data: Data | None = None,
    held_out: Data | None = None,
    input_shape: tuple[int, ...] | None = None,
    space: Space | None = None,
    max_queries: int | None = None,
    seed: int = 0,
    out: Path | str | None = None,
    on_step: OnStep | None = None,
) -> QueryAudit:
    """Recover the training points of a kernel machine from its scores, and say what of it is true.

    Args:
        model: a file that `vestige.reconstruct.save_kernel_model` wrote, a callable from an (m, d) array to scores, or
            the name of one as package.module:function.
        kernel: as text, such as "rbf:gamma=0.003"; "auto": the file's.
        scores: what the model answers: "raw", "log" or "votes"; None: the file's, else "raw".
        data: the training data, for the score only: a name as `vestige.load_data` takes it, a `DataSet`, or a pair
            (x, y) in data space.
        held_out: samples like them that the model never saw: what chance alone reaches.
        input_shape: of one sample; needed for a callable.
        space: range and normalization of the inputs; a pair (low, high) keeps the file's normalization.
        max_queries: None for as many as the method wants.
        seed: of the queries.
        out: folder for the report, the results and the points; a call that was stopped continues there. None: no files.
        on_step: called with a Step as queries are answered; its note names the phase.

    Returns:
        The verdict, with everything behind it.

    Raises:
        ValueError: a model, kernel, data or options that cannot be used, or a folder that holds something else.
        KeyboardInterrupt: with out, Ctrl-C stops after the step and its checkpoint.
    """
    check_held_out(data, held_out)
    machine = read_machine(model, kernel, scores=scores, input_shape=input_shape, space=space)
    truth = (
        None
        if data is None
        else read_truth(data, held_out, machine.metadata, load=partial(read_data, space=machine.space))
    )
    return _run(machine, truth, seed, max_queries, out, on_step)


def _run(
    machine: BlackBoxModel,
    truth: Truth | None,
    seed: int,
    max_queries: int | None,
    out: Path | str | None,
    on_step: OnStep | None,
) -> QueryAudit:
    if truth is not None:
        machine.shaped(truth.train.x)  # refused before any work
    found = compared = points = None
    with open_job(out, _config(machine, truth, seed, max_queries), on_step) as job:
        if job.finished:
            results, tensors = job.kept("samples")
        else:
            found, seconds = _found(job, machine, seed, max_queries)
            shown = as_reconstruction(found, machine.input_shape)
            compared, points = (None, None) if truth is None else _scores(machine, found, shown, truth)
            tensors = kept_tensors(machine, shown, truth, compared)
            made = _results(machine, found, shown, seconds, truth, compared, points)
            results = job.keep(made, "samples", tensors, TEMPORARY)
        job.write(write_report)
    return QueryAudit(
        verdict=results["verdict"],
        level=Level(results["level"]),
        samples=tensors["samples"],
        reconstruction=found,
        score=compared,
        point_score=points,
        warnings=tuple(results["warnings"]),
        results=results,
        folder=job.folder,
    )


def _config(machine: BlackBoxModel, truth: Truth | None, seed: int, max_queries: int | None) -> dict[str, Any]:
    """What decides the result."""
    return {
        "verb": "audit",
        "model": machine.sha256,
        "kernel": machine.kernel,
        "scores": str(machine.scores),
        "input_shape": list(machine.input_shape),
        "data": truth and truth.digest,
        "seed": seed,
        "max_queries": max_queries,
        **space_config(machine.space),
    }


def _found(job: Job, machine: BlackBoxModel, seed: int, max_queries: int | None) -> tuple[QueryReconstruction, float]:
    """The points and the seconds they took."""
    begun = time.perf_counter()
    with job.phase("querying", recorded=True) as on_step:
        found = reconstruct_from_queries(
            machine.predict,
            machine.kernel,
            input_shape=machine.input_shape,
            scores=machine.scores,
            center=machine.center,
            max_queries=max_queries,
            generator=child(seed, "reconstruct"),
            on_step=on_step,
            checkpoint=job.checkpoint("checkpoint"),
        )
    return found, time.perf_counter() - begun


def _scores(
    machine: BlackBoxModel, found: QueryReconstruction, shown: Reconstruction, truth: Truth
) -> tuple[ReconstructionScore, QueryScore]:
    unseen = None if truth.held_out is None else machine.flat(truth.held_out.x)
    points = score_points(found.points[torch.isfinite(found.error)], machine.flat(truth.train.x), held_out=unseen)
    return score(machine, shown, truth), points


def _results(
    machine: BlackBoxModel,
    found: QueryReconstruction,
    shown: Reconstruction,
    seconds: float,
    truth: Truth | None,
    score: ReconstructionScore | None,
    points: QueryScore | None,
) -> Results:
    space = machine.shown_space
    results = {
        "format": 1,
        "model": {
            "path": machine.name,
            "sha256": machine.sha256,
            "architecture": f"kernel machine, {machine.kernel}",
            "parameters": machine.parameters,
            "input_shape": list(machine.input_shape),
            "columns": columns_of(truth and truth.train, machine.metadata, machine.input_shape),
            "outputs": len(found.offset),
            "loss": "any",
            "loss_source": "not needed",
            "weight_decay": None,
            "space": {"low": number(space.low), "high": number(space.high)},
        },
        "theory": None,
        "reconstruction": reconstruction_summary(shown, solver=found.method, seconds=seconds),
        "queried": _queried(found, points),
        "stationarity": None,
        "score": None,
        "citations": citation(found),
    }
    warnings = [*found.warnings]
    if truth is not None and score is not None:
        fit = fit_of_scores(machine, truth.train)
        warnings = [*(fit.reasons if fit else ()), *warnings, *truth.warnings, *score.warnings]
        results |= {"fit": fit and fit.summary, "citations": citation(found, score)}
        results["score"] = score_summary(score, held_out=truth.held_out is not None)
    return judged(results, warnings)


def _queried(found: QueryReconstruction, points: QueryScore | None) -> dict[str, Any]:
    """What was asked and what the points are, in numbers; with the truth, relative errors beside their nulls."""
    summary = {
        "queries": found.queries,
        "shown": found.rank,
        "validated": int(found.validated.sum()),
        "misfit": number(found.misfit),
        "error": numbers(found.error),
        "within": None,
    }
    if points is None:
        return summary
    nulls = [{"name": n.name, "count": n.count, "n_recovered": n.n_recovered, "least": n.least} for n in points.nulls]
    exact = {"within": points.within, "n": len(points.error), "n_recovered": points.n_recovered}
    return summary | exact | {"relative_error": numbers(points.error), "nulls": nulls}
