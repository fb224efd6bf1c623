"""One calibrated step of gradient ascent takes samples out of a trained network (arXiv 2510.14844).

Training ends where theta = sum_i c_i . grad f(theta; x_i). The step subtracts the terms of the samples to forget,

    theta' = theta - sum_{r in F} c_r . grad f(theta; x_r),                                        (1)

which is gradient ascent on the loss of each with the step size beta_r = -lambda_r / l'(q_r), where q_r = y_r f(x_r). At
a memorized sample l' is of the order of 1e-9 and beta of 1e9, so (1) is computed directly and never through a loss.

Where retained samples resemble the forgotten ones (1) takes out too much: without r their multipliers grow. The step
"resolve" takes that into account and subtracts the difference of two kernel machines (`unlearning.gated_machine`).
"""

import copy
from collections.abc import Iterable
from dataclasses import replace

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from vestige.core.kkt import layer_of, select_layers
from vestige.core.margins import Loss, as_rows, loss_cotangent, margin
from vestige.core.relu_chain import find_relu_chain
from vestige.core.residual import Stationarity
from vestige.unlearning.gated_machine import resolved, telling_layers
from vestige.unlearning.gates import changed_layers, gated_gradient
from vestige.unlearning.request import Forget, class_notes
from vestige.unlearning.resemblance import HALF, Resemblance, resemblance
from vestige.unlearning.trained import Trained, check_explained, share_of, stationary_sum, step_rule, trained_on
from vestige.unlearning.unlearned import StepRule, Unlearned, errors_of, judged, outcome_of

NOTHING = 1e-6  # multipliers below this share of the largest count as zero


def unlearn(
    model: nn.Module,
    x: Float[Tensor, "n ..."],
    y: Shaped[Tensor, " n"],
    forget: Forget,
    *,
    loss: Loss | str,
    weight_decay: float | None = None,
    step: StepRule | str | float = "resolve",
    fraction: float | int = 1.0,
    layers: Iterable[str] | None = None,
    kink_tolerance: float = 1e-2,
    certify: bool = True,
) -> Unlearned:
    """Take what some samples put into the stationarity sum of a trained network out of its weights, in float64.

    "resolve": theta' = theta - fraction * (theta_S - theta_R), the solutions of all and of the retained samples at the
    gates at hand. "clarke" and "kkt": theta' = theta - fraction * sum_{r in F} c_r . grad f(theta; x_r), with c_r =
    lambda_r y_r by non-negative least squares over all samples (without weight decay), or c_r = -l'(f(x_r), y_r) /
    (n wd) with it. They agree where no retained sample resembles a forgotten one.

    The terms alone are proved for linear models and for two-layer ReLU networks without late biases, one output and a
    fixed output layer, trained to their margin (arXiv 2510.14844). Where the output layer was trained too, the
    statement is about the first layer with the output layer held, and only that layer is changed. Elsewhere the step
    is a heuristic.

    Args:
        model: a trained network; left as it is.
        x: all its training samples, model space.
        y: their labels, {0, 1} or {-1, 1} for one output, 0..classes-1 for several.
        forget: positions of the samples to forget, or a mask.
        loss: of the training: logistic or exponential for one output, cross_entropy for several.
        weight_decay: of the training; None (unknown) is taken as none.
        step: "resolve", "clarke" (terms, best derivatives at kinks), "kkt" (terms, autograd's derivative, as
            published), or a number beta: uncalibrated ascent theta + beta * sum_r grad l(f(x_r), y_r), for comparison.
        fraction: of a calibrated step; 1 is the exact one, 0 leaves the network as it is.
        layers: names of the layers that are changed; None for the first one that has trainable weights; "resolve" may
            choose a later one where the network is no chain of Linear and ReLU, such as the output layer behind
            convolutions.
        kink_tolerance: a pair is at a kink when |pre-activation| is at most this times its layer's largest.
        certify: measure what is left with respect to the retained samples.

    Raises:
        ValueError: nothing or everything to forget, a forgotten sample that stays among the retained, an unfitted
            model, samples that explain less than half of its weights (others than it was trained on, or another
            weight_decay), layers that no theory covers, labels or options out of range.

    >>> linear = nn.Linear(2, 1, bias=False, dtype=torch.float64)
    >>> _ = nn.init.constant_(linear.weight, 1.0)
    >>> x, y = torch.eye(2, dtype=torch.float64), torch.tensor([1, 1])
    >>> unlearn(linear, x, y, [0], loss="logistic").model.weight.detach().round(decimals=9).abs()  # w = x_0 + x_1
    tensor([[0., 1.]], dtype=torch.float64)
    """
    trained = trained_on(model, x, y, forget, loss, weight_decay)
    rule, notes = step_rule(trained.net, step)
    chosen = changed_layers(trained.net, layers)
    if layers is None and rule is StepRule.RESOLVE:
        chosen = telling_layers(trained.net, trained.x, trained.y, trained.kept)
    point = stationary_sum(trained, chosen, rule, kink_tolerance)
    check_explained(point.residual, trained.weight_decay)
    training = (trained.loss, trained.weight_decay)
    leaving, _ = resolved(trained.net, trained.x, trained.y, trained.kept, chosen, *training)
    terms = _terms(trained, rule, point, chosen)
    like = resemblance(trained.x, trained.forgotten, trained.kept, terms=terms, leaving=leaving)
    taken = _taken(trained, rule, float(fraction), terms if rule is not StepRule.RESOLVE else leaving, point)
    changed = _without(trained.net, taken)
    notes += class_notes(trained.y, trained.forgotten, trained.kept)
    notes += _cautions(trained, rule, point, like, taken)
    result = _result(model, trained, changed, point, like, chosen)
    result = replace(result, heuristic=tuple(_unproved(trained, chosen, rule)), warnings=(*notes, *result.warnings))
    if not certify:
        return replace(
            result, warnings=(*result.warnings, *errors_of(result.before[trained.kept], result.after[trained.kept]))
        )
    return judged(
        result, result.model, trained.x, y, original=model, loss=trained.loss, weight_decay=weight_decay,
        kink_tolerance=kink_tolerance,
    )  # fmt: skip


def _terms(trained: Trained, rule: StepRule | float, point: Stationarity, layers: list[str]) -> dict[str, Tensor]:
    """sum of c_r . grad f(x_r) over the forgotten samples, or of beta times the gradient of their loss, negated."""
    index = trained.forgotten
    if isinstance(rule, StepRule):
        coef, gates = point.cotangent[index], {name: gate[index] for name, gate in point.kink_coefficients.items()}
    else:
        coef, gates = -rule * loss_cotangent(trained.outputs[index], trained.y[index], trained.loss), {}
    found = gated_gradient(trained.net, trained.x[index], coef, gates)
    return {name: value for name, value in found.items() if layer_of(name) in layers}


def _taken(
    trained: Trained, rule: StepRule | float, fraction: float, whole: dict[str, Tensor], point: Stationarity
) -> dict[str, Tensor]:
    """What is subtracted, by parameter; nothing where the samples have no terms, or none that would leave with them."""
    if not isinstance(rule, StepRule):
        return whole
    share = share_of(point.cotangent)
    nothing = bool((share[trained.forgotten] <= NOTHING * share.max().clamp_min(1e-300)).all())
    largest = {name: NOTHING * trained.net.get_parameter(name).abs().max() for name in whole}
    nothing |= all(bool((value.abs() <= largest[name]).all()) for name, value in whole.items())
    return {} if nothing else {name: fraction * value for name, value in whole.items()}


def _without(net: nn.Module, taken: dict[str, Tensor]) -> nn.Module:
    changed = copy.deepcopy(net)
    with torch.no_grad():
        for name, value in taken.items():
            changed.get_parameter(name).sub_(value)
    return changed


def _cautions(
    trained: Trained, rule: StepRule | float, point: Stationarity, like: Resemblance, taken: dict[str, Tensor]
) -> Iterable[str]:
    """What is known before the step: terms that are not known to their own size, or that retained samples share."""
    theta = dict(trained.net.named_parameters())
    size = sum(float(value.square().sum()) for value in taken.values())
    missing = point.residual * sum(float(theta[name].detach().square().sum()) for name in taken)
    if size and missing > size:
        yield (
            f"The samples leave {point.residual**0.5:.2g} of the weights unexplained, more than the step takes out "
            f"({(size / missing * point.residual) ** 0.5:.2g}): it is not known to its own size."
        )
    if size and like.share > HALF and rule is not StepRule.RESOLVE:
        k = int(like.cosine.argmax())
        yield (
            f"Before the step: {like.share:.0%} of what it takes out lies in the span of the retained samples (sample "
            f"{int(like.nearest[k])} is at cosine {float(like.cosine[k]):.2f} to sample {int(trained.forgotten[k])}). "
            "Retraining keeps that share, so above half the step does harm; step='resolve' (--step resolve) keeps it "
            "too."
        )


def _result(
    model: nn.Module, trained: Trained, changed: nn.Module, point: Stationarity, like: Resemblance, layers: list[str]
) -> Unlearned:
    index, kept, y = trained.forgotten, trained.kept, trained.y
    before = margin(trained.outputs, y)
    with torch.no_grad():
        after = margin(as_rows(changed(trained.x)), y)
    share = share_of(point.cotangent[index])
    new = _like(model, changed)
    moved = any(not torch.equal(a, b) for a, b in zip(new.parameters(), model.parameters(), strict=True))
    return Unlearned(
        model=new,
        forgotten=index,
        layers=tuple(layers),
        multipliers=share if trained.weight_decay else share / before.min().clamp_min(1e-300),
        step_sizes=share / share_of(loss_cotangent(trained.outputs[index], y[index], trained.loss)),
        before=before,
        after=after,
        residual=point.residual**0.5,
        shared=like.share,
        nearest=like.nearest,
        nearest_cosine=like.cosine,
        heuristic=(),
        certificate=None,
        outcome=outcome_of(before[kept], after[kept], None, changed=moved),
        warnings=(),
    )


def _like(model: nn.Module, changed: nn.Module) -> nn.Module:
    """A copy of the model as it is, mode and precision included, with the changed parameters."""
    new = copy.deepcopy(model)
    with torch.no_grad():
        for mine, theirs in zip(new.parameters(), changed.parameters(), strict=True):
            mine.copy_(theirs)
    return new


def _unproved(trained: Trained, layers: list[str], rule: StepRule | float) -> Iterable[str]:
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
