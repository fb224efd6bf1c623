"""Why a network trained on data of low dimension is fooled off their span (arXiv 2303.00783).

The gradient of a first linear layer is a sum of outer products with the data, so gradient descent never moves the part
of the weights off the data's span. With step size eta, weight decay lam and the projection P off the span,

    W_T P  =  (1 - eta lam)^T  W_0 P.

What is left there is noise of the initialization, and the network's gradient follows it: for a two-layer network with
outer weights +-1 / sqrt(m), W_0 ~ N(0, beta^2 / d), k active neurons and a span of dimension d - l,

    |P grad N(x)|  is about  beta (1 - eta lam)^T sqrt(k l / (m d)),

and a step of |N(x)| / |P grad N(x)| off the span changes the sign: far less than |x| unless the start was small. The
remedies are a small start, weight decay, or `project_weights`, which removes the noise from a trained network.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vestige.attack.theory.decision_margin import (
    DecisionMargin,
    Pair,
    random_flips,
    read_margin,
    smallest_radius,
)
from vestige.attack.theory.span import DataSpan, data_span, invariance_drift
from vestige.core.cite import Paper, paper
from vestige.core.claims import Certificate, Claim
from vestige.core.outcome import Outcome
from vestige.core.relu_chain import first_linear
from vestige.core.space import UNBOUNDED, per_sample
from vestige.core.threat import Norm, Threat

PAPER = paper("2303.00783")
FARTHEST = 100.0  # times the first-order radius: where the search for a flip ends
NULL_DIRECTIONS = 20
BEYOND = 1e-4  # of the radius: a step ends a little behind the boundary, so that no rounding brings it back
DRIFT = 1e4  # machine epsilons that the invariance may lose to rounding, relative to the largest weight


@dataclass(frozen=True, eq=False, kw_only=True)
class OffSubspace:
    """Robustness to perturbations that are orthogonal to every sample.

    Attributes:
        span: of the data.
        value: margin of the predicted class at each sample.
        off_gradient: |P grad| at each sample.
        energy_share: |P grad|^2 / |grad|^2; l / d for a gradient of random direction.
        predicted_gradient: |P grad| for noise of the size left in the first layer; None where that is not linear.
        linear_radius: value / off_gradient, the first-order radius; inf where the gradient is 0.
        radius: where the prediction changes along -P grad; inf for nowhere up to 100 times the first-order radius.
        null_flips: predictions that change at that radius along random directions off the span, out of `null_trials`.
        null_trials: random directions times samples with a radius.
        certificate: the invariance law, where the initial network was given; else None.
        outcome: CONVERGED where every prediction was changed.
        warnings: what a reader must know.
        source: the paper.
    """

    span: DataSpan
    value: Float[Tensor, " n"]
    off_gradient: Float[Tensor, " n"]
    energy_share: Float[Tensor, " n"]
    predicted_gradient: Float[Tensor, " n"] | None
    linear_radius: Float[Tensor, " n"]
    radius: Float[Tensor, " n"]
    null_flips: int
    null_trials: int
    certificate: Certificate | None
    outcome: Outcome
    warnings: tuple[str, ...]
    source: tuple[Paper, ...]


@dataclass(frozen=True, eq=False)
class SubspaceAttack:
    """Samples moved off the span of the data.

    Attributes:
        adv: x + z with z orthogonal to every sample; x itself where no such z was found.
        success: the model's prediction changed, seen on `adv`, and z is no longer than the longest sample.
        distance: |z|.
        warnings: what a reader must know.
        source: the paper.
    """

    adv: Float[Tensor, "n ..."]
    success: Bool[Tensor, " n"]
    distance: Float[Tensor, " n"]
    warnings: tuple[str, ...]
    source: tuple[Paper, ...]


def off_subspace_robustness(
    model: nn.Module,
    x: Float[Tensor, "n ..."],
    *,
    span: DataSpan | None = None,
    pair: Pair | None = None,
    start: nn.Module | None = None,
    shrink: float = 1.0,
    generator: torch.Generator | None = None,
) -> OffSubspace:
    """Predicted and measured radius at which the prediction changes orthogonally to the data.

    Args:
        model: any network of one output; or of several, where the predicted class counts against all others, or a pair.
        x: data, in model space.
        span: None for `data_span(x)`.
        pair: (a, b): the network is read as z_a - z_b.
        start: the same network as it was before training, to check the invariance law.
        shrink: (1 - eta lam)^T of the training; 1 without weight decay.
        generator: of the random directions; None for seed 0.

    Raises:
        ValueError: data of full rank, a span of another dimension, values that are not finite, an initial network that
            does not fit.

    >>> net = nn.Linear(2, 1, bias=False)
    >>> _ = net.weight.data.copy_(torch.tensor([[1.0, 0.5]]))
    >>> found = off_subspace_robustness(net, torch.tensor([[2.0, 0.0]]))  # f = 2, and 0.5 a step along x_2
    >>> round(found.radius.item(), 6), round(found.linear_radius.item(), 6)
    (4.0, 4.0)
    """
    margin, span, value, off, full = _read(model, x, span, pair)
    size = off.norm(dim=1)
    radius, linear = _radius(margin, off, value)
    flips, trials = random_flips(margin, radius, NULL_DIRECTIONS, generator, span.off)
    certificate = None if start is None else _certificate(model, start, span, shrink)
    notes = [*span.warnings]
    if certificate is not None and not certificate.holds:
        notes.append(
            "The weights off the span are not those of the initial network times `shrink`: was an adaptive optimizer "
            "used, which scales each coordinate, or do the samples not include all the training data?"
        )
    return OffSubspace(
        span=span,
        value=value,
        off_gradient=size,
        energy_share=(size / full.norm(dim=1).clamp(min=1e-300)).square(),
        predicted_gradient=_predicted(margin, span),
        linear_radius=linear,
        radius=radius,
        null_flips=flips,
        null_trials=trials,
        certificate=certificate,
        outcome=Outcome.CONVERGED if bool(torch.isfinite(radius).all()) else Outcome.BUDGET_SPENT,
        warnings=tuple(notes),
        source=(PAPER,),
    )


def subspace_attack(
    model: nn.Module,
    x: Float[Tensor, "n ..."],
    *,
    eps: float | int,
    span: DataSpan | None = None,
    pair: Pair | None = None,
) -> SubspaceAttack:
    """Change the model's predictions by one step along -P grad, orthogonal to all data and no longer than eps.

    A step longer than the longest sample leads far outside the data, where any network changes its mind; it is no
    success, however large eps is.

    Args:
        model: as in `off_subspace_robustness`.
        x: data, in model space.
        eps: largest l_2 norm; the box of valid inputs is ignored.
        span: None for `data_span(x)`.
        pair: (a, b) of several outputs.

    Raises:
        ValueError: as there, or an eps that is not positive and finite.

    >>> net = nn.Linear(2, 1, bias=False)
    >>> _ = net.weight.data.copy_(torch.tensor([[1.0, 0.5]]))
    >>> found = subspace_attack(net, torch.tensor([[1.0, 0.0], [6.0, 0.0]]), eps=2.1)  # the boundary is 2 |x| away
    >>> found.success.tolist(), round(found.distance[0].item(), 2)
    ([True, False], 2.0)
    """
    threat = Threat(eps, Norm.L2, UNBOUNDED)
    margin, span, value, off, _ = _read(model, x, span, pair)
    radius, _ = _radius(margin, off, value)
    longest = float(margin.x.flatten(1).norm(dim=1).max())
    within = (radius * (1 + BEYOND)).clamp(max=threat.eps)
    step = torch.where(radius <= min(threat.eps, longest), within, 0.0)
    direction = off / off.norm(dim=1, keepdim=True).clamp(min=1e-300)
    moved = margin.x - (step[:, None] * direction).reshape(margin.x.shape)
    success = (step > 0) & (margin.value(moved) < 0)
    adv = torch.where(per_sample(success, moved), moved, margin.x)
    far = int(((radius > longest) & (radius <= threat.eps)).sum())
    notes = (
        f"{far} of {len(radius)} predictions change only further away than the longest sample is long ({longest:.3g}), "
        "which says nothing about the data: they count as unchanged.",
    )
    return SubspaceAttack(adv, success, torch.where(success, step, 0.0), notes if far else (), (PAPER,))


def project_weights(model: nn.Module, span: DataSpan) -> nn.Module:
    """A copy whose first layer ignores what lies off the span, W <- W (1 - P); the outputs on the data stay the same.

    Args:
        model: an nn.Sequential that begins with a linear layer.
        span: of the data, from `data_span`.

    Raises:
        ValueError: no first linear layer, or of another size.
    """
    return span.without_noise(model)


def _read(
    model: nn.Module, x: Tensor, span: DataSpan | None, pair: Pair | None
) -> tuple[DecisionMargin, DataSpan, Tensor, Tensor, Tensor]:
    """Decision margins, span, their values, and their gradients (n, d) off the span and in full."""
    margin = read_margin(model, x, pair=pair)
    span = data_span(margin.x) if span is None else span
    value, slope = margin.gradient(margin.x)
    slope = slope.flatten(1)
    span.check(slope.shape[1])
    return margin, span, value, span.off(slope), slope


def _radius(margin: DecisionMargin, off: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Measured radius along -off, and the first-order one."""
    size = off.norm(dim=1)
    linear = torch.where(size > 0, value / size.clamp(min=1e-300), torch.inf)
    some = torch.isfinite(linear)
    direction = off / size.clamp(min=1e-300)[:, None]
    limit = torch.where(some, FARTHEST * linear, 1.0)

    def flipped(radius: Tensor) -> Tensor:
        return margin.value(margin.x - (radius[:, None] * direction).reshape(margin.x.shape)) <= 0

    return torch.where(some, smallest_radius(flipped, limit), torch.inf), linear


def _predicted(margin: DecisionMargin, span: DataSpan) -> Tensor | None:
    """sigma sqrt(l) |g|: sigma is the size of the noise off the span, g the gradient before the first activation."""
    found = first_linear(margin.net)
    if found is None:
        return None
    layer, hidden = found[1], []

    def cut(_module, _inputs, output: Tensor) -> Tensor:
        hidden.append(output.detach().requires_grad_())
        return hidden[0].clone()  # an in-place ReLU behind the layer must not overwrite a leaf

    handle = layer.register_forward_hook(cut)
    try:
        value = margin.of_outputs(margin.net(margin.x)).sum()
    finally:
        handle.remove()
    (g,) = torch.autograd.grad(value, hidden)
    # One column of the noise has the variance |W P|^2 / (m l).
    sigma = span.off(layer.weight.detach()).norm() / math.sqrt(len(layer.weight) * span.codimension)
    return sigma * math.sqrt(span.codimension) * g.norm(dim=1)


def _certificate(model: nn.Module, start: nn.Module, span: DataSpan, shrink: float) -> Certificate:
    drift, largest, eps = invariance_drift(model, start, span, shrink)
    return Certificate((Claim("largest change of a weight off the span", DRIFT * eps * largest, drift, "derived"),))
