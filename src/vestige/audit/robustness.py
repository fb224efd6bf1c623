"""The audit of a classifier's inputs: adversarial examples, robust accuracy and, if asked for, the theory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import vestige.attack
from vestige.attack.evaluate import RobustnessReport, evaluate_robustness
from vestige.attack.suite import Stage, read_stages
from vestige.audit.fit import Fit, fit_of
from vestige.audit.job import Job, Results, Tensors, open_job
from vestige.audit.shrinking import confusion, robust_curve, shortened
from vestige.audit.summary import model_summary
from vestige.audit.target import UNSCALED, Model, Space, Target, read_target, space_config
from vestige.audit.theory import as_logits, broken_samples, check_pair, class_pair, theory_section
from vestige.audit.truth import Data, Given, fingerprint, split_classes
from vestige.core.cite import Paper, citation, paper
from vestige.core.outcome import OnStep
from vestige.core.rng import child
from vestige.core.threat import Norm, Threat
from vestige.data.dataset import DataSet, sample
from vestige.data.source import DataError
from vestige.report.robustness import write_robustness_report

SOURCE = (paper("2407.02240"),)


@dataclass(frozen=True, eq=False, kw_only=True)
class RobustnessAudit:
    """How easily a model is fooled.

    Attributes:
        clean_accuracy: on the samples as they are.
        robust_accuracy: share of samples that every attack leaves classified correctly.
        robust_interval: its 95 % interval over the drawing of samples, for these attacks.
        clean: the samples, in data space.
        adv: their adversarial examples; the sample itself where none was found.
        success: whether the model misclassifies `adv`.
        report: everything that was measured; None where an earlier call did the work.
        theory: why it is fooled; None where it was not asked for.
        warnings: what the reader should know before believing it.
        results: every number, as plain JSON values; what results.json holds.
        folder: the run folder; None where out was None.
        source: the papers.
    """

    clean_accuracy: float
    robust_accuracy: float
    robust_interval: tuple[float, float]
    clean: Tensor
    adv: Tensor
    success: Tensor
    report: RobustnessReport | None
    theory: dict[str, Any] | None
    warnings: tuple[str, ...]
    results: dict[str, Any]
    folder: Path | None
    source: tuple[Paper, ...] = SOURCE


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What is done to the samples."""

    threat: Threat
    stages: tuple[Stage, ...]
    seed: int
    batch_size: int
    theory: bool
    pair: tuple[int, int] | None


def audit_robustness(
    model: Model,
    *,
    data: Data,
    eps: float | int,
    norm: Norm | str | float | int = "linf",
    attacks: Sequence[Stage | str] | str = "fast",
    n: int = 200,
    theory: bool = False,
    pair: tuple[int, int] | None = None,
    architecture: str | None = None,
    input_shape: tuple[int, ...] | None = None,
    space: Space | None = None,
    batch_size: int = 256,
    seed: int = 0,
    trust_pickle: bool = False,
    out: Path | str | None = None,
    on_step: OnStep | None = None,
) -> RobustnessAudit:
    """Measure robust accuracy with adversarial examples.

    Args:
        model: a weights file (.safetensors), or a module in memory, which is copied and left as it is.
        data: labeled inputs: a name as `vestige.load_data` takes it, whose test part is used, a `DataSet`, or a pair
            (x, y) in data space.
        eps: radius of the ball around each sample, in units of the data.
        norm: of the ball: "linf", "l2" or "l1".
        attacks: in order, in a list or with commas: "fast", "standard" (MALT), single stages such as "square", or
            "autoattack" for all of its stages.
        n: samples attacked, in equal shares of the classes, or as they come where one is too rare for that; all of
            them where there are no more.
        theory: say also why it is fooled.
        pair: two classes for the common direction that theory speaks of; None for the two that the model separates
            least. Where there are none, that is said before the attack begins.
        architecture: of a file that does not say it.
        input_shape: of one sample; None: from the file.
        space: range and normalization of the inputs; a pair (low, high) keeps the file's normalization. Where neither
            is known, [0, 1] is assumed, with a warning.
        batch_size: samples handled together.
        seed: equal seeds give equal results on the same machine.
        trust_pickle: read a .pt file too.
        out: folder for the report, the results and the adversarial examples; a call that was stopped continues there.
            None: no files.
        on_step: called with a Step at every step; its note names the phase.

    Returns:
        Accuracies, adversarial examples and what stands behind them.

    Raises:
        ValueError: a model, data, eps, norm, attacks or pair that cannot be used, or a folder that holds something
            else.
        KeyboardInterrupt: with out, Ctrl-C stops after the step and its checkpoint.
    """
    given = Given(data, "test")
    target = read_target(
        model, architecture=architecture, input_shape=input_shape, space=space, trust_pickle=trust_pickle, like=given
    )
    dataset = given.load(data, space=target.space)
    if target.outputs == 1:
        dataset = split_classes(dataset, target.loaded.metadata.get("positive_classes"))
    chosen = _drawn(dataset, n, seed)
    if pair is not None:
        check_pair(pair, target, chosen.y)
    elif theory:
        class_pair(target, target.inputs(target.shaped(chosen.x)).to(next(target.model.parameters())), chosen.y)
    fit = fit_of(target, chosen, trained=False)
    plan = _Plan(
        threat=Threat(eps, norm, target.space), stages=read_stages(attacks), seed=seed, batch_size=batch_size,
        theory=theory, pair=pair,
    )  # fmt: skip
    return _run(target, plan, chosen, dataset, fit, out, on_step)


def _drawn(dataset: DataSet, n: int, seed: int) -> DataSet:
    """n samples in equal shares of the classes; as they come where a class has too few, with a note."""
    if n >= len(dataset):
        return dataset
    generator = child(seed, "attack", "data")
    try:
        return sample(dataset, n, generator=generator)[0]
    except DataError:
        chosen = sample(dataset, n, balanced=False, generator=generator)[0]
    counts = dataset.y.bincount()
    rare = int(torch.where(counts > 0, counts, len(dataset)).argmin())
    said = (
        f"class {dataset.classes[rare]!r} has {int(counts[rare])} samples, too few for equal shares: drawn as they come"
    )
    return replace(chosen, provenance=f"{chosen.provenance}; {said.replace(';', ',')}")


def _run(
    target: Target,
    plan: _Plan,
    chosen: DataSet,
    dataset: DataSet,
    fit: Fit,
    out: Path | str | None,
    on_step: OnStep | None,
) -> RobustnessAudit:
    report = None
    with open_job(out, _config(target, plan, chosen), on_step) as job:
        if job.finished:
            results, tensors = job.kept("adversarial")
        else:
            report, made, tensors = _work(job, target, plan, chosen, dataset)
            made |= {"fit": fit.summary, "warnings": [*fit.reasons, *chosen.notes, *made["warnings"]]}
            results = job.keep(made, "adversarial", tensors, ("checkpoint",))
        job.write(write_robustness_report)
    return RobustnessAudit(
        clean_accuracy=results["clean_accuracy"],
        robust_accuracy=results["robust_accuracy"],
        robust_interval=tuple(results["robust_interval"]),
        clean=tensors["clean"],
        adv=tensors["adv"],
        success=tensors["success"],
        report=report,
        theory=results.get("theory"),
        warnings=tuple(results["warnings"]),
        results=results,
        folder=job.folder,
    )


def shipped_model() -> Path:
    """The adversarially trained network for 8 x 8 digits that comes with the package."""
    return Path(vestige.attack.__file__).with_name("robust_digits.safetensors")


def _config(target: Target, plan: _Plan, chosen: DataSet) -> dict[str, Any]:
    """What decides the result."""
    return {
        "verb": "attack",
        "model": target.loaded.sha256,
        "architecture": target.loaded.architecture,
        "data": fingerprint(chosen),
        **space_config(target.space),
        "eps": plan.threat.eps,
        "norm": str(plan.threat.norm),
        "stages": [str(stage) for stage in plan.stages],
        "seed": plan.seed,
        "batch_size": plan.batch_size,
        **({"theory": True, "pair": plan.pair} if plan.theory else {}),
    }


def _work(
    job: Job, target: Target, plan: _Plan, chosen: DataSet, dataset: DataSet
) -> tuple[RobustnessReport, Results, Tensors]:
    x, space = target.shaped(chosen.x), plan.threat.space
    with job.phase("attacking", recorded=True) as on_step:
        report = evaluate_robustness(
            as_logits(target),
            x,
            chosen.y,
            eps=plan.threat.eps,
            norm=plan.threat.norm,
            space=space,
            attacks=plan.stages,
            batch_size=plan.batch_size,
            generator=child(plan.seed, "attack"),
            on_step=on_step,
            checkpoint=job.checkpoint("checkpoint"),
        )
    network, shown = as_logits(target), x.to(report.adv)

    def predict(samples: Tensor) -> Tensor:
        return network(space.to_model(samples)).argmax(1)

    with torch.no_grad():
        clean = torch.cat([predict(part) for part in shown.split(plan.batch_size)])
    tensors = {"clean": shown, "adv": report.adv, "label": chosen.y, "clean_predicted": clean}
    tensors |= {name: getattr(report, name) for name in ("success", "predicted", "distance", "stage")}
    smallest = shortened(
        predict, shown, report.adv, chosen.y, report.success, report.distance, batch_size=plan.batch_size
    )
    results = _results(target, chosen, report) | {"curve": robust_curve(smallest, report.eps)}
    if plan.theory:
        everything = target.shaped(dataset.x)
        broken = broken_samples(report, x)
        results["theory"] = theory_section(
            target, x, chosen.y, everything=everything, broken=broken, pair=plan.pair, seed=plan.seed
        )
    return report, results, tensors


def _results(target: Target, chosen: DataSet, report: RobustnessReport) -> Results:
    survivors = report.clean_correct & report.success
    names = [*chosen.classes, *(str(k) for k in range(len(chosen.classes), max(2, target.outputs)))]
    ranks = report.rank[survivors]
    return {
        "format": 1,
        "model": model_summary(target, chosen),
        "data": chosen.name,
        "classes": names,
        "confusion": confusion(chosen.y, report.predicted, names),
        "n": len(chosen),
        "eps": report.eps,
        "norm": report.norm,
        "clean_accuracy": report.clean_accuracy,
        "robust_accuracy": report.robust_accuracy,
        "clean_interval": list(report.clean_interval),
        "robust_interval": list(report.robust_interval),
        "stages": [vars(stage) for stage in report.stages],
        "ranks": {str(rank): int((ranks == rank).sum()) for rank in sorted(set(ranks.tolist()))},
        "gradient_evaluations": report.gradient_evaluations,
        "forward_evaluations": report.forward_evaluations,
        "seconds": report.seconds,
        "warnings": [*_notes(target), *report.warnings],
        "citations": citation(report),
    }


def _notes(target: Target) -> list[str]:
    """What was assumed of the inputs; how the model was trained does not matter to an attack."""
    if target.space is not None:
        return [*target.loaded.warnings, *(note for note in target.warnings if note == UNSCALED)]
    return [
        *target.loaded.warnings,
        "The model does not say the range of its inputs; [0, 1] without normalization was assumed. Give space "
        "(--range) to set it.",
    ]
