"""The work behind `vestige attack`: data, run folder, evaluation, results, report."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vestige.attack.evaluate import RobustnessReport, evaluate_robustness
from vestige.attack.suite import AUTOATTACK, Stage
from vestige.audit.comparison import inputs
from vestige.audit.summary import model_summary
from vestige.audit.target import Target
from vestige.audit.theory import as_logits, theory_section, way_of
from vestige.audit.truth import fingerprint, split_classes
from vestige.cli.app import note
from vestige.cli.app import out as console
from vestige.cli.progress import progress_bar, recorded
from vestige.core.cite import citation
from vestige.core.rng import child
from vestige.core.space import InputSpace
from vestige.core.threat import Norm
from vestige.data.dataset import DataSet, sample
from vestige.data.load import load_data
from vestige.report.robustness import write_robustness_report
from vestige.runs.folder import RunFolder, RunState
from vestige.runs.signals import stop_requests


@dataclass(frozen=True)
class Attack:
    """What the user asked for, as typed."""

    data: str
    eps: str
    norm: str
    preset: str
    n: int
    seed: int
    batch_size: int
    theory: bool = False
    pair: str | None = None

    @property
    def radius(self) -> float:
        """eps as a number; "8/255" is a quotient."""
        try:
            top, _, bottom = self.eps.partition("/")
            return float(top) / float(bottom or 1)
        except (ValueError, ZeroDivisionError):
            raise ValueError(f"--eps {self.eps!r} given; a number or a quotient is allowed, such as 8/255.") from None

    @property
    def classes(self) -> tuple[int, int] | None:
        """The pair of classes as numbers; "3,8" names two."""
        if self.pair is None:
            return None
        first, _, second = self.pair.partition(",")
        if not (first.strip().isdecimal() and second.strip().isdecimal()):
            raise ValueError(f"--pair {self.pair!r} given; two class numbers with a comma are allowed, such as 3,8.")
        return int(first), int(second)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The attacks in order."""
        if self.preset == "autoattack":
            return AUTOATTACK
        return tuple(Stage(name.strip()) for name in self.preset.split(","))


def attack_model(target: Target, attack: Attack, out: Path | None) -> dict[str, Any]:
    """One run from its options to what it says; returns the results."""
    dataset = load_data(attack.data, split="test")
    if target.outputs == 1:
        dataset = split_classes(dataset, target.loaded.metadata.get("positive_classes"))
    chosen = (
        sample(dataset, attack.n, generator=child(attack.seed, "attack", "data"))[0]
        if attack.n < len(dataset)
        else dataset
    )
    inputs(target, chosen.x[:1])
    config = {
        "verb": "attack",
        "model": target.loaded.sha256,
        "architecture": target.loaded.architecture,
        "data": fingerprint(chosen),
        "eps": attack.radius,
        "norm": str(Norm(attack.norm)),
        "stages": [str(stage) for stage in attack.stages],
        "seed": attack.seed,
        "batch_size": attack.batch_size,
        **({"theory": True, "pair": attack.classes} if attack.theory else {}),
    }
    run = RunFolder.open(out or Path(f"vestige-attack-{Path(target.name).stem}"), config)
    if run.state is not RunState.FINISHED:
        with run.attempt():
            _work(run, target, attack, chosen, dataset)
    results = run.results() or {}
    page = write_robustness_report(run)
    _say(results, page)
    return results


def _work(run: RunFolder, target: Target, attack: Attack, chosen: DataSet, dataset: DataSet) -> None:
    x = chosen.x.reshape(len(chosen), *target.input_shape)
    with stop_requests() as stop, progress_bar("attacking") as bar:
        report = evaluate_robustness(
            as_logits(target),
            x,
            chosen.y,
            eps=attack.radius,
            norm=attack.norm,
            space=target.space or InputSpace(),
            attacks=attack.stages,
            batch_size=attack.batch_size,
            generator=child(attack.seed, "attack"),
            on_step=recorded(run, stop, bar),
            checkpoint=run.checkpoint(),
        )
    with torch.no_grad():
        clean = as_logits(target)((target.space or InputSpace()).to_model(x.to(report.adv))).argmax(1)
    kept = {"clean": x.to(report.adv), "adv": report.adv, "label": chosen.y, "clean_predicted": clean}
    run.save_tensors(
        "adversarial",
        {**kept, **{name: getattr(report, name) for name in ("success", "predicted", "distance", "stage")}},
    )
    results = _results(target, attack, chosen, report)
    if attack.theory:
        everything = dataset.x.reshape(len(dataset), *target.input_shape)
        results["theory"] = theory_section(
            target, x, chosen.y, everything=everything, way=way_of(report, x), pair=attack.classes, seed=attack.seed
        )
    run.finish(results)
    run.checkpoint().discard()


def _results(target: Target, attack: Attack, chosen: DataSet, report: RobustnessReport) -> dict[str, Any]:
    survivors = report.clean_correct & report.success
    ranks = report.rank[survivors]
    return {
        "format": 1,
        "model": model_summary(target),
        "data": chosen.name,
        "classes": list(chosen.classes),
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
        return []
    return ["The file does not say the range of its inputs; [0, 1] without normalisation was assumed. --range sets it."]


def _say(results: dict[str, Any], page: Path) -> None:
    low, high = results["robust_interval"]
    console.print(
        f"{results['robust_accuracy']:.1%} of {results['n']} samples withstand {results['norm']} perturbations of "
        f"{results['eps']:.4g} (95 % interval {low:.1%} to {high:.1%}); clean {results['clean_accuracy']:.1%}. "
        f"{results['gradient_evaluations']:,} gradient evaluations, {results['seconds']:.1f} s.",
        markup=False,
        soft_wrap=True,
        style="bold",
    )
    note(results["warnings"])
    for path in (page, page.with_name("results.json"), page.with_name("adversarial.safetensors")):
        console.print(str(path), markup=False, soft_wrap=True)
