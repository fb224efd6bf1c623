"""The audit of unlearning: reconstruct, pick, unlearn, reconstruct again, retrain, reconstruct, compare."""

import copy
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vestige.audit.candidates import forgotten_members
from vestige.audit.comparison import score
from vestige.audit.fit import fit_of
from vestige.audit.forgotten import Forget, picked, read_request
from vestige.audit.job import Job, Results, Tensors, open_job
from vestige.audit.memory import check_memory
from vestige.audit.retraining import affordable, repaired, retrained
from vestige.audit.search import Search, search
from vestige.audit.summary import model_summary
from vestige.audit.target import Model, Space, Target, read_target, space_config
from vestige.audit.truth import Data, Given, Truth, read_truth
from vestige.audit.unlearning_summary import PHASES, Attacked, unlearning_summary
from vestige.core.cite import Paper
from vestige.core.kkt import working_copy
from vestige.core.margins import Loss, check_labels
from vestige.core.outcome import OnStep
from vestige.core.rng import child
from vestige.nets.checkpoint import EXTRA, save_model
from vestige.nets.weights_file import read_weights
from vestige.report.unlearning import write_unlearning_report
from vestige.unlearning.ascent import unlearn
from vestige.unlearning.evaluate import UnlearningReport, evaluate_unlearning
from vestige.unlearning.trained import check_trained
from vestige.unlearning.unlearned import SOURCE, Erasure, StepRule, Unlearned, judged

REPAIR = 1000  # steps with weight decay: a quarter of a training's; benchmarks/unlearning.py has shorter ones
TEMPORARY = (*PHASES, "repaired", "expected", "again")


@dataclass(frozen=True, eq=False, kw_only=True)
class UnlearningAudit:
    """A network without some of its samples, and whether the attack still reads them back.

    Attributes:
        verdict: one sentence: what the attack recovered before, after, and from a retrained network.
        model: the new network, in evaluation mode.
        forgotten: positions of the forgotten samples.
        attacks: what was read back "before", "after" and, where there is one, from the "retrained" network, with its
            score; empty where an earlier call did the work.
        evaluation: the new network against the retrained one; None without it or held-out data, and like `attacks`.
        warnings: what the reader should know before believing it.
        results: every number, as plain JSON values; what results.json holds.
        folder: the run folder, with the new weights in model.safetensors; None where out was None.
        source: the papers.
    """

    verdict: str
    model: nn.Module
    forgotten: tuple[int, ...]
    attacks: dict[str, Attacked]
    evaluation: UnlearningReport | None
    warnings: tuple[str, ...]
    results: dict[str, Any]
    folder: Path | None
    source: tuple[Paper, ...] = SOURCE


@dataclass(frozen=True, kw_only=True)
class _Request:
    """What to forget, and how."""

    forget: str
    step: StepRule
    repair: int
    retrain: bool | None


def audit_unlearning(
    model: Model,
    *,
    data: Data,
    forget: Forget = "leaked",
    held_out: Data | None = None,
    step: StepRule | str = "resolve",
    repair: int | None = None,
    retrain: bool | None = None,
    architecture: str | None = None,
    input_shape: tuple[int, ...] | None = None,
    space: Space | None = None,
    loss: Loss | str | None = None,
    weight_decay: float | int | None = None,
    n_candidates: int | None = None,
    restarts: int | None = None,
    steps: int | None = None,
    solver: str = "default",
    seed: int = 0,
    trust_pickle: bool = False,
    out: Path | str | None = None,
    on_step: OnStep | None = None,
) -> UnlearningAudit:
    """Take samples out of a network, and attack it before, after and beside a network retrained without them.

    Args:
        model: a weights file (.safetensors), or a module in memory, which is copied and left as it is.
        data: the training data: a name as `vestige.load_data` takes it, a `DataSet`, or a pair (x, y) in data space.
        forget: positions, or a mask, of the samples; "leaked" for all that were recovered, or "leaked:5" for the five
            that leak most.
        held_out: samples like them that the model never saw.
        step: "resolve" (what retained samples share stays), or the terms of the samples alone: "clarke" (exact at ReLU
            kinks) or "kkt" (as published).
        repair: training steps on the other samples afterwards; None: 1000 with weight decay, 0 without.
        retrain: train a network without the samples too, attack it and compare with it; None: where that takes at most
            half an hour by an estimate, and a warning says so where it is left out.
        architecture: of a file that does not say it.
        input_shape: of one sample; None: from the file.
        space: range and normalization of the inputs; a pair (low, high) keeps the file's normalization.
        loss: of the training; None: from the file, else guessed with a warning.
        weight_decay: of the training; None: from the file, else unknown; 0.0: none.
        n_candidates: candidates of one restart of the attack; None: from the weights.
        restarts: independent starts of the attack; None: the method's.
        steps: of one search of the attack; None: the method's.
        solver: "default", or "published" for the papers' procedure.
        seed: equal seeds give equal results on the same machine.
        trust_pickle: read a .pt file too.
        out: folder for the new weights, the report and the results; a call that was stopped continues there. None: no
            files.
        on_step: called with a Step at every step; its note names the phase.

    Returns:
        The new network, and what the attack reads back from it.

    Raises:
        ValueError: a model, data or options that cannot be used, nothing that leaks, all samples to be forgotten, or a
            folder that holds something else.
        KeyboardInterrupt: with out, Ctrl-C stops after the step and its checkpoint.
    """
    given = Given(data)
    target = read_target(
        model, architecture=architecture, input_shape=input_shape, space=space, loss=loss, weight_decay=weight_decay,
        trust_pickle=trust_pickle, like=given,
    )  # fmt: skip
    truth = read_truth(data, held_out, target.loaded.metadata, load=partial(given.load, space=target.space))
    _check_fit(target, truth)
    check_memory(target, n_candidates, restarts)
    if repair is not None and repair < 0:
        raise ValueError(f"repair={repair} given; it must be at least 0.")
    if repair is None:
        repair = REPAIR if target.decay else 0
    request = _Request(
        forget=read_request(forget, len(truth.train)), step=StepRule(step), repair=repair, retrain=retrain
    )
    how = Search(n_candidates=n_candidates, restarts=restarts, steps=steps, seed=seed, solver=solver)
    return _run(target, request, how, truth, out, on_step)


def _check_fit(target: Target, truth: Truth) -> None:
    """Refuse data that are not what the model was trained on."""
    target.inputs(truth.train.x[:1])
    check_labels(truth.train.y, len(truth.train), target.outputs)
    if reasons := fit_of(target, truth.train).reasons:
        raise ValueError(
            f"these data do not fit this model, so that there is nothing to unlearn: {'; '.join(reasons)}."
        )
    x = target.inputs(truth.train.x).to(next(target.model.parameters()))
    check_trained(working_copy(target.model), x.double(), truth.train.y, target.loss, target.decay)


def _run(
    target: Target, request: _Request, how: Search, truth: Truth, out: Path | str | None, on_step: OnStep | None
) -> UnlearningAudit:
    attacks, report = {}, None
    with open_job(out, _config(target, request, how, truth), on_step) as job:
        if job.finished and job.folder is not None:
            results, _ = job.kept("samples")
            new = _reloaded(target, job.folder)
        else:
            new, attacks, report, made = _work(job, target, request, how, truth)
            if job.folder is not None:
                _save(job.folder, target, new, made["forgotten"])
            results = job.keep(made, "samples", _tensors(target, truth, attacks), TEMPORARY)
        job.write(write_unlearning_report)
    return UnlearningAudit(
        verdict=results["verdict"],
        model=new,
        forgotten=tuple(results["forgotten"]),
        attacks=attacks,
        evaluation=report,
        warnings=tuple(results["warnings"]),
        results=results,
        folder=job.folder,
    )


def _config(target: Target, request: _Request, how: Search, truth: Truth) -> dict[str, Any]:
    """What decides the result."""
    return {
        "verb": "unlearn",
        "model": target.loaded.sha256,
        "architecture": target.loaded.architecture,
        **space_config(target.space),
        "loss": target.loss,
        "weight_decay": target.weight_decay,
        "data": truth.digest,
        "forget": request.forget,
        "step": request.step,
        "repair": request.repair,
        "retrain": request.retrain,
        **how.config,
    }


def _work(
    job: Job, target: Target, request: _Request, how: Search, truth: Truth
) -> tuple[nn.Module, dict[str, Attacked], UnlearningReport | None, Results]:
    like = next(target.model.parameters())
    x, y = target.inputs(truth.train.x).to(like), truth.train.y
    before = _attacked(job, target, how, truth, target.model, "before")
    index = picked(request.forget, before.score.similarity, before.score.recovered)
    begun = time.perf_counter()
    known = {"loss": target.loss, "weight_decay": target.decay}
    erased = unlearn(target.model, x, y, index, step=request.step, **known, certify=False)
    took = time.perf_counter() - begun
    new, repairing = repaired(job, target, erased, (x, y), steps=request.repair)
    erased = judged(erased, new, x, y, original=target.model, **known)  # of the network that is saved
    after = _attacked(job, target, how, truth, new, "after")
    attacks, networks, report = {"before": before, "after": after}, {"before": target.model, "after": new}, None
    wanted, expected, left_out = affordable(job, target, (x, y), index, request.retrain)
    seconds: tuple[float, float | None] = (took + repairing, None)
    if wanted:
        again, retraining = retrained(job, target, (x, y), index, seed=how.seed)
        attacks["retrained"] = _attacked(job, target, how, truth, again, "retrained")
        networks["retrained"], seconds = again, (took + repairing, retraining)
        report = _report(target, truth, new, again, index, (took + repairing, retraining))
    kept = torch.ones(len(x), dtype=torch.bool).index_fill(0, index, False)
    results = unlearning_summary(erased, request.repair, attacks, report, kept, seconds)
    results["seconds"]["retraining_at_most"] = expected
    results["membership"] = forgotten_members(target, truth, networks, index, seed=how.seed)
    warnings = [*target.warnings, *truth.warnings, *left_out, *_notes(erased, truth, report), *erased.warnings]
    warnings += report.warnings if report else ()
    results |= {"format": 1, "model": model_summary(target, truth.train), "warnings": warnings}
    return new, attacks, report, results


def _notes(erased: Unlearned, truth: Truth, report: UnlearningReport | None) -> Iterable[str]:
    if truth.held_out is None:
        yield "No held-out data: accuracy on unseen samples was not measured."
    if report is not None and report.harmful and erased.outcome is not Erasure.NOTHING_TO_DO:
        yield (
            "The outputs of the untouched network are nearer to those of the retrained one than the new network's are: "
            f"{report.output_distance.untouched:.2g} against {report.output_distance.unlearned:.2g}, relative."
        )


def _attacked(job: Job, target: Target, how: Search, truth: Truth, model: nn.Module, phase: str) -> Attacked:
    """The same attack, with the same seed and budget, on another network of the same kind."""
    aim = replace(target, loaded=replace(target.loaded, model=model.eval()))
    begun = time.perf_counter()
    with job.phase(f"reconstructing {phase}", recorded=True) as on_step:
        found = search(
            aim,
            how,
            generator=child(how.seed, "reconstruct"),
            on_step=on_step,
            checkpoint=job.checkpoint(phase),
        )
    return Attacked(model=model, found=found, score=score(aim, found, truth), seconds=time.perf_counter() - begun)


def _report(
    target: Target, truth: Truth, model: nn.Module, again: nn.Module, index: Tensor, seconds: tuple[float, float]
) -> UnlearningReport | None:
    if truth.held_out is None:
        return None
    return evaluate_unlearning(
        model,
        target.inputs(truth.train.x),
        truth.train.y,
        index,
        retrained=again,
        held_out=(target.inputs(truth.held_out.x), truth.held_out.y),
        original=target.model,
        seconds=seconds,
    )


def _save(folder: Path, target: Target, model: nn.Module, forgotten: list[int]) -> None:
    """The new weights, with what the old file said and what was done to it."""
    metadata = {
        **target.loaded.metadata,
        "unlearned_from": target.loaded.sha256,
        "forgotten": json.dumps(forgotten),
    }
    save_model(model, folder / "model.safetensors", metadata=metadata, tensors=target.loaded.tensors)


def _reloaded(target: Target, folder: Path) -> nn.Module:
    """The network that an earlier call left.

    Raises:
        ValueError: it is gone, damaged or another.
    """
    path, model = folder / "model.safetensors", copy.deepcopy(target.model)
    try:
        stored = read_weights(path).tensors
        model.load_state_dict({name: value for name, value in stored.items() if not name.startswith(EXTRA)})
    except (ValueError, RuntimeError) as error:
        said = "not the network of this run" if isinstance(error, RuntimeError) else str(error)
        raise ValueError(f"{path}: {said}; remove results.json beside it and run the same command again.") from error
    return model


def _tensors(target: Target, truth: Truth, attacks: dict[str, Attacked]) -> Tensors:
    space = target.shown_space
    shown = {phase: space.to_data(attack.found.samples) for phase, attack in attacks.items()}
    return {"truth": target.shaped(truth.train.x), **shown}
