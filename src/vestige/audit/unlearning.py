"""The work behind `vestige unlearn`: reconstruct, pick, unlearn, reconstruct again, retrain, reconstruct, compare."""

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vestige.audit.comparison import RATE, inputs
from vestige.audit.summary import model_summary, number, numbers
from vestige.audit.target import Target
from vestige.audit.training import FIRST_INIT
from vestige.audit.truth import Truth, read_truth
from vestige.audit.weights import Effort, search
from vestige.cli.app import note
from vestige.cli.app import out as console
from vestige.cli.progress import progress_bar, recorded
from vestige.cli.threads import settle_threads
from vestige.core.cite import citation
from vestige.core.margins import check_labels
from vestige.core.rng import child
from vestige.nets.architecture import parse_architecture
from vestige.nets.checkpoint import save_model
from vestige.nets.state_dict import ArchitectureError
from vestige.reconstruct.result import Reconstruction
from vestige.reconstruct.scoring.score import ReconstructionScore, score_reconstruction
from vestige.report.unlearning import write_unlearning_report
from vestige.runs.folder import RunFolder, RunState
from vestige.runs.signals import stop_requests
from vestige.unlearning.ascent import Erasure, Unlearned, unlearn
from vestige.unlearning.baselines import fine_tune, retrain
from vestige.unlearning.certificate import UnlearningCertificate
from vestige.unlearning.evaluate import Against, UnlearningReport, evaluate_unlearning

REPAIR = 1000  # steps with weight decay: a quarter of a training's; benchmarks/unlearning.py has shorter ones
PHASES = ("before", "after", "retrained")


@dataclass(frozen=True)
class Request:
    """What the user asked for, as typed."""

    data: str
    forget: str
    held_out: str | None
    step: str
    repair: int | None


@dataclass(frozen=True, eq=False)
class Attacked:
    """One network, what was read back from it, and how it scores."""

    model: nn.Module
    found: Reconstruction
    score: ReconstructionScore
    seconds: float


def erase(target: Target, request: Request, effort: Effort, out: Path | None) -> dict[str, Any]:
    """One run from its options to what it says; returns the results."""
    settle_threads(effort.threads, target.parameters)
    truth = read_truth(request.data, request.held_out, target.loaded.metadata)
    inputs(target, truth.train.x[:1])
    check_labels(truth.train.y, len(truth.train), target.outputs)
    _wanted(request.forget, len(truth.train))  # refused before any work
    config = {
        "verb": "unlearn",
        "model": target.loaded.sha256,
        "architecture": target.loaded.architecture,
        "loss": target.loss,
        "weight_decay": target.weight_decay,
        "data": truth.digest,
        "forget": request.forget,
        "step": request.step,
        "repair": _repair(request, target),
        **{name: getattr(effort, name) for name in ("n_candidates", "restarts", "seed", "solver")},
    }
    run = RunFolder.open(out or Path(f"vestige-unlearn-{Path(target.name).stem}"), config)
    if run.state is not RunState.FINISHED:
        with run.attempt():
            _work(run, target, request, effort, truth)
    results = run.results() or {}
    _say(run, results, write_unlearning_report(run))
    return results


def _work(run: RunFolder, target: Target, request: Request, effort: Effort, truth: Truth) -> None:
    like = next(target.model.parameters())
    x, y = inputs(target, truth.train.x).to(like), truth.train.y
    before = _attacked(run, target, effort, truth, target.model, "before")
    index = _picked(request.forget, before.score.similarity, before.score.recovered)
    kept = torch.ones(len(x), dtype=torch.bool).index_fill(0, index, False)
    begun = time.perf_counter()
    step = unlearn(target.model, x, y, index, step=request.step, loss=target.loss, weight_decay=target.weight_decay)
    model, steps = step.model, _repair(request, target)
    decay = target.weight_decay or 0.0
    if steps and step.outcome is not Erasure.NOTHING_TO_DO:
        model = fine_tune(model, x, y, index, loss=target.loss, weight_decay=decay, steps=steps, tol_loss=1e-6).model
    took = time.perf_counter() - begun
    after = _attacked(run, target, effort, truth, model, "after")
    begun = time.perf_counter()
    start = _start(target, effort.seed)
    again = retrain(target.model, x, y, index, loss=target.loss, weight_decay=decay, start=start)
    seconds = (took, time.perf_counter() - begun)
    retrained = _attacked(run, target, effort, truth, again.model, "retrained")
    report = _report(target, truth, model, again.model, index, seconds)
    attacks = {"before": before, "after": after, "retrained": retrained}
    _save(run, target, model, index)
    run.save_tensors("samples", _tensors(target, truth, attacks))
    run.finish(_results(target, truth, step, steps, attacks, report, kept, seconds))
    for phase in PHASES:
        run.checkpoint(phase).discard()


def _attacked(run: RunFolder, target: Target, effort: Effort, truth: Truth, model: nn.Module, phase: str) -> Attacked:
    """The same attack, with the same seed and budget, on another network of the same kind."""
    aim = replace(target, loaded=replace(target.loaded, model=model.eval()))
    begun = time.perf_counter()
    with stop_requests() as stop, progress_bar(f"reconstructing {phase}") as bar:
        found = search(aim, effort, recorded(run, stop, bar), run.checkpoint(phase))
    like = next(model.parameters())
    score = score_reconstruction(
        found,
        inputs(target, truth.train.x).to(like),
        held_out=None if truth.held_out is None else inputs(target, truth.held_out.x).to(like),
        space=target.space,
        rate=RATE,
    )
    return Attacked(model, found, score, time.perf_counter() - begun)


def _repair(request: Request, target: Target) -> int:
    return request.repair if request.repair is not None else REPAIR if target.weight_decay else 0


def _wanted(text: str, n: int) -> int | list[int] | None:
    """None for all that leak, a number for the so many that leak most, or positions."""
    kind, _, count = text.partition(":")
    if kind == "leaked" and (not count or (count.isdecimal() and int(count) > 0)):
        return int(count) if count else None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) < n for part in parts):
        raise ValueError(
            f"--forget {text!r} given; leaked, leaked:5, or positions from 0 to {n - 1} with commas are allowed."
        )
    return [int(part) for part in parts]


def _picked(text: str, similarity: Tensor, recovered: Tensor) -> Tensor:
    wanted = _wanted(text, len(similarity))
    if isinstance(wanted, list):
        return torch.tensor(sorted(set(wanted)))
    order = similarity.argsort(descending=True, stable=True)
    leaked = order[recovered[order]]
    if not len(leaked):
        raise ValueError(
            "no sample leaks: none was recovered beyond chance, so there is nothing to pick. To forget samples anyway, "
            "give their positions, such as --forget 0,3."
        )
    if len(leaked[:wanted]) == len(similarity):
        raise ValueError(
            f"all {len(leaked)} samples leak, and forgetting all of them would leave nothing. --forget "
            f"leaked:{max(1, len(leaked) // 4)} takes those that leak most."
        )
    return leaked[:wanted].sort().values


def _start(target: Target, seed: int) -> nn.Module | None:
    """The untrained network of `vestige train`, with the same first weights where the file says its seed."""
    stored = target.loaded.metadata.get("seed", "")
    generator = child(int(stored) if stored.isdecimal() else seed, "train", "init")
    try:
        fresh = parse_architecture(target.loaded.architecture, first_init=FIRST_INIT, generator=generator)
    except ArchitectureError:  # the user's own code: fresh weights for the same module
        return None
    return fresh.to(next(target.model.parameters()))


def _report(
    target: Target, truth: Truth, model: nn.Module, again: nn.Module, index: Tensor, seconds: tuple[float, float]
) -> UnlearningReport | None:
    if truth.held_out is None:
        return None
    return evaluate_unlearning(
        model,
        inputs(target, truth.train.x),
        truth.train.y,
        index,
        retrained=again,
        held_out=(inputs(target, truth.held_out.x), truth.held_out.y),
        original=target.model,
        seconds=seconds,
    )


def _save(run: RunFolder, target: Target, model: nn.Module, index: Tensor) -> None:
    """The new weights, with what the old file said and what was done to it."""
    metadata = {
        **target.loaded.metadata,
        "unlearned_from": target.loaded.sha256,
        "forgotten": json.dumps(index.tolist()),
    }
    save_model(model, run.path / "model.safetensors", metadata=metadata, tensors=target.loaded.tensors)


def _tensors(target: Target, truth: Truth, attacks: dict[str, Attacked]) -> dict[str, Tensor]:
    space = target.shown_space
    shown = {phase: space.to_data(attack.found.samples) for phase, attack in attacks.items()}
    return {"truth": truth.train.x.reshape(-1, *target.input_shape), **shown}


def _results(
    target: Target,
    truth: Truth,
    step: Unlearned,
    steps: int,
    attacks: dict[str, Attacked],
    report: UnlearningReport | None,
    kept: Tensor,
    seconds: tuple[float, float],
) -> dict[str, Any]:
    leaks = {phase: _leak(attack, kept) for phase, attack in attacks.items()}
    notes = [] if report is not None else ["No held-out data: accuracy on unseen samples was not measured."]
    return {
        "format": 1,
        "verdict": _verdict(step, leaks, int((~kept).sum()), int(kept.sum())),
        "model": model_summary(target),
        "forgotten": step.forgotten.tolist(),
        "outcome": str(step.outcome),
        "outcome_message": step.outcome.message,
        "multipliers": numbers(step.multipliers),
        "residual": number(step.residual),
        "heuristic": list(step.heuristic),
        "repair_steps": steps,
        "certificate": step.certificate and _certificate(step.certificate),
        "n_forgotten": int((~kept).sum()),
        "n_kept": int(kept.sum()),
        "attacks": leaks,
        "evaluation": report and _evaluation(report),
        "seconds": {"unlearning": seconds[0], "retraining": seconds[1]},
        "warnings": [*truth.warnings, *notes, *step.warnings, *(report.warnings if report else ())],
        "citations": citation(step, attacks["before"].found, attacks["before"].score),
    }


def _leak(attack: Attacked, kept: Tensor) -> dict[str, Any]:
    score = attack.score
    return {
        "forgotten": int(score.recovered[~kept].sum()),
        "kept": int(score.recovered[kept].sum()),
        "threshold": number(score.threshold),
        "metric": score.metric,
        "similarity": numbers(score.similarity),
        "match": score.match.tolist(),
        "recovered": score.recovered.tolist(),
        "gradient_evaluations": attack.found.gradient_evaluations,
        "seconds": attack.seconds,
    }


def _certificate(found: UnlearningCertificate) -> dict[str, Any]:
    return {
        "verdict": found.verdict,
        "provable": found.provable,
        "harmful": found.harmful,
        **{name: number(getattr(found, name)) for name in ("epsilon", "delta", "tau", "repaired", "smallest_margin")},
        "claims": [
            {
                "name": c.name,
                "bound": number(c.bound),
                "measured": number(c.measured),
                "holds": c.holds,
                "source": c.source,
            }
            for c in found.claims.claims
        ],
    }


def _evaluation(report: UnlearningReport) -> dict[str, Any]:
    compared = {
        name: {key: number(getattr(value, key)) for key in ("unlearned", "retrained", "untouched")}
        for name, value in vars(report).items()
        if isinstance(value, Against)
    }
    single = ("tug_of_war", "agreement", "forget_agreement", "weight_cosine", "cost")
    return {"compared": compared, **{name: number(getattr(report, name)) for name in single}}


def _verdict(step: Unlearned, leaks: dict[str, dict[str, Any]], forgotten: int, kept: int) -> str:
    before, after, retrained = (leaks[phase] for phase in PHASES)
    if step.outcome is Erasure.NOTHING_TO_DO:
        return step.outcome.message
    return (
        f"Of {forgotten} forgotten samples the same attack recovered {before['forgotten']} before and "
        f"{after['forgotten']} after ({retrained['forgotten']} from a network retrained without them); of {kept} kept "
        f"ones {before['kept']} before and {after['kept']} after ({retrained['kept']} retrained)."
    )


def _say(run: RunFolder, results: dict[str, Any], page: Path) -> None:
    console.print(results["verdict"], style="bold", markup=False, soft_wrap=True)
    if results["evaluation"]:
        compared = results["evaluation"]["compared"]
        for name in ("forget_accuracy", "retain_accuracy", "test_accuracy"):
            row = compared[name]
            console.print(
                f"{name.replace('_', ' ')}: {row['untouched']:.1%} before, {row['unlearned']:.1%} after, "
                f"{row['retrained']:.1%} retrained",
                markup=False,
                soft_wrap=True,
            )
    if results["certificate"]:
        console.print(results["certificate"]["verdict"], markup=False, soft_wrap=True)
    if results["heuristic"]:
        console.print(f"heuristic: {'; '.join(results['heuristic'])}", style="yellow", markup=False, soft_wrap=True)
    note(results["warnings"])
    for path in (page, run.path / "results.json", run.path / "model.safetensors"):
        console.print(str(path), markup=False, soft_wrap=True)
