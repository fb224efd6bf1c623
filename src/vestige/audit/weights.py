"""The audit: theory, reconstruction, score; the attack never sees the data that the score is made with."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from vestige.audit.comparison import at_truth, compare, inputs
from vestige.audit.embeddings import embedder, retrieval
from vestige.audit.groups import facing, group_of
from vestige.audit.summary import (
    model_summary,
    number,
    offer,
    reconstruction_summary,
    score_summary,
    stationarity_summary,
    theory_summary,
)
from vestige.audit.target import Target
from vestige.audit.theory import audited_robustness
from vestige.audit.truth import Truth, read_truth
from vestige.cli.progress import progress_bar, recorded, stoppable
from vestige.cli.show import show
from vestige.cli.threads import settle_threads
from vestige.core.cite import citation
from vestige.core.margins import check_labels
from vestige.core.outcome import OnStep
from vestige.core.rng import child
from vestige.core.theory import TheoryCheck, check_theory
from vestige.data.load import load_data
from vestige.reconstruct.embeddings.from_embeddings import head_width, reconstruct_from_embeddings
from vestige.reconstruct.invariant.from_invariant import reconstruct_invariant
from vestige.reconstruct.result import Reconstruction
from vestige.reconstruct.scoring.score import ReconstructionScore
from vestige.reconstruct.weights.from_weights import reconstruct_from_weights
from vestige.report import verdict, write_report
from vestige.runs.folder import Checkpoint, RunFolder, RunState
from vestige.runs.signals import stop_requests


@dataclass(frozen=True)
class Effort:
    """What the user may turn: None leaves the choice to the method."""

    n_candidates: int | None = None
    restarts: int | None = None
    seed: int = 0
    solver: str = "default"
    threads: int | None = None
    backbone: str | None = None
    group: str | None = None


def attack(
    verb: str,
    target: Target,
    effort: Effort,
    out: Path | None,
    *,
    data: str | None = None,
    held_out: str | None = None,
) -> dict[str, Any]:
    """One run of a verb from its options to what it says; returns the results.

    Args:
        verb: "audit", which ends in a report, or "reconstruct".
        target: what is attacked.
        effort: and how hard.
        out: the run folder; None for one named after the verb and the model.
        data: the training data, for the score only.
        held_out: like them, but never seen by the model.
    """
    settle_threads(effort.threads, target.parameters)
    if effort.group:
        group_of(effort.group, target)
    load = embedder(effort.backbone, head_width(target.model)) if effort.backbone else load_data
    truth = None if data is None else read_truth(data, held_out, target.loaded.metadata, load=load)
    run = open_run(out or Path(f"vestige-{verb}-{Path(target.name).stem}"), verb, target, effort, truth)
    results = perform(run, target, effort, truth)
    show(run, results)
    return results


def open_run(out: Path, verb: str, target: Target, effort: Effort, truth: Truth | None) -> RunFolder:
    """The run folder of this audit: the same weights, data and options go on, others are refused.

    Raises:
        ValueError: data that do not fit the model, refused before any work.
        RunError: a folder that cannot be used.
    """
    if truth is not None:
        inputs(target, truth.train.x[:1])
        check_labels(truth.train.y, len(truth.train), target.outputs)
    config = {
        "verb": verb,
        "model": target.loaded.sha256,
        "architecture": target.loaded.architecture,
        "input_shape": list(target.input_shape),
        "input_range": target.space and [number(target.space.low), number(target.space.high)],
        "loss": target.loss,
        "weight_decay": target.weight_decay,
        "data": truth and truth.digest,
        **{name: getattr(effort, name) for name in ("n_candidates", "restarts", "seed", "solver")},
        **({"backbone": effort.backbone} if effort.backbone else {}),
        **({"group": effort.group} if effort.group else {}),
    }
    return RunFolder.open(out, config)


def perform(run: RunFolder, target: Target, effort: Effort, truth: Truth | None) -> dict[str, Any]:
    """Do what is left of a run, leave its results and its report in its folder, and return the results."""
    if run.state is not RunState.FINISHED:
        with run.attempt():
            _work(run, target, effort, truth)
    results = run.results()
    if results is None:
        raise ValueError(f"{run.path} is marked finished and has no results; give another --out.")
    if run.config["verb"] == "audit":
        write_report(run)
    return results


def _work(run: RunFolder, target: Target, effort: Effort, truth: Truth | None) -> None:
    theory = check_theory(target.model, target.input_shape)
    with stop_requests() as stop, progress_bar("reconstructing") as bar:
        begun = time.perf_counter()
        found = search(target, effort, recorded(run, stop, bar), run.checkpoint())
        seconds = time.perf_counter() - begun
    score = None
    if truth is not None:
        with stop_requests() as stop, progress_bar("the same on an untrained network") as bar:
            watched = stoppable(stop, bar)
            group = group_of(effort.group, target) if effort.group else None
            common = {"seed": effort.seed, "solver": effort.solver, "on_step": watched, "group": group}
            score = compare(target, found, truth, **common)
        if group is not None:
            found = facing(found, score, inputs(target, truth.train.x), group)
    robustness = None
    if truth is not None:
        with stop_requests() as stop, progress_bar("attacking its inputs") as bar:
            robustness = audited_robustness(target, truth, seed=effort.seed, on_step=stoppable(stop, bar))
    run.save_tensors("samples", _tensors(target, found, truth, score))
    run.finish({**_results(target, theory, effort, found, seconds, truth, score), "robustness": robustness})
    run.checkpoint().discard()


def search(target: Target, effort: Effort, on_step: OnStep, checkpoint: Checkpoint) -> Reconstruction:
    """The reconstruction that the effort asks for; it goes on from the checkpoint if there is one."""
    common = {
        "n_candidates": effort.n_candidates,
        "loss": target.loss,
        "weight_decay": target.weight_decay,
        "space": target.space,
        "restarts": effort.restarts,
        "generator": child(effort.seed, "reconstruct"),
        "on_step": on_step,
    }
    if effort.backbone:
        return reconstruct_from_embeddings(target.model, **common)
    if effort.group:
        group, known = group_of(effort.group, target), effort.solver == "default"
        return reconstruct_invariant(target.model, target.input_shape, group, **common, conventional=not known)
    return reconstruct_from_weights(
        target.model, target.input_shape, **common, solver=effort.solver, checkpoint=checkpoint
    )


def _tensors(
    target: Target, found: Reconstruction, truth: Truth | None, score: ReconstructionScore | None
) -> dict[str, Tensor]:
    space = target.shown_space
    kept = {"samples": space.to_data(found.samples), "singular_values": found.singular_values}
    if truth is None or score is None:
        return kept
    shown = truth.train.x.reshape(-1, *target.input_shape)
    return {**kept, "truth": shown, "false_rate": score.false_rate, "true_rate": score.true_rate}


def _results(
    target: Target,
    theory: TheoryCheck,
    effort: Effort,
    found: Reconstruction,
    seconds: float,
    truth: Truth | None,
    score: ReconstructionScore | None,
) -> dict[str, Any]:
    warnings = [*target.warnings, *theory.warnings, *found.warnings]
    results = {
        "format": 1,
        "model": model_summary(target),
        "theory": theory_summary(theory),
        "reconstruction": reconstruction_summary(found, solver=effort.solver, seconds=seconds),
        "stationarity": None,
        "score": None,
        "citations": citation(found),
    }
    if truth is not None and score is not None:
        points, notes = at_truth(target, truth)
        if effort.backbone:
            like = next(target.model.parameters())
            results["retrieval"] = retrieval(found, truth, target.space, like)
        warnings += [*truth.warnings, *score.warnings, *notes]
        results |= {
            "score": score_summary(score, held_out=truth.held_out is not None),
            "stationarity": stationarity_summary(points),
            "citations": citation(found, score, *points),
        }
        if not (effort.backbone or effort.group):  # `vestige unlearn` makes the plain attack, on the model's own inputs
            results["unlearn"] = offer(target.name, score.recovered)
    level, sentence = verdict(results)
    return {"verdict": sentence, "level": level, **results, "warnings": list(dict.fromkeys(warnings))}
