"""One calibrated step of gradient ascent takes samples out of a trained network (arXiv 2510.14844).

Training ends where theta = sum_i c_i . grad f(theta; x_i). The step subtracts the terms of the samples to forget,

    theta' = theta - sum_{r in F} c_r . grad f(theta; x_r),                                        (1)

which is gradient ascent on the loss of each with the step size beta_r = -lambda_r / l'(q_r), where q_r = y_r f(x_r). At
a memorized sample l' is of the order of 1e-9 and beta of 1e9, so (1) is computed directly and never through a loss.
"""

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from vestige.core.choices import ChoiceEnum
from vestige.core.cite import Paper, paper
from vestige.core.kkt import layer_of, select_layers, working_copy
from vestige.core.margins import Loss, as_rows, check_labels, loss_cotangent, margin
from vestige.core.relu_chain import find_relu_chain
from vestige.core.residual import Rule, Stationarity, Subgradient, stationarity
from vestige.core.theory import TheoryCheck, check_theory
from vestige.unlearning.certificate import UnlearningCertificate, unlearning_certificate
from vestige.unlearning.gates import changed_layers, gated_gradient
from vestige.unlearning.request import Forget, check_duplicates, class_notes, forgotten_and_retained

SOURCE = (paper("2510.14844"),)
NOTHING = 1e-6  # multipliers below this share of the largest count as zero


class StepRule(ChoiceEnum):
    """How the step is calibrated: by the best derivatives at ReLU kinks, or by autograd's 0 and 1 as published."""

    CLARKE = "clarke"
    KKT = "kkt"


class Erasure(ChoiceEnum):
    """How an unlearning step ended."""

    ERASED = "erased"
    NOTHING_TO_DO = "nothing_to_do"
    TRAINING_ERRORS = "training_errors"

    @property
    def message(self) -> str:
        """One sentence for a person."""
        return {
            Erasure.ERASED: "The terms of the forgotten samples were taken out of the weights.",
            Erasure.NOTHING_TO_DO: "The forgotten samples have multiplier 0 in the network; it is returned unchanged.",
            Erasure.TRAINING_ERRORS: "The step makes the network misclassify retained samples that it had right.",
        }[self]


@dataclass(frozen=True, eq=False, kw_only=True)
class Unlearned:
    """A copy of the network without some of its samples.

    Attributes:
        model: the new network, in the precision and mode of the one given.
        forgotten: positions of the forgotten samples.
        multipliers: of each of them, for weights scaled to a smallest margin of 1; 0 where it never mattered.
        step_sizes: beta of each in ascent on its loss; infinite where l' underflows.
        before: margin of every sample before the step.
        after: margin of every sample after it.
        residual: relative distance |theta - sum_i c_i grad f(x_i)| / |theta| before the step, over the changed layers.
        heuristic: reasons why no theorem covers this step; empty where one does.
        certificate: how near the network is to one of the retained samples alone; None where certify=False.
        outcome: how it ended.
        warnings: what the reader should know.
        source: the paper.
    """

    model: nn.Module
    forgotten: Int[Tensor, " k"]
    multipliers: Float[Tensor, " k"]
    step_sizes: Float[Tensor, " k"]
    before: Float[Tensor, " n"]
    after: Float[Tensor, " n"]
    residual: float
    heuristic: tuple[str, ...]
    certificate: UnlearningCertificate | None
    outcome: Erasure
    warnings: tuple[str, ...]
    source: tuple[Paper, ...] = SOURCE


def unlearn(
    model: nn.Module,
    x: Float[Tensor, "n ..."],
    y: Shaped[Tensor, " n"],
    forget: Forget,
    *,
    loss: Loss | str,
    weight_decay: float | None = None,
    step: StepRule | str | float = "clarke",
    fraction: float | int = 1.0,
    layers: Iterable[str] | None = None,
    kink_tolerance: float = 1e-2,
    certify: bool = True,
) -> Unlearned:
    """Subtract the terms of some samples from the stationarity sum of a trained network, in float64.

    theta' = theta - fraction * sum_{r in F} c_r . grad f(theta; x_r), with c_r = lambda_r y_r by non-negative least
    squares over all samples (without weight decay), or c_r = -l'(f(x_r), y_r) / (n wd) with it.

    Proved for linear models and for two-layer ReLU networks without late biases, one output and a fixed output layer,
    trained to their margin (arXiv 2510.14844). Where the output layer was trained too, the statement is about the first
    layer with the output layer held, and only that layer is changed. Elsewhere the same step is a heuristic.

    Args:
        model: a trained network; left as it is.
        x: all its training samples, model space.
        y: their labels, {0, 1} or {-1, 1} for one output, 0..classes-1 for several.
        forget: positions of the samples to forget, or a mask.
        loss: of the training: logistic or exponential for one output, cross_entropy for several.
        weight_decay: of the training; None (unknown) is taken as none.
        step: "clarke" (best derivatives at kinks), "kkt" (autograd's, as published), or a number beta: uncalibrated
            ascent theta + beta * sum_r grad l(f(x_r), y_r), for comparison.
        fraction: of a calibrated step; 1 is the exact one.
        layers: names of the layers that are changed; None for the first one that has trainable weights.
        kink_tolerance: a pair is at a kink when |pre-activation| is at most this times its layer's largest.
        certify: measure what is left with respect to the retained samples.

    Raises:
        ValueError: nothing or everything to forget, a forgotten sample that stays among the retained, an unfitted
            model, layers that no theory covers, labels or options out of range.

    >>> linear = nn.Linear(2, 1, bias=False, dtype=torch.float64)
    >>> _ = nn.init.constant_(linear.weight, 1.0)
    >>> x, y = torch.eye(2, dtype=torch.float64), torch.tensor([1, 1])
    >>> unlearn(linear, x, y, [0], loss="logistic").model.weight.tolist()  # w = x_0 + x_1
    [[0.0, 1.0]]
    """
    trained = _trained(model, x, y, forget, loss, weight_decay)
    rule, notes = _rule(trained.net, step)
    chosen = changed_layers(trained.net, layers)
    point = _stationary(trained, chosen, rule, kink_tolerance)
    share = _share(point.cotangent[trained.forgotten]) / _share(point.cotangent).max().clamp_min(1e-300)
    nothing = isinstance(rule, StepRule) and bool((share <= NOTHING).all())
    changed = trained.net if nothing else _stepped(trained, rule, float(fraction), point, chosen)
    result = _result(model, trained, changed, point, nothing)
    notes += class_notes(trained.y, trained.forgotten, trained.kept)
    reasons = tuple(_unproved(trained, chosen, rule))
    result = replace(result, heuristic=reasons, warnings=(*notes, *result.warnings))
    if not certify:
        return result
    certificate = unlearning_certificate(
        result.model, trained.x, y, trained.forgotten, original=model, layers=chosen, kink_tolerance=kink_tolerance
    )
    return replace(result, certificate=certificate, warnings=(*result.warnings, *certificate.warnings))


@dataclass(frozen=True, eq=False)
class _Trained:
    """The network in float64, its samples, which of them go, how it was trained, and its outputs."""

    net: nn.Module
    x: Tensor
    y: Tensor
    forgotten: Tensor
    kept: Tensor
    loss: Loss
    weight_decay: float  # 0 where unknown
    outputs: Tensor
    theory: TheoryCheck


def _trained(
    model: nn.Module, x: Tensor, y: Tensor, forget: Forget, loss: Loss | str, weight_decay: float | None
) -> _Trained:
    kind, decay = Loss(loss), weight_decay or 0.0
    if not kind.is_margin:
        raise ValueError(
            f"loss={kind.value!r} given; unlearning needs a loss with margins: logistic, exponential, cross_entropy."
        )
    if not 0 <= decay < math.inf:
        raise ValueError(f"weight_decay={weight_decay} given; it must be at least 0, or None where it is unknown.")
    net, x = working_copy(model), x.detach().double()
    forgotten, kept = forgotten_and_retained(forget, len(x))
    with torch.no_grad():
        outputs = as_rows(net(x))
    check_labels(y, *outputs.shape)
    check_duplicates(x, y, forgotten, kept)
    theory = check_theory(net, x)
    _check_fit(theory, margin(outputs, y), decay)
    return _Trained(net, x, y, forgotten, kept, kind, decay, outputs, theory)


def _rule(net: nn.Module, step: StepRule | str | float) -> tuple[StepRule | float, list[str]]:
    rule = float(step) if isinstance(step, float | int) else StepRule(step)
    if rule is StepRule.CLARKE and find_relu_chain(net) is None:
        note = "The network is not a chain of Linear and ReLU: autograd's derivative was taken at its kinks."
        return StepRule.KKT, [note]
    return rule, []


def _check_fit(theory: TheoryCheck, margins: Tensor, weight_decay: float) -> None:
    if "weight_decay" in theory.falls:
        raise ValueError(
            f"no sample has a term of its own in this network, so none can be taken out. {' '.join(theory.warnings)}"
        )
    wrong = int((margins <= 0).sum())
    if not weight_decay and wrong:
        raise ValueError(
            f"{wrong} of {len(margins)} training samples are misclassified: the model is not fitted, and has no margin "
            "to calibrate the step. Train it further; if it was trained with weight decay, give weight_decay."
        )


def _stationary(trained: _Trained, layers: list[str], rule: StepRule | float, tolerance: float) -> Stationarity:
    """The multipliers and derivatives of the stationarity sum over the layers that are changed."""
    chain = find_relu_chain(trained.net)
    clarke = rule is StepRule.CLARKE and chain is not None and chain.depth > 1
    return stationarity(
        trained.net,
        trained.x,
        trained.y,
        loss=trained.loss,
        weight_decay=trained.weight_decay or None,
        subgradient=Subgradient.CLARKE if clarke else Subgradient.AUTOGRAD,
        multipliers=Rule.LOSS if trained.weight_decay else Rule.NONNEGATIVE,
        competitors="all",
        layers=layers,
        kink_tolerance=tolerance,
    )


def _stepped(
    trained: _Trained, rule: StepRule | float, fraction: float, point: Stationarity, layers: list[str]
) -> nn.Module:
    index = trained.forgotten
    if isinstance(rule, StepRule):
        gates = {name: gate[index] for name, gate in point.kink_coefficients.items()}
        step = gated_gradient(trained.net, trained.x[index], fraction * point.cotangent[index], gates)
    else:
        slope = loss_cotangent(trained.outputs[index], trained.y[index], trained.loss)
        step = gated_gradient(trained.net, trained.x[index], -rule * slope, {})
    changed = copy.deepcopy(trained.net)
    with torch.no_grad():
        for name, parameter in changed.named_parameters():
            if layer_of(name) in layers and name in step:
                parameter -= step[name]
    return changed


def _result(model: nn.Module, trained: _Trained, changed: nn.Module, point: Stationarity, nothing: bool) -> Unlearned:
    index, kept, y = trained.forgotten, trained.kept, trained.y
    before = margin(trained.outputs, y)
    with torch.no_grad():
        after = margin(as_rows(changed(trained.x)), y)
    broken = int(((after <= 0) & (before > 0))[kept].sum())
    share = _share(point.cotangent[index])
    note = f"{broken} of {len(kept)} retained samples are misclassified after the step. Forget fewer at a time."
    return Unlearned(
        model=_like(model, changed),
        forgotten=index,
        multipliers=share / before.min().clamp_min(1e-300),
        step_sizes=share / _share(loss_cotangent(trained.outputs[index], y[index], trained.loss)),
        before=before,
        after=after,
        residual=point.residual**0.5,
        heuristic=(),
        certificate=None,
        outcome=Erasure.NOTHING_TO_DO if nothing else Erasure.TRAINING_ERRORS if broken else Erasure.ERASED,
        warnings=(note,) if broken else (),
    )


def _like(model: nn.Module, changed: nn.Module) -> nn.Module:
    """A copy of the model as it is, mode and precision included, with the changed parameters."""
    new = copy.deepcopy(model)
    with torch.no_grad():
        for mine, theirs in zip(new.parameters(), changed.parameters(), strict=True):
            mine.copy_(theirs)
    return new


def _share(cotangent: Tensor) -> Tensor:
    """lambda of a cotangent: |c| for one output, half its l_1 norm for several."""
    return cotangent.abs().sum(1) / min(cotangent.shape[1], 2)


def _unproved(trained: _Trained, layers: list[str], rule: StepRule | float) -> Iterable[str]:
    chain, outputs = find_relu_chain(trained.net), trained.outputs.shape[1]
    first = select_layers(trained.net, None)[:1] if chain is None else list(chain.names[:1])
    if not isinstance(rule, StepRule):
        yield "the step size was set by hand"
    if not trained.theory.homogeneous:
        yield "the network is not homogeneous"
    if outputs > 1:
        yield f"{outputs} outputs: the margins are those of class pairs"
    if chain is None or chain.depth > 2:
        yield "the network is deeper than two layers, or not a chain of Linear and ReLU"
    if layers != first:
        yield "layers other than the first were changed"
    if trained.weight_decay:
        yield "weight decay: the weights are stationary for the decayed loss, not for the margin"
