"""Why a network trained on data of low dimension is fooled off their span (arXiv 2303.00783).

The gradient of a first linear layer is a sum of outer products with the data, so that gradient descent never moves the
part of the weights off the data's span. With step eta and weight decay lam, P being the projection off the span,

    W_T P  =  (1 - eta lam)^T  W_0 P.

What is left there is noise of the start, and the network's gradient follows it: for a two-layer network with outer
weights +-1 / sqrt(m), W_0 ~ N(0, beta^2 / d), k active neurons and a span of dimension d - l,

    |P grad N(x)|  is about  beta (1 - eta lam)^T sqrt(k l / (m d)),

and a step of |N(x)| / |P grad N(x)| off the span changes the sign: far less than |x| where the start was not small. The
remedies are a small start, weight decay, or `project_weights`, which takes the noise out of a finished network.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vestige.attack.theory.decision_margin import Lead, Pair, first_radius, read_lead
from vestige.attack.theory.span import DataSpan, data_span, invariance_drift
from vestige.core.cite import Paper, paper
from vestige.core.claims import Certificate, Claim
from vestige.core.outcome import Outcome
from vestige.core.relu_chain import first_linear
from vestige.core.rng import spawn

PAPER = paper("2303.00783")
FARTHEST = 100.0  # times the first-order radius: where the search for a flip ends
NULL_DIRECTIONS = 20
DRIFT = 1e4  # machine epsilons that the invariance may lose to rounding, relative to the largest weight


@dataclass(frozen=True, eq=False)
class OffSubspace:
    """How the network stands to perturbations that are orthogonal to every sample.

    Args:
        span: of the data.
        value: lead of the answer at each sample.
        off_gradient: |P grad| at each sample.
        energy_share: |P grad|^2 / |grad|^2; l / d for a gradient without a preference.
        predicted_gradient: what noise of the size left in the first layer gives; None where that is not linear.
        linear_radius: value / off_gradient, the first-order radius; inf where the gradient is 0.
        radius: where the answer really changes along -P grad; inf for nowhere up to 100 times the first-order radius.
        null_flips: answers that change at that radius along random directions off the span, out of `null_trials`.
        null_trials: random directions times samples with a radius.
        certificate: the invariance law, where the start was given; else None.
        outcome: CONVERGED where every answer was changed.
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

    Args:
        adv: x + z with z orthogonal to every sample; x itself where no such z was found.
        success: the model's answer changed.
        distance: |z|.
        source: the paper.
    """

    adv: Float[Tensor, "n ..."]
    success: Bool[Tensor, " n"]
    distance: Float[Tensor, " n"]
    source: tuple[Paper, ...]


def off_subspace_robustness(
    model: nn.Module,
    x: Float[Tensor, "n ..."],
    *,
    span: DataSpan | None = None,
    pair: Pair | None = None,
    initial: nn.Module | None = None,
    shrink: float = 1.0,
    generator: torch.Generator | None = None,
) -> OffSubspace:
    """Predicted and true radius at which the answer changes orthogonally to the data.

    Args:
        model: one output; or several, of which the leading one counts against all others, or a pair. Any network.
        x: data, in model space.
        span: default: `data_span(x)`; constant pixels of images are already one.
        pair: (a, b): the network is read as z_a - z_b.
        initial: the same network as it was before training, to check the invariance law.
        shrink: (1 - eta lam)^T of the training; 1 without weight decay.
        generator: of the random directions; None for seed 0.

    Raises:
        ValueError: data of full rank, a span of another dimension, values that are not finite, a network at the start
            that does not fit.

    >>> net = nn.Linear(2, 1, bias=False)
    >>> _ = net.weight.data.copy_(torch.tensor([[1.0, 0.5]]))
    >>> found = off_subspace_robustness(net, torch.tensor([[2.0, 0.0]]))  # f = 2, and 0.5 a step along x_2
    >>> round(found.radius.item(), 6), round(found.linear_radius.item(), 6)
    (4.0, 4.0)
    """
    lead, span, value, off, full = _read(model, x, span, pair)
    size = off.norm(dim=1)
    radius, linear = _radius(lead, off, value)
    found = torch.isfinite(radius)
    flips, trials = _null(lead, span, radius, generator)
    certificate = None if initial is None else _certificate(model, initial, span, shrink)
    notes = [*span.warnings]
    if certificate is not None and not certificate.holds:
        notes.append(
            "The weights off the span are not those of the start times `shrink`: was an adaptive optimiser used, which "
            "scales each coordinate by itself, or do the samples not hold all the training data?"
        )
    return OffSubspace(
        span,
        value,
        size,
        (size / full.norm(dim=1).clamp(min=1e-300)).square(),
        _predicted(lead, span),
        linear,
        radius,
        flips,
        trials,
        certificate,
        Outcome.CONVERGED if bool(found.all()) else Outcome.BUDGET_SPENT,
        tuple(notes),
        (PAPER,),
    )


def subspace_attack(
    model: nn.Module,
    x: Float[Tensor, "n ..."],
    *,
    eps: float | int,
    span: DataSpan | None = None,
    pair: Pair | None = None,
) -> SubspaceAttack:
    """Change the model's answers with one step along -P grad, orthogonal to all data and no longer than eps.

    Args:
        model: as in `off_subspace_robustness`.
        x: data, in model space.
        eps: largest l_2 norm; the box of valid inputs is not looked at.
        span: default: `data_span(x)`.
        pair: (a, b) of several outputs.

    Raises:
        ValueError: as there, or an eps that is no radius.

    >>> net = nn.Linear(2, 1, bias=False)
    >>> _ = net.weight.data.copy_(torch.tensor([[1.0, 0.5]]))
    >>> found = subspace_attack(net, torch.tensor([[2.0, 0.0]]), eps=4.1)
    >>> found.success.item(), round(found.distance.item(), 6)
    (True, 4.0)
    """
    if not 0 < eps < math.inf:
        raise ValueError(f"eps={eps} given; a positive finite l_2 radius is needed.")
    lead, span, value, off, _ = _read(model, x, span, pair)
    radius, _ = _radius(lead, off, value)
    success = radius <= eps
    distance = torch.where(success, radius, 0.0)
    step = distance[:, None] * off / off.norm(dim=1, keepdim=True).clamp(min=1e-300)
    return SubspaceAttack(lead.x - step.reshape(lead.x.shape), success, distance, (PAPER,))


def project_weights(model: nn.Module, span: DataSpan) -> nn.Module:
    """A copy whose first layer is blind off the span, W <- W (1 - P): the same outputs on the data, and nothing off it.

    Args:
        model: an nn.Sequential that begins with a linear layer.
        span: of the data, from `data_span`.

    Raises:
        ValueError: no first linear layer, or of another size.
    """
    return span.without_noise(model)


def _read(
    model: nn.Module, x: Tensor, span: DataSpan | None, pair: Pair | None
) -> tuple[Lead, DataSpan, Tensor, Tensor, Tensor]:
    """Lead, span, values, and the gradients (n, d) off the span and in full."""
    lead = read_lead(model, x, pair=pair)
    span = data_span(lead.x) if span is None else span
    value, slope = lead.slope(lead.x)
    slope = slope.flatten(1)
    span.check(slope.shape[1])
    return lead, span, value, span.off(slope), slope


def _radius(lead: Lead, off: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """True radius along -off, and the first-order one."""
    size = off.norm(dim=1)
    linear = torch.where(size > 0, value / size.clamp(min=1e-300), torch.inf)
    some = torch.isfinite(linear)
    direction = off / size.clamp(min=1e-300)[:, None]
    limit = torch.where(some, FARTHEST * linear, 1.0)

    def flipped(radius: Tensor) -> Tensor:
        return lead.value(lead.x - (radius[:, None] * direction).reshape(lead.x.shape)) <= 0

    return torch.where(some, first_radius(flipped, limit), torch.inf), linear


def _null(lead: Lead, span: DataSpan, radius: Tensor, generator: torch.Generator | None) -> tuple[int, int]:
    """Answers that change when the direction off the span is random."""
    rows = torch.isfinite(radius).nonzero().flatten()
    draw, flips = spawn(generator, "random directions"), 0
    for _ in range(NULL_DIRECTIONS if len(rows) else 0):
        noise = torch.randn((len(rows), span.dimension), generator=draw, dtype=torch.float64).to(lead.x)
        z = span.off(noise)
        z = radius[rows, None] * z / z.norm(dim=1, keepdim=True)
        flips += int((lead.value(lead.x[rows] + z.reshape(lead.x[rows].shape), rows) <= 0).sum())
    return flips, NULL_DIRECTIONS * len(rows)


def _predicted(lead: Lead, span: DataSpan) -> Tensor | None:
    """sigma sqrt(l) |g|: sigma is the size of the noise off the span, g the gradient before the first activation."""
    found = first_linear(lead.net)
    if found is None:
        return None
    layer, hidden = found[1], []

    def cut(_module, _inputs, output: Tensor) -> Tensor:
        hidden.append(output.detach().requires_grad_())
        return hidden[0].clone()  # an in-place ReLU behind the layer must not overwrite a leaf

    handle = layer.register_forward_hook(cut)
    try:
        value = lead.of(lead.net(lead.x)).sum()
    finally:
        handle.remove()
    (g,) = torch.autograd.grad(value, hidden)
    # One column of the noise has the variance |W P|^2 / (m l).
    sigma = span.off(layer.weight.detach()).norm() / math.sqrt(len(layer.weight) * span.codimension)
    return sigma * math.sqrt(span.codimension) * g.norm(dim=1)


def _certificate(model: nn.Module, initial: nn.Module, span: DataSpan, shrink: float) -> Certificate:
    drift, largest, eps = invariance_drift(model, initial, span, shrink)
    return Certificate((Claim("largest change of a weight off the span", DRIFT * eps * largest, drift, "derived"),))
