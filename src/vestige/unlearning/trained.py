"""What a step starts from: the network, the samples that it was trained on, and their stationarity sum."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vestige.core.kkt import working_copy
from vestige.core.margins import Loss, as_rows, check_labels, margin
from vestige.core.relu_chain import find_relu_chain
from vestige.core.residual import Rule, Stationarity, Subgradient, stationarity
from vestige.core.theory import TheoryCheck, check_theory
from vestige.unlearning.request import Forget, check_duplicates, forgotten_and_retained
from vestige.unlearning.slackness import least_slack
from vestige.unlearning.unlearned import StepRule

CLEAR = 0.1  # of the largest multiplier: 0/1 derivatives are wrong at kinks, but not by that much where measured
EXPLAINED = 0.5  # of |theta|^2 at least, or the samples or the training are not those of the network


@dataclass(frozen=True, eq=False)
class Trained:
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


def trained_on(
    model: nn.Module, x: Tensor, y: Tensor, forget: Forget, loss: Loss | str, weight_decay: float | None
) -> Trained:
    """The network and its samples, checked.

    Raises:
        ValueError: a request that cannot be met.
    """
    net, x = working_copy(model), x.detach().double()
    forgotten, kept = forgotten_and_retained(forget, len(x))
    outputs, theory = check_trained(net, x, y, loss, weight_decay)
    check_duplicates(x, y, forgotten, kept)
    return Trained(net, x, y, forgotten, kept, Loss(loss), weight_decay or 0.0, outputs, theory)


def check_trained(
    net: nn.Module, x: Tensor, y: Tensor, loss: Loss | str, weight_decay: float | None
) -> tuple[Tensor, TheoryCheck]:
    """Whether samples can be taken out of this network at all, whichever they are; its outputs and what covers it.

    Raises:
        ValueError: a loss without margins, labels that it cannot have, layers that couple samples, or no fit.
    """
    kind, decay = Loss(loss), weight_decay or 0.0
    if not kind.is_margin:
        raise ValueError(
            f"loss={kind.value!r} given; unlearning needs a loss with margins: logistic, exponential, cross_entropy."
        )
    if not 0 <= decay < math.inf:
        raise ValueError(f"weight_decay={weight_decay} given; it must be at least 0, or None where it is unknown.")
    with torch.no_grad():
        outputs = as_rows(net(x))
    check_labels(y, *outputs.shape)
    theory = check_theory(net, x)
    _check_fit(theory, margin(outputs, y), decay)
    return outputs, theory


def step_rule(net: nn.Module, step: StepRule | str | float) -> tuple[StepRule | float, list[str]]:
    """The rule that this network allows, and a note where that is another one."""
    rule = float(step) if isinstance(step, float | int) else StepRule(step)
    if rule in (StepRule.RESOLVE, StepRule.CLARKE) and find_relu_chain(net) is None:
        note = "The network is not a chain of Linear and ReLU: autograd's derivative was taken at its kinks."
        return (StepRule.KKT if rule is StepRule.CLARKE else rule), [note]
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


def stationary_sum(trained: Trained, layers: list[str], rule: StepRule | float, tolerance: float) -> Stationarity:
    """The multipliers and derivatives of the stationarity sum over the layers that are changed.

    The best derivatives take most of the time. "resolve" needs the multipliers only to know whether there is anything
    to take out, and asks for them where 0/1 derivatives give the samples small ones.
    """
    chain = find_relu_chain(trained.net)
    kinks = chain is not None and chain.depth > 1
    if kinks and rule is StepRule.CLARKE:
        return _sum(trained, layers, Subgradient.CLARKE, tolerance)
    point = _sum(trained, layers, Subgradient.AUTOGRAD, tolerance)
    if not kinks or rule is not StepRule.RESOLVE or trained.weight_decay:
        return point
    share = share_of(point.cotangent)
    clear = bool((share[trained.forgotten] > CLEAR * share.max()).any())
    return point if clear else _sum(trained, layers, Subgradient.CLARKE, tolerance)


def _sum(trained: Trained, layers: list[str], subgradient: Subgradient, tolerance: float) -> Stationarity:
    point = stationarity(
        trained.net,
        trained.x,
        trained.y,
        loss=trained.loss,
        weight_decay=trained.weight_decay or None,
        subgradient=subgradient,
        multipliers=Rule.LOSS if trained.weight_decay else Rule.NONNEGATIVE,
        competitors="all",
        layers=layers,
        kink_tolerance=tolerance,
    )
    return point if trained.weight_decay else least_slack(trained.net, trained.x, trained.y, point, layers)


def check_explained(residual: float, weight_decay: float) -> None:
    """Refuse samples, or a weight decay, that leave more than half of |theta|^2 unexplained.

    Raises:
        ValueError: they do.
    """
    if residual <= 1 - EXPLAINED:
        return
    training = f"weight_decay={weight_decay:g}" if weight_decay else "training without weight decay"
    raise ValueError(
        f"these samples explain {max(0.0, 1 - residual):.0%} of the weights with {training}; at least {EXPLAINED:.0%} "
        "are needed to know what is a sample's. Are these the samples, labels and weight_decay of the training, and "
        "was it long enough?"
    )


def share_of(cotangent: Tensor) -> Tensor:
    """lambda of a cotangent: |c| for one output, half its l_1 norm for several."""
    return cotangent.abs().sum(1) / min(cotangent.shape[1], 2)
