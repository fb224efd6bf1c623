"""`--kernel`: a kernel machine is asked for scores and nothing else, and the same report is made of what comes back."""

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vestige.audit.summary import number, numbers, reconstruction_summary, score_summary
from vestige.audit.target import input_range_space, read_input_shape
from vestige.audit.truth import Truth, read_truth
from vestige.cli.progress import progress_bar, recorded
from vestige.cli.show import show
from vestige.core.cite import citation
from vestige.core.rng import child
from vestige.core.space import InputSpace
from vestige.nets.architecture import is_factory
from vestige.reconstruct.kernels.black_box import Scores
from vestige.reconstruct.kernels.from_queries import reconstruct_from_queries
from vestige.reconstruct.kernels.machine import load_kernel_model
from vestige.reconstruct.kernels.result import QueryReconstruction, as_reconstruction
from vestige.reconstruct.kernels.scoring import QueryScore, score_points
from vestige.reconstruct.scoring.score import ReconstructionScore, score_reconstruction
from vestige.report import verdict, write_report
from vestige.runs.folder import RunFolder, RunState
from vestige.runs.signals import stop_requests

RATE = 1e-3  # false positive rate at which a sample counts as recovered


@dataclass(frozen=True)
class Scorer:
    """A callable that scores inputs, and what is known beside its answers."""

    name: str
    predict: Callable[[Any], Any]
    kernel: str
    scores: Scores
    input_shape: tuple[int, ...]
    space: InputSpace | None
    sha256: str
    numbers: int
    metadata: dict[str, str]

    @property
    def centre(self) -> Tensor:
        """Where the inputs lie, from what a user of the model knows: the mean that is subtracted, or mid-range."""
        space = self.space or InputSpace(-math.inf, math.inf)
        middle = torch.as_tensor(space.mean, dtype=torch.float64)
        if not bool(middle.any()) and math.isfinite(space.low + space.high):
            middle = torch.tensor((space.low + space.high) / 2, dtype=torch.float64)
        shape = (1, *self.input_shape)
        grown = middle.reshape(-1, *(1,) * (len(shape) - 2)) if middle.ndim == 1 and len(shape) > 2 else middle
        return space.to_model(grown.expand(shape).clone()).flatten()


def read_scorer(
    model: str,
    kernel: str,
    scores: str | None = None,
    input_shape: str | None = None,
    input_range: tuple[float, float] | None = None,
) -> Scorer:
    """A kernel model file, or a callable of the user's own.

    Args:
        model: a file that `vestige.save_kernel_model` wrote, or package.module:function.
        kernel: as text; "auto" for the file's.
        scores: "raw", "log" or "votes"; default: the file's, else raw.
        input_shape: of one input; needed for a callable.
        input_range: least and greatest value of the data; default: the file's.

    Raises:
        ValueError: a model that cannot be loaded, or facts that are missing.
    """
    if is_factory(model) and not Path(model).exists():
        if kernel == "auto" or input_shape is None:
            raise ValueError(f"{model} is a callable: give --kernel rbf:gamma=... and --input-shape 3x32x32 with it.")
        return Scorer(
            model, _callable(model), kernel, Scores(scores or "raw"), read_input_shape(input_shape),
            input_range_space(input_range, None), hashlib.sha256(model.encode()).hexdigest(), 0, {},
        )  # fmt: skip
    stored = load_kernel_model(model)
    shape = stored.input_shape if input_shape is None else read_input_shape(input_shape)
    if math.prod(shape) != stored.n_features:
        raise ValueError(
            f"inputs of shape {'x'.join(map(str, shape))} given; {model} takes {stored.n_features} numbers."
        )
    chosen = stored.kernel if kernel == "auto" else kernel
    return Scorer(
        Path(model).name, stored.predict, chosen, Scores(scores or stored.scores), shape,
        input_range_space(input_range, stored.space), stored.sha256, stored.numbers, stored.metadata,
    )  # fmt: skip


def _callable(text: str) -> Callable[[Any], Any]:
    module, _, name = text.partition(":")
    try:
        found = getattr(import_module(module), name)
    except Exception as error:
        raise ValueError(f"{text!r} did not load ({type(error).__name__}: {error}); is it importable here?") from error
    if not callable(found):
        raise ValueError(f"{text!r} is a {type(found).__name__}; a function from (m, d) to scores is needed.")
    return found


def attack_scores(
    scorer: Scorer,
    out: Path | None,
    *,
    data: str | None = None,
    held_out: str | None = None,
    seed: int = 0,
    max_queries: int | None = None,
) -> dict[str, Any]:
    """One audit of a kernel machine; returns the results.

    Args:
        scorer: what is asked.
        out: the run folder; None for one named after the model.
        data: the training data, for the score only.
        held_out: like them, but never seen by the model.
        seed: of the queries.
        max_queries: None for as many as the method wants.
    """
    truth = None if data is None else read_truth(data, held_out, scorer.metadata)
    if truth is not None:
        _flat(scorer, truth.train.x)
    config = {
        "verb": "audit", "model": scorer.sha256, "kernel": scorer.kernel, "scores": str(scorer.scores),
        "input_shape": list(scorer.input_shape), "data": truth and truth.digest, "seed": seed,
        "max_queries": max_queries,
        "input_range": scorer.space and [number(scorer.space.low), number(scorer.space.high)],
    }  # fmt: skip
    run = RunFolder.open(out or Path(f"vestige-audit-{Path(scorer.name.replace(':', '-')).stem}"), config)
    if run.state is not RunState.FINISHED:
        with run.attempt():
            _work(run, scorer, truth, seed, max_queries)
    results = run.results() or {}
    write_report(run)
    show(run, results)
    return results


def _work(run: RunFolder, scorer: Scorer, truth: Truth | None, seed: int, max_queries: int | None) -> None:
    with stop_requests() as stop, progress_bar("asking for scores") as bar:
        begun = time.perf_counter()
        found = reconstruct_from_queries(
            scorer.predict,
            scorer.kernel,
            n_features=math.prod(scorer.input_shape),
            scores=scorer.scores,
            centre=scorer.centre,
            max_queries=max_queries,
            generator=child(seed, "reconstruct"),
            on_step=recorded(run, stop, bar),
        )
        seconds = time.perf_counter() - begun
    shown = as_reconstruction(found, scorer.input_shape)
    space = scorer.space or InputSpace(-math.inf, math.inf)
    tensors = {"samples": space.to_data(shown.samples), "singular_values": found.singular_values}
    score = points = None
    if truth is not None:
        own = _flat(scorer, truth.train.x)
        others = None if truth.held_out is None else _flat(scorer, truth.held_out.x)
        shape = (-1, *scorer.input_shape)
        unseen = None if others is None else others.reshape(shape)
        score = score_reconstruction(shown, own.reshape(shape), held_out=unseen, space=scorer.space, rate=RATE)
        points = score_points(found.points[torch.isfinite(found.error)], own, held_out=others)
        tensors |= {"truth": truth.train.x.reshape(shape), "false_rate": score.false_rate, "true_rate": score.true_rate}
    run.save_tensors("samples", tensors)
    run.finish(_results(scorer, found, seconds, truth, score, points))


def _flat(scorer: Scorer, x: Tensor) -> Tensor:
    """Data as the model takes it."""
    if x[0].numel() != math.prod(scorer.input_shape):
        wanted, got = ("x".join(map(str, shape)) for shape in (scorer.input_shape, x.shape[1:]))
        raise ValueError(f"the data have samples of shape {got}, the model takes {wanted}; is it another data set?")
    x = x.double().reshape(len(x), *scorer.input_shape)
    return (x if scorer.space is None else scorer.space.to_model(x)).flatten(1)


def _results(
    scorer: Scorer,
    found: QueryReconstruction,
    seconds: float,
    truth: Truth | None,
    score: ReconstructionScore | None,
    points: QueryScore | None,
) -> dict[str, Any]:
    shown = as_reconstruction(found, scorer.input_shape)
    space = scorer.space or InputSpace(-math.inf, math.inf)
    results = {
        "format": 1,
        "model": {
            "path": scorer.name,
            "sha256": scorer.sha256,
            "architecture": f"kernel machine, {scorer.kernel}",
            "parameters": scorer.numbers,
            "input_shape": list(scorer.input_shape),
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
        warnings += [*truth.warnings, *score.warnings]
        results |= {
            "score": score_summary(score, held_out=truth.held_out is not None),
            "citations": citation(found, score),
        }
    level, sentence = verdict(results)
    return {"verdict": sentence, "level": level, **results, "warnings": list(dict.fromkeys(warnings))}


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
