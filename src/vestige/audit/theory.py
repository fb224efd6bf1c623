"""Why a model is fooled: what the theory of trained networks says about it, beside what an attack measured."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vestige.attack.evaluate import RobustnessReport, evaluate_robustness
from vestige.attack.theory.linearity import linearity_profile
from vestige.attack.theory.span import DataSpan, data_span
from vestige.attack.theory.subspace import off_subspace_robustness
from vestige.attack.theory.universal import LARGEST_CHECK, UniversalPerturbation, universal_margin_perturbation
from vestige.audit.gap import robustness_gap
from vestige.audit.summary import number, numbers
from vestige.audit.target import Target
from vestige.audit.truth import Truth
from vestige.core.cite import citation
from vestige.core.descent import Checkpoint
from vestige.core.outcome import OnStep
from vestige.core.rng import child
from vestige.core.space import InputSpace
from vestige.data.dataset import sample

LARGEST_ATTACK, LARGEST_THEORY, LARGEST_SPAN = 200, 200, 4_000  # samples, so that an audit takes seconds for it
GRAY, COLOR = 0.1, 8 / 255  # l_inf radius of the audit, as a share of the inputs' range

Section = dict[str, Any]


@dataclass(frozen=True, eq=False)
class BrokenSamples:
    """Samples that an attack broke: clean, adversarial, both in data space, and the ball that was allowed."""

    clean: Tensor
    adv: Tensor
    eps: float
    norm: str


def broken_samples(report: RobustnessReport, clean: Tensor) -> BrokenSamples:
    """Samples that the model got right and an attack broke."""
    broken = (report.clean_correct & report.success).nonzero().flatten()[:LARGEST_THEORY]
    return BrokenSamples(clean.to(report.adv)[broken], report.adv[broken], report.eps, report.norm)


class TwoClassLogits(nn.Module):
    """One output z as the logits -z and z of two classes, as attacks take them."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """(n,) or (n, 1) to (n, 2)."""
        z = self.model(x).reshape(-1)
        return torch.stack([-z, z], 1)


def as_logits(target: Target) -> nn.Module:
    """The model as attacks take it."""
    return TwoClassLogits(target.model).eval() if target.outputs == 1 else target.model


def audited_robustness(
    target: Target, truth: Truth, *, seed: int, on_step: OnStep | None, checkpoint: Checkpoint | None
) -> Section:
    """The audit's section: the fast attack on a few samples with known labels, and what theory says of the network.

    Unseen samples are attacked where there are any; theory is about the training samples.
    """
    unseen = truth.held_out is not None and truth.held_out.shape == truth.train.shape
    chosen = truth.held_out if unseen and truth.held_out is not None else truth.train
    if len(chosen) > LARGEST_ATTACK:
        chosen = sample(chosen, LARGEST_ATTACK, generator=child(seed, "robustness"))[0]
    space, x = target.space, target.shaped(chosen.x)
    measured, broken = {"reason": "The range of the inputs is unknown; give space (--range)."}, None
    if space is not None and space.width < float("inf"):
        share = COLOR if len(target.input_shape) == 3 and target.input_shape[0] == 3 else GRAY
        eps = share * space.width
        draw = child(seed, "robustness")
        measured, broken = _attacked(target, space, x, chosen.y, eps, draw, on_step, checkpoint)
    trained = target.shaped(truth.train.x)
    return {
        **measured,
        "n": len(chosen),
        "data": "held-out samples" if unseen else "training samples",
        "theory": theory_section(target, trained, truth.train.y, everything=trained, broken=broken, seed=seed),
    }


def _attacked(
    target: Target,
    space: InputSpace,
    x: Tensor,
    y: Tensor,
    eps: float,
    draw: torch.Generator,
    on_step: OnStep | None,
    checkpoint: Checkpoint | None,
) -> tuple[Section, BrokenSamples | None]:
    try:
        report = evaluate_robustness(
            as_logits(target),
            x,
            y,
            eps=eps,
            space=space,
            generator=draw,
            on_step=on_step,
            checkpoint=checkpoint,
        )
    except ValueError as error:  # labels or inputs that the attack refuses do not end an audit
        return {"reason": str(error)}, None
    section = {
        "eps": report.eps,
        "norm": report.norm,
        "clean_accuracy": report.clean_accuracy,
        "robust_accuracy": report.robust_accuracy,
        "robust_interval": list(report.robust_interval),
        "gradient_evaluations": report.gradient_evaluations,
        "warnings": list(report.warnings),
        "citations": citation(report),
    }
    return section, broken_samples(report, x)


def theory_section(
    target: Target,
    x: Tensor,
    y: Tensor,
    *,
    everything: Tensor,
    broken: BrokenSamples | None,
    pair: tuple[int, int] | None = None,
    seed: int = 0,
) -> Section:
    """Three answers, or the reason why there is none.

    Args:
        target: the model.
        x: samples with known labels in data space; training samples where they are at hand.
        y: their labels.
        everything: all data of this kind, for their span.
        broken: samples that an attack broke, whose path is followed; None for one step down the gradient.
        pair: the two classes whose common direction is sought; None for those of `class_pair`.
        seed: of random directions.
    """
    like = next(target.model.parameters())
    at = target.inputs(x[:LARGEST_THEORY]).to(like)
    return {
        "n": len(at),
        "universal": _answer(lambda: _universal(target, target.inputs(x).to(like), y, pair, seed)),
        "off_subspace": _answer(lambda: _off_subspace(target, at, target.inputs(everything).to(like), seed)),
        "linearity": _answer(lambda: _linearity(target, at, broken, seed)),
    }


def _answer(work: Callable[[], Section]) -> Section:
    try:
        return work()
    except ValueError as error:
        return {"reason": str(error)}


def class_pair(target: Target, x: Tensor, y: Tensor) -> tuple[int, int] | None:
    """The two classes whose common direction is sought where none are named: those that the model separates least.

    Most often one of them is the label and the other the second choice, among samples that the model gets right; the
    class that is y = 1 for the theory comes first. None for one output.

    Raises:
        ValueError: samples of two classes that the model gets right are missing.
    """
    if target.outputs == 1:
        return None
    with torch.no_grad():
        z = torch.cat([target.model(part) for part in x.split(LARGEST_SPAN)]).reshape(len(x), -1)
    right = z.argmax(1) == y
    if len(y[right].unique()) < 2:
        raise ValueError(
            f"theory compares two classes, and of these {len(y)} samples the model gets {int(right.sum())} right, of "
            f"{len(y[right].unique())} classes. Give samples of two classes that it knows, or leave theory out."
        )
    z, label = z[right], y[right]
    counts = torch.zeros(target.outputs, target.outputs, dtype=torch.long)
    second = z.scatter(1, label[:, None], -torch.inf).argmax(1)
    counts.index_put_((label.cpu(), second.cpu()), torch.ones(len(label), dtype=torch.long), accumulate=True)
    known = torch.zeros(target.outputs, dtype=torch.bool)
    known[label.cpu()] = True
    both = torch.where(known[:, None] & known[None], counts + counts.T, -1).fill_diagonal_(-1)
    low, high = sorted(divmod(int(both.argmax()), target.outputs))
    return high, low


def check_pair(pair: tuple[int, int], target: Target, y: Tensor) -> None:
    """Refuse two classes that are not among the samples, before any work.

    Raises:
        ValueError: they are not.
    """
    if target.outputs == 1 or len(set(pair)) < 2 or not set(pair) <= set(y.unique().tolist()):
        there = f"there are {sorted(set(y.tolist()))[:12]}" if target.outputs > 1 else "the model has one output"
        raise ValueError(f"pair={pair} given; two different classes of the samples are needed: {there}.")


def _universal(target: Target, x: Tensor, y: Tensor, pair: tuple[int, int] | None, seed: int) -> Section:
    model, chosen = target.model, pair is None and target.outputs > 2
    pair = pair or ((1, 0) if target.outputs == 2 else class_pair(target, x, y))
    if pair is not None:
        keep = (y == pair[0]) | (y == pair[1])
        x, y = x[keep], y[keep]
    with torch.no_grad():
        z = model(x).reshape(len(x), -1)
    number_of = z[:, 0] if pair is None else z[:, pair[0]] - z[:, pair[1]]
    right = (number_of > 0) == (y > 0 if pair is None else y == pair[0])
    x, y = x[right][:LARGEST_CHECK], y[right][:LARGEST_CHECK]
    draw = child(seed, "theory")
    try:
        gap = robustness_gap(model, x, y, pair=pair, generator=draw)
        eps = gap.constructed.numbers["eps"]
        found, beside = gap.trained, {"constructed_radius": number(eps), "gap": number(gap.gap)}
    except ValueError:  # no network of one unit a sample separates them; the direction may still be there
        found, beside = universal_margin_perturbation(model, x, y, pair=pair, generator=draw), {}
    return {
        **_universal_numbers(found),
        **beside,
        "left_out": int((~right).sum()),
        "pair": pair and list(pair),
        "chosen": chosen,
    }


def _universal_numbers(found: UniversalPerturbation) -> Section:
    return {
        "radius": number(found.radius),
        "scale": number(found.scale),
        "ratio": number(found.ratio),
        "samples": len(found.margins),
        "on_margin": int(found.on_margin.sum()),
        "gradient_radius": number(found.gradient_radius),
        "null_flips": found.null_flips,
        "null_trials": found.null_trials,
        "coherence": number(found.coherence),
        "kkt_residual": number(found.kkt_residual),
        "certificate": found.certificate.table(),
        "warnings": list(found.warnings),
        "citations": citation(found),
    }


def _off_subspace(target: Target, x: Tensor, everything: Tensor, seed: int) -> Section:
    span: DataSpan = data_span(everything[:LARGEST_SPAN])
    found = off_subspace_robustness(target.model, x, span=span, generator=child(seed, "theory"))
    predicted = found.predicted_gradient
    return {
        "dimension": span.dimension,
        "codimension": span.codimension,
        "norm": number(x.flatten(1).norm(dim=1).median()),
        "energy_share": number(found.energy_share.median()),
        "linear_radius": number(found.linear_radius.median()),
        "radius": number(found.radius.median()),
        "smallest_radius": number(found.radius.min()),
        "as_predicted": None if predicted is None else number((found.off_gradient / predicted).median()),
        "null_flips": found.null_flips,
        "null_trials": found.null_trials,
        "warnings": list(found.warnings),
        "citations": citation(found),
    }


def _linearity(target: Target, x: Tensor, broken: BrokenSamples | None, seed: int) -> Section:
    draw, model = child(seed, "theory"), target.model
    if broken is None or not len(broken.clean):
        eps = GRAY * float(x.abs().max()) if broken is None else broken.eps
        found, along = linearity_profile(model, x, eps=eps, generator=draw), "one step down the gradient"
    else:
        starts, ends = (target.inputs(samples) for samples in (broken.clean, broken.adv))
        found = linearity_profile(model, starts, ends, norm=broken.norm, generator=draw)
        along = f"the path to {len(starts)} adversarial examples"
    return {
        "along": along,
        "fractions": list(found.fractions),
        "value_error": numbers(found.value_error),
        "gradient_error": numbers(found.gradient_error),
        "predicted_change": numbers(found.predicted_change),
        "random_change": numbers(found.random_change),
        "reach": found.reach,
        "turn": number(found.gradient_error[found.fractions.index(1.0)]),
        "size": number(found.size),
        "citations": citation(found),
    }
