"""The audit of membership: which of the given samples a network was trained on."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vestige.audit.candidates import Asked, asked_of, held_samples, membership_section
from vestige.audit.fit import fit_of
from vestige.audit.job import Job, Results, Tensors, open_job
from vestige.audit.summary import model_summary
from vestige.audit.target import Model, Space, Target, read_target, space_config
from vestige.audit.truth import Data, Given, fingerprint, read_truth, split_classes
from vestige.core.cite import Paper, citation
from vestige.core.margins import Loss, check_labels
from vestige.core.outcome import OnStep
from vestige.data.dataset import comparable
from vestige.membership.scores import CALIBRATED, Membership
from vestige.report.membership import write_membership_report
from vestige.report.verdict import Level, misfit, unsaid


@dataclass(frozen=True, eq=False, kw_only=True)
class MembershipAudit:
    """Which samples a network holds.

    Attributes:
        verdict: one sentence that claims no more than was measured.
        level: how alarming it is: "leaks", "some", "nothing" or "unknown".
        membership: scores, p-values and q-values of the candidates; None where an earlier call did the work.
        warnings: what the reader should know before believing it.
        results: every number, as plain JSON values; what results.json holds.
        folder: the run folder; None where out was None.
        source: the papers.
    """

    verdict: str
    level: Level
    membership: Membership | None
    warnings: tuple[str, ...]
    results: dict[str, Any]
    folder: Path | None
    source: tuple[Paper, ...] = CALIBRATED


def audit_membership(
    model: Model,
    *,
    data: Data,
    reference: Data | None = None,
    base: Model | None = None,
    architecture: str | None = None,
    input_shape: tuple[int, ...] | None = None,
    space: Space | None = None,
    loss: Loss | str | None = None,
    seed: int = 0,
    trust_pickle: bool = False,
    out: Path | str | None = None,
    on_step: OnStep | None = None,
) -> MembershipAudit:
    """Say which samples the weights hold, with an error rate.

    Args:
        model: a weights file (.safetensors), or a module in memory, which is copied and left as it is.
        data: candidates: a name as `vestige.load_data` takes it, a `DataSet`, or a pair (x, y) in data space. For a
            model that `vestige train` made, those that it was trained on are known: they are candidates beside half of
            the others, and the other half is the reference.
        reference: samples of the same kind that the model never saw; without them candidates are only ranked.
        base: the network that the model was fine-tuned from, of the same architecture.
        architecture: of a file that does not say it.
        input_shape: of one sample; None: from the file.
        space: range and normalization of the inputs; a pair (low, high) keeps the file's normalization.
        loss: of the training; None: from the file, else guessed with a warning.
        seed: equal seeds give equal results on the same machine.
        trust_pickle: read a .pt file too.
        out: folder for the report and the results. None: no files.
        on_step: called with a Step before each layer.

    Returns:
        The verdict, with everything behind it.

    Raises:
        ValueError: a model, data or options that cannot be used, a reference that holds candidates, or a folder that
            holds something else.
    """
    given = Given(data)
    settings = {"architecture": architecture, "input_shape": input_shape, "space": space, "loss": loss, "like": given}
    target = read_target(model, trust_pickle=trust_pickle, **settings)
    start = None if base is None else read_target(base, trust_pickle=trust_pickle, **settings)
    asked = _asked(target, given, reference, seed)
    target.inputs(asked.candidates.x[:1])
    check_labels(asked.candidates.y, len(asked.candidates), target.outputs)
    found = None
    with open_job(out, _config(target, start, asked, seed), on_step) as job:
        if job.finished:
            results, _ = job.kept("samples")
        else:
            found, made, tensors = _work(job, target, None if start is None else start.model, asked, seed)
            results = job.keep(made, "samples", tensors, ())
        job.write(write_membership_report)
    return MembershipAudit(
        verdict=results["verdict"],
        level=Level(results["level"]),
        membership=found,
        warnings=tuple(results["warnings"]),
        results=results,
        folder=job.folder,
    )


def _asked(target: Target, given: Given, reference: Data | None, seed: int) -> Asked:
    """Candidates and reference; the truth too where the file knows it."""
    load = partial(given.load, space=target.space)
    if reference is None:
        truth = read_truth(given.data, None, target.loaded.metadata, load=load)
        known = asked_of(truth, seed)
        return known or Asked(truth.train, None, None, torch.arange(len(truth.train)))
    positive = target.loaded.metadata.get("positive_classes") if target.outputs == 1 else None
    known = load(given.data)
    unseen = split_classes(comparable(load(reference), known, "reference"), positive)
    candidates = split_classes(known, positive)
    return Asked(candidates, unseen, None, torch.arange(len(candidates)))


def _config(target: Target, start: Target | None, asked: Asked, seed: int) -> dict[str, Any]:
    """What decides the result."""
    return {
        "verb": "membership",
        "model": target.loaded.sha256,
        "base": start and start.loaded.sha256,
        "architecture": target.loaded.architecture,
        **space_config(target.space),
        "loss": target.loss,
        "data": fingerprint(asked.candidates),
        "reference": asked.reference and fingerprint(asked.reference),
        "seed": seed,
    }


def _work(
    job: Job, target: Target, base: nn.Module | None, asked: Asked, seed: int
) -> tuple[Membership, Results, Tensors]:
    with job.phase("looking for members", recorded=True) as on_step:
        section, found = membership_section(target, asked, base=base, seed=seed, on_step=on_step)
    if found is None:
        raise ValueError(section["reason"])
    scored = {"scores": found.scores, "p_values": found.p_values, "q_values": found.q_values}
    tensors = {name: values for name, values in scored.items() if values is not None}
    tensors |= {"position": asked.position, "held": held_samples(target, asked, section)}
    fit = fit_of(target, asked.candidates, trained=False)
    level, said = section["level"], section["verdict"]
    if level == Level.NOTHING and (why := misfit({"fit": fit.summary})):
        level, said = Level.UNKNOWN, why
    results = {
        "format": 1,
        "verdict": said,
        "level": level,
        "fit": fit.summary,
        "model": model_summary(target, asked.candidates),
        "data": asked.candidates.name,
        "membership": section,
        "warnings": unsaid((*fit.reasons, *target.warnings, *section["warnings"]), said),
        "citations": citation(found),
    }
    return found, results, tensors
