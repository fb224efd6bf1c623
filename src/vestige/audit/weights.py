"""The audit of a network's weights: theory, reconstruction, score; the attack never sees the data of the score."""

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from vestige.audit.candidates import asked_of, held_samples, membership_section
from vestige.audit.comparison import at_truth, compare, kept_tensors
from vestige.audit.embeddings import embedder, retrieval
from vestige.audit.fit import fit_of
from vestige.audit.groups import aligned, group_of
from vestige.audit.job import Job, Results, Tensors, open_job
from vestige.audit.memory import check_memory
from vestige.audit.search import Search, search
from vestige.audit.summary import (
    judged,
    model_summary,
    offer,
    reconstruction_summary,
    score_summary,
    stationarity_summary,
    theory_summary,
)
from vestige.audit.target import Model, Space, Target, read_target, space_config
from vestige.audit.theory import audited_robustness
from vestige.audit.truth import Data, Given, Truth, check_held_out, read_data, read_truth
from vestige.audit.typed import typed
from vestige.core.cite import Paper, citation
from vestige.core.margins import Loss, check_labels
from vestige.core.outcome import OnStep
from vestige.core.rng import child
from vestige.core.theory import TheoryCheck, check_theory
from vestige.nets.groups import Group
from vestige.reconstruct.embeddings import from_embeddings
from vestige.reconstruct.embeddings.from_embeddings import head_width
from vestige.reconstruct.invariant import from_invariant
from vestige.reconstruct.result import Reconstruction
from vestige.reconstruct.scoring.score import SOURCE, ReconstructionScore
from vestige.report import Level, write_report

TEMPORARY = ("checkpoint", "untrained", "robustness")


@dataclass(frozen=True, eq=False, kw_only=True)
class Audit:
    """What a network's weights give away.

    Attributes:
        verdict: one sentence that claims no more than was measured.
        level: how alarming it is: "leaks", "some", "nothing" or "unknown".
        samples: likely training samples, the most likely first, in data space.
        reconstruction: everything behind them, in model space; None where the work was done by an earlier call and read
            from its folder.
        score: what leaked, against the truth and against chance; None without data, and like `reconstruction`.
        theory: which claims of the theory cover this network.
        robustness: how easily its inputs are attacked, and why; None without data.
        membership: which training samples its weights tell from unseen ones; None without held-out data.
        warnings: what the reader should know before believing it.
        results: every number, as plain JSON values; what results.json holds.
        folder: the run folder with report.html, results.json and samples.safetensors; None where out was None.
        source: the papers.
    """

    verdict: str
    level: Level
    samples: Tensor
    reconstruction: Reconstruction | None
    score: ReconstructionScore | None
    theory: TheoryCheck
    robustness: dict[str, Any] | None
    membership: dict[str, Any] | None
    warnings: tuple[str, ...]
    results: dict[str, Any]
    folder: Path | None
    source: tuple[Paper, ...]


def audit(
    model: Model,
    *,
    data: Data | None = None,
    held_out: Data | None = None,
    architecture: str | None = None,
    input_shape: tuple[int, ...] | None = None,
    space: Space | None = None,
    loss: Loss | str | None = None,
    weight_decay: float | int | None = None,
    backbone: str | None = None,
    group: Group | str | None = None,
    n_candidates: int | None = None,
    restarts: int | None = None,
    steps: int | None = None,
    solver: str = "default",
    seed: int = 0,
    trust_pickle: bool = False,
    out: Path | str | None = None,
    report: bool = True,
    on_step: OnStep | None = None,
) -> Audit:
    """Recover what can be recovered of the training data from the weights, and say what of it is true.

    The attack sees the weights alone. With `data` its samples are compared with the truth, with unseen samples, with
    noise and with an attack on an untrained network, and the model's inputs are attacked too.

    Args:
        model: a weights file (.safetensors), or a module in memory, which is copied and left as it is.
        data: the training data, for the score only: a name as `vestige.load_data` takes it, a `DataSet`, or a pair
            (x, y) in data space. For a model that `vestige train` made, the samples that it was trained on are found
            in the named data, and the others are held out.
        held_out: samples like them that the model never saw: what chance alone reaches.
        architecture: of a file that does not say it: "mlp:784-1000-10" or "package.module:factory".
        input_shape: of one sample, such as (1, 8, 8); None: from the file, or the first layer's width.
        space: range and normalization of the inputs; a pair (low, high) keeps the file's normalization.
        loss: of the training; None: from the file, else guessed with a warning.
        weight_decay: of the training; None: from the file, else unknown; 0.0: none.
        backbone: the model is a head on this frozen backbone, as `vestige.nets.load_backbone` names it; data are given
            as the backbone takes them.
        group: the network is invariant to it: "c4", "d4", "shifts:STRIDE" or "set:SIZE".
        n_candidates: candidates of one restart; None: from the weights.
        restarts: independent starts; None: the method's.
        steps: of one search; None: the method's.
        solver: "default", or "published" for the papers' procedure.
        seed: equal seeds give equal results on the same machine.
        trust_pickle: read a .pt file too: tensors only, in a process of its own.
        out: folder for the report, the results and the samples; a call that was stopped continues there. None: no
            files.
        report: False for the results and the samples only, without report.html.
        on_step: called with a Step at every step; its note names the phase.

    Returns:
        The verdict, with everything behind it.

    Raises:
        ValueError: a model, data or options that cannot be used, or a folder that holds something else; before any
            work wherever that can be seen.
        KeyboardInterrupt: with out, Ctrl-C stops after the step and its checkpoint.
    """
    check_held_out(data, held_out)
    if backbone is not None and group is not None:
        raise ValueError("backbone and group given; a model is of one of these kinds. Give one of them.")
    said: dict[str, Any] = {
        "architecture": architecture, "input_shape": input_shape, "space": space, "loss": loss,
        "weight_decay": weight_decay, "trust_pickle": trust_pickle,
    }  # fmt: skip
    given = None if data is None or backbone else Given(data)
    target = read_target(model, **said, like=given)
    how = Search(
        n_candidates=n_candidates, restarts=restarts, steps=steps, seed=seed, solver=solver, backbone=backbone,
        group=None if group is None else group_of(group, target),
        typed=typed(**said, held_out=held_out),
    )  # fmt: skip
    known = partial(given.load if given else read_data, space=target.space)
    load = embedder(backbone, head_width(target.model), on_step) if backbone else known
    truth = None if data is None else read_truth(data, held_out, target.loaded.metadata, load=load)
    return _run(target, how, truth, out, on_step, report=report)


def _run(
    target: Target, how: Search, truth: Truth | None, out: Path | str | None, on_step: OnStep | None, *, report: bool
) -> Audit:
    found = score = None
    with open_job(out, _config(target, how, truth), on_step) as job:
        theory = check_theory(target.model, target.input_shape)
        if job.finished:
            results, tensors = job.kept("samples")
        else:
            found, seconds = _found(job, target, how)
            score, robustness = (None, None) if truth is None else _compared(job, target, how, truth, found)
            membership, held = _members(job, target, truth, how.seed)
            if truth is not None and score is not None and how.group is not None:
                found = aligned(found, score, target.inputs(truth.train.x), how.group)
            tensors = kept_tensors(target, found, truth, score) | held
            made = _results(target, theory, how, found, seconds, truth, score, membership)
            results = job.keep({**made, "robustness": robustness}, "samples", tensors, TEMPORARY)
        if report:
            job.write(write_report)
    return Audit(
        verdict=results["verdict"],
        level=Level(results["level"]),
        samples=tensors["samples"],
        reconstruction=found,
        score=score,
        theory=theory,
        robustness=results["robustness"],
        membership=results["membership"],
        warnings=tuple(results["warnings"]),
        results=results,
        folder=job.folder,
        source=_source(how),
    )


def _source(how: Search) -> tuple[Paper, ...]:
    """The papers behind a reconstruction of this kind and its score."""
    kind = (
        from_embeddings.SOURCE if how.backbone is not None else from_invariant.SOURCE if how.group is not None else ()
    )
    return tuple(dict.fromkeys((*kind, *SOURCE)))


def _config(target: Target, how: Search, truth: Truth | None) -> dict[str, Any]:
    """What decides the result: a folder with the same values is continued, another one refused.

    Raises:
        ValueError: data that do not fit the model, or candidates that memory cannot hold, refused before any work.
    """
    check_memory(target, how.n_candidates, how.restarts)
    if truth is not None:
        target.inputs(truth.train.x[:1])
        check_labels(truth.train.y, len(truth.train), target.outputs)
    return {
        "verb": "audit",
        "model": target.loaded.sha256,
        "architecture": target.loaded.architecture,
        "input_shape": list(target.input_shape),
        **space_config(target.space),
        "loss": target.loss,
        "weight_decay": target.weight_decay,
        "data": truth and truth.digest,
        **how.config,
    }


def _found(job: Job, target: Target, how: Search) -> tuple[Reconstruction, float]:
    """The reconstruction and its seconds."""
    begun = time.perf_counter()
    with job.phase("reconstructing", recorded=True) as on_step:
        found = search(
            target,
            how,
            generator=child(how.seed, "reconstruct"),
            on_step=on_step,
            checkpoint=job.checkpoint("checkpoint"),
        )
    return found, time.perf_counter() - begun


def _compared(
    job: Job, target: Target, how: Search, truth: Truth, found: Reconstruction
) -> tuple[ReconstructionScore, dict[str, Any]]:
    """The score, and how easily the inputs are attacked."""
    with job.phase("the same on an untrained network") as on_step:
        score = compare(target, found, truth, how, on_step=on_step, checkpoint=job.checkpoint("untrained"))
    with job.phase("attacking its inputs") as on_step:
        robustness = audited_robustness(
            target, truth, seed=how.seed, on_step=on_step, checkpoint=job.checkpoint("robustness")
        )
    return score, robustness


def _members(job: Job, target: Target, truth: Truth | None, seed: int) -> tuple[dict[str, Any] | None, Tensors]:
    """Which training samples the weights hold, and the surest of them; None without unseen samples."""
    asked = None if truth is None else asked_of(truth, seed)
    if asked is None:
        return None, {}
    with job.phase("looking for members") as on_step:
        section, found = membership_section(target, asked, seed=seed, on_step=on_step)
    return section, {} if found is None else {"held": held_samples(target, asked, section)}


def _results(
    target: Target,
    theory: TheoryCheck,
    how: Search,
    found: Reconstruction,
    seconds: float,
    truth: Truth | None,
    score: ReconstructionScore | None,
    membership: dict[str, Any] | None,
) -> Results:
    warnings = [*target.warnings, *theory.warnings, *found.warnings]
    results = {
        "format": 1,
        "model": model_summary(target, truth and truth.train),
        "theory": theory_summary(theory),
        "reconstruction": reconstruction_summary(found, solver=how.solver, seconds=seconds),
        "stationarity": None,
        "score": None,
        "membership": membership,
        "citations": citation(found),
    }
    if truth is not None and score is not None:
        points, notes = at_truth(target, truth)
        fit = fit_of(target, truth.train)
        warnings = [*fit.reasons, *warnings, *truth.warnings, *score.warnings, *notes]
        results |= {
            "fit": fit.summary,
            "score": score_summary(score, held_out=truth.held_out is not None),
            "stationarity": stationarity_summary(points),
            "citations": citation(found, score, *points),
        }
        if how.backbone is not None:
            results["retrieval"] = retrieval(found, truth, target.space, next(target.model.parameters()))
    made = judged(results, warnings)
    return made if truth is None or score is None else made | _offer(target, how, truth, score, made["level"])


def _offer(target: Target, how: Search, truth: Truth, score: ReconstructionScore, level: Level) -> dict[str, Any]:
    """The command that takes samples out of a network that is attacked plainly; None where no leak is shown."""
    plain = how.backbone is None and how.group is None
    if not plain or target.file is None or truth.named is None or how.typed is None:
        return {}
    leaks = level in (Level.LEAKS, Level.SOME)
    return {"unlearn": offer(target.file, truth.named, score.recovered, how.typed) if leaks else None}
