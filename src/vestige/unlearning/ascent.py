"""One calibrated step of gradient ascent takes samples out of a trained network (arXiv 2510.14844).

Training ends where theta = sum_i c_i . grad f(theta; x_i). The step subtracts the terms of the samples to forget,

    theta' = theta - sum_{r in F} c_r . grad f(theta; x_r),                                        (1)

which is gradient ascent on the loss of each with the step size beta_r = -lambda_r / l'(q_r), where q_r = y_r f(x_r). At
a memorised sample l' is of the order of 1e-9 and beta of 1e9: (1) is computed as it stands and never through a loss.
"""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from vestige.core.choices import ChoiceEnum
from vestige.core.cite import Paper, paper
from vestige.core.kkt import layer_of, select_layers, working_copy
from vestige.core.margins import Loss, as_rows, check_labels, loss_cotangent, margin
from vestige.core.relu_chain import find_relu_chain
from vestige.core.stationarity import Rule, Stationarity, Subgradient, stationarity
from vestige.core.theory import TheoryCheck, check_theory
from vestige.unlearning.certificate import UnlearningCertificate, unlearning_certificate
from vestige.unlearning.gates import changed_layers, gated_gradient
from vestige.unlearning.request import check_request, class_notes, forget_index

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
            Erasure.NOTHING_TO_DO: "The forgotten samples have no weight in the network; it is returned unchanged.",
            Erasure.TRAINING_ERRORS: "The step makes the network misclassify retained samples that it had right.",
        }[self]


@dataclass(frozen=True, eq=False)
class Unlearned:
    """A copy of the network without some of its samples.

    Attributes:
        model: the new network, in the precision and mode of the one given.
        forgotten: positions of the forgotten samples.
        multipliers: of each of them, for weights scaled to a smallest margin of 1; 0: it never mattered.
        step_sizes: beta of each in ascent on its loss; infinite where l' underflows.
        before: margin of every sample before the step.
        after: and behind it.
        residual: relative distance |theta - sum_i c_i grad f(x_i)| / |theta| before the step, over the changed layers.
        heuristic: reasons why no theorem covers this step; empty where one does.
        certificate: what the step left with respect to the retained samples; None where it was not asked for.
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
    forget: Sequence[int] | Shaped[Tensor, " given"],
    *,
    step: StepRule | str | float = "clarke",
    fraction: float | int = 1.0,
    loss: Loss | str | None = None,
    weight_decay: float | None = None,
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
        step: "clarke" (best derivatives at kinks), "kkt" (autograd's, as published), or a number beta: uncalibrated
            ascent theta + beta * sum_r grad l(f(x_r), y_r), for comparison.
        fraction: of a calibrated step; 1 is the exact one.
        loss: it was trained with; None for logistic or, with several outputs, cross-entropy.
        weight_decay: of the training, if any.
        layers: names of the layers that are changed; None for the first one that has trainable weights.
        kink_tolerance: a pair is at a kink when |pre-activation| is at most this times its layer's largest.
        certify: measure what is left with respect to the retained samples.

    Raises:
        ValueError: nothing or everything to forget, a forgotten sample that stays among the retained, an unfitted
            model, layers that no theory covers, labels or options out of range.

    >>> linear = nn.Linear(2, 1, bias=False, dtype=torch.float64)
    >>> _ = nn.init.constant_(linear.weight, 1.0)
    >>> x, y = torch.eye(2, dtype=torch.float64), torch.tensor([1, 1])
    >>> unlearn(linear, x, y, [0]).model.weight.tolist()  # w = x_0 + x_1
    [[0.0, 1.0]]
    """
    net, x = working_copy(model), x.detach().double()
    index = forget_index(forget, len(x))
    with torch.no_grad():
        outputs = as_rows(net(x))
    kind = _loss(loss, outputs, y)
    check_request(x, y, index)
    theory, before = check_theory(net, x), margin(outputs, y)
    _check_fit(theory, before, weight_decay)
    chosen, notes = changed_layers(net, layers), class_notes(y, index)
    rule = step if isinstance(step, float | int) else StepRule(step)
    if rule is StepRule.CLARKE and find_relu_chain(net) is None:
        rule = StepRule.KKT
        notes.append("The network is no chain of Linear and ReLU: autograd's derivative was taken at its kinks.")
    point = _stationary(net, x, y, kind, weight_decay, chosen, rule, kink_tolerance)
    share = _share(point.cotangent[index]) / _share(point.cotangent).max().clamp_min(1e-300)
    nothing = not isinstance(rule, float | int) and bool((share <= NOTHING).all())
    changed = net if nothing else _stepped(net, x, y, index, rule, float(fraction), kind, point, chosen)
    with torch.no_grad():
        after = margin(as_rows(changed(x)), y)
    kept = torch.ones(len(x), dtype=torch.bool).index_fill(0, index, False)
    broken = int(((after <= 0) & (before > 0))[kept].sum())
    result = Unlearned(
        model=_like(model, changed),
        forgotten=index,
        multipliers=_share(point.cotangent[index]) / before.min().clamp_min(1e-300),
        step_sizes=_share(point.cotangent[index]) / _share(loss_cotangent(outputs[index], y[index], kind)),
        before=before,
        after=after,
        residual=point.residual**0.5,
        heuristic=tuple(_unproved(net, theory, outputs.shape[1], weight_decay, chosen, rule, point)),
        certificate=None,
        outcome=Erasure.NOTHING_TO_DO if nothing else Erasure.TRAINING_ERRORS if broken else Erasure.ERASED,
        warnings=(*notes, *_after_notes(broken, int(kept.sum()))),
    )
    if not certify:
        return result
    certificate = unlearning_certificate(
        result.model,
        x[kept],
        y[kept],
        original=model,
        x_forget=x[index],
        y_forget=y[index],
        layers=chosen,
        kink_tolerance=kink_tolerance,
    )
    return replace(result, certificate=certificate, warnings=(*result.warnings, *certificate.warnings))


def _loss(loss: Loss | str | None, outputs: Tensor, y: Tensor) -> Loss:
    single = outputs.shape[1] == 1
    kind = Loss(loss) if loss is not None else Loss.LOGISTIC if single else Loss.CROSS_ENTROPY
    if not kind.is_margin:
        raise ValueError(
            f"loss={kind.value!r} given; unlearning is about margins: logistic, exponential, cross_entropy."
        )
    check_labels(y, len(outputs), outputs.shape[1])
    return kind


def _check_fit(theory: TheoryCheck, margins: Tensor, weight_decay: float | None) -> None:
    claim = "margin" if weight_decay is None else "weight_decay"
    if "weight_decay" in theory.falls:
        raise ValueError(
            f"no sample has a term of its own in this network, so none can be taken out. {' '.join(theory.warnings)}"
        )
    wrong = int((margins <= 0).sum())
    if claim == "margin" and wrong:
        raise ValueError(
            f"{wrong} of {len(margins)} training samples are misclassified: the model is not fitted, and has no margin "
            "that the step could be calibrated by. Train it further; trained with weight decay? Give weight_decay."
        )


def _stationary(
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    loss: Loss,
    weight_decay: float | None,
    layers: list[str],
    rule: StepRule | float | int,
    tolerance: float,
) -> Stationarity:
    """The multipliers and derivatives of the stationarity sum over the layers that are changed."""
    chain = find_relu_chain(net)
    clarke = rule is StepRule.CLARKE and chain is not None and chain.depth > 1
    return stationarity(
        net,
        x,
        y,
        loss=loss,
        weight_decay=weight_decay,
        subgradient=Subgradient.CLARKE if clarke else Subgradient.AUTOGRAD,
        multipliers=Rule.NONNEGATIVE if weight_decay is None else Rule.LOSS,
        competitors="all",
        layers=layers,
        kink_tolerance=tolerance,
    )


def _stepped(
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    index: Tensor,
    rule: StepRule | float | int,
    fraction: float,
    loss: Loss,
    point: Stationarity,
    layers: list[str],
) -> nn.Module:
    changed = copy.deepcopy(net)
    if isinstance(rule, float | int):
        with torch.no_grad():
            cotangent = -float(rule) * loss_cotangent(net(x[index]), y[index], loss)
        step = gated_gradient(net, x[index], cotangent, {})
    else:
        gates = {name: gate[index] for name, gate in point.kink_coefficients.items()}
        step = gated_gradient(net, x[index], fraction * point.cotangent[index], gates)
    with torch.no_grad():
        for name, parameter in changed.named_parameters():
            if layer_of(name) in layers and name in step:
                parameter -= step[name]
    return changed


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


def _unproved(
    net: nn.Module,
    theory: TheoryCheck,
    outputs: int,
    weight_decay: float | None,
    layers: list[str],
    rule: StepRule | float | int,
    point: Stationarity,
) -> Iterable[str]:
    chain = find_relu_chain(net)
    if isinstance(rule, float | int):
        yield "the step size was set by hand"
    if not theory.homogeneous:
        yield "the network is not homogeneous"
    if outputs > 1:
        yield f"{outputs} outputs: the margins are those of class pairs"
    if chain is None or chain.depth > 2:
        yield "the network is deeper than two layers, or no chain of Linear and ReLU"
    if layers != (select_layers(net, None)[:1] if chain is None else list(chain.names[:1])):
        yield "other layers than the first were changed"
    if weight_decay is not None:
        yield "weight decay: the weights are stationary for the decayed loss, not for the margin"


def _after_notes(broken: int, kept: int) -> Iterable[str]:
    if broken:
        yield f"{broken} of {kept} retained samples are misclassified behind the step. Forget fewer at a time."
