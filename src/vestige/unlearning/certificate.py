"""How nearly an unlearned network is one that the retained samples alone could have led to (arXiv 2510.14844).

theta~ is an (epsilon, delta)-approximate KKT point of the margin problem on the retained samples when y_i f(x_i) >= 1
and there are lambda_i >= 0 with

    |theta~ - sum_i lambda_i y_i grad f(theta~; x_i)| <= epsilon,     lambda_i (y_i f(x_i) - 1) <= delta.

The unlearned weights theta' are (epsilon, delta, tau)-successful when cos(theta', theta~) >= 1 - tau. The certificate
builds theta~ and measures all three, over the layers that were changed and with the others held.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from vestige.core.cite import Paper, paper
from vestige.core.claims import Certificate, Claim
from vestige.core.kkt import working_copy
from vestige.core.margins import as_rows
from vestige.core.relu_chain import ReluChain, find_relu_chain, read_relu_chain
from vestige.unlearning.gates import changed_layers
from vestige.unlearning.measures import (
    STATED,
    Assumptions,
    Distance,
    assumptions,
    is_harm,
    kkt_distance,
    linear_bound,
    one_minus_cosine,
    size,
    smallest_margin,
    to_unit_margin,
)
from vestige.unlearning.reference_point import ReferencePoint, reference_point
from vestige.unlearning.request import Forget, forgotten_and_retained

TAU = 0.01
EXACT = 1e-7  # kinks of a reference point are exact: rounding only


@dataclass(frozen=True, eq=False, kw_only=True)
class UnlearningCertificate:
    """What was measured of an unlearned network, in float64; NaN where there is no margin to measure by.

    Attributes:
        epsilon: |theta~ - sum| over |theta~|.
        epsilon_absolute: the same, not divided.
        delta: largest lambda_i (margin_i - 1).
        tau: 1 - cos(theta', theta~).
        reference: theta~, in float64, scaled to a smallest margin of 1.
        multipliers: lambda of each retained sample (of each pair of classes, for several).
        smallest_margin: of the unlearned network over that of the original; retained samples only.
        repaired: share of (sample, neuron) pairs whose sign the step had turned; theta~ has them at the kink.
        residual: relative residual of the original network on all its samples; None without the original.
        untouched: epsilon and delta of the original network with respect to the retained samples: doing nothing.
        assumptions: of the theorems, measured; None without the original.
        claims: each number beside its bound. Where one exists, the linear theorem's: delta at most
            (delta_1 + 2 lambda_max s) / (1 - s)^2 with s the interference and delta_1 the original's own delta.
        covered: whether the network is of a kind that the theorems are about.
        harmful: whether doing nothing is at least as near to a KKT point of the retained samples.
        warnings: what the reader should know.
        source: the paper.
    """

    epsilon: float
    epsilon_absolute: float
    delta: float
    tau: float
    reference: nn.Module
    multipliers: Float[Tensor, " m"]
    smallest_margin: float
    repaired: float
    residual: float | None
    untouched: tuple[float, float] | None
    assumptions: Assumptions | None
    claims: Certificate
    covered: bool
    harmful: bool
    warnings: tuple[str, ...]
    source: tuple[Paper, ...] = (paper("2510.14844"),)

    @property
    def provable(self) -> bool:
        """Whether the word may be used: a network that the theorems cover, every claim holds, and no harm was seen."""
        return self.covered and not self.harmful and self.residual is not None and self.claims.holds

    @property
    def verdict(self) -> str:
        """One sentence that claims no more than was measured."""
        numbers = f"epsilon {self.epsilon:.3g} (relative), delta {self.delta:.3g}, tau {self.tau:.2g}"
        if math.isnan(self.epsilon):
            did = "The step did harm" if self.harmful else "Refused"
            return f"{did}: a retained sample is misclassified, so there is no margin to measure by."
        if self.harmful:
            return f"The step did harm: the untouched network is as near to the retained samples. {numbers}."
        if self.provable:
            return (
                f"Provable: an explicit network at tau is an approximate KKT point of the retained samples. {numbers}."
            )
        return f"Measured, not provable: {numbers}."


def unlearning_certificate(
    model: nn.Module,
    x: Float[Tensor, "n ..."],
    y: Shaped[Tensor, " n"],
    forget: Forget,
    *,
    original: nn.Module | None = None,
    layers: Iterable[str] | None = None,
    kink_tolerance: float = 1e-2,
) -> UnlearningCertificate:
    """Measure (epsilon, delta, tau) of an unlearned network with respect to the retained samples.

    Args:
        model: the unlearned network.
        x: all training samples of the original network, model space.
        y: their labels.
        forget: positions of the forgotten samples, or a mask.
        original: the network before the step; its activation pattern is the reference point's, and with it the
            theorem's assumptions and bound are measured. None: the model's own pattern.
        layers: names of the layers that were changed; None for the first trained one. The others are held.
        kink_tolerance: a pair is at a kink when |pre-activation| is at most this times its layer's largest.

    Raises:
        ValueError: values that are not finite, labels that do not fit, an original of another shape.

    >>> import torch
    >>> linear = nn.Linear(2, 1, bias=False, dtype=torch.float64)
    >>> _ = linear.weight.data.copy_(torch.tensor([[0.0, 1.0]]))
    >>> found = unlearning_certificate(linear, torch.eye(2).double(), torch.tensor([1, 1]), [0])
    >>> found.epsilon, found.delta, found.tau
    (0.0, 0.0, 0.0)
    """
    net, x = working_copy(model), x.detach().double()
    _, kept = forgotten_and_retained(forget, len(x))
    before = None if original is None else working_copy(original)
    chosen, retained = changed_layers(net, layers), (x[kept], y[kept])
    chain = find_relu_chain(net)
    covered = _covered(chain, chosen)
    reference = _reference(net, before or net, x[kept], kink_tolerance) if covered else ReferencePoint(net, 0.0, 0.0)
    gamma = smallest_margin(reference.model, *retained)
    scaled = to_unit_margin(reference.model, chosen, gamma)
    found = kkt_distance(reference.model, *retained, chosen, EXACT if covered else kink_tolerance)
    old = None if before is None else _before(before, x, y, kept, chosen, kink_tolerance)
    harmful = old is not None and is_harm(old.untouched, found)
    tau = one_minus_cosine(net, scaled, chosen)
    return UnlearningCertificate(
        epsilon=found.epsilon,
        epsilon_absolute=found.epsilon * size(scaled, chosen),
        delta=found.delta,
        tau=tau,
        reference=scaled,
        multipliers=found.multipliers,
        smallest_margin=gamma if old is None else gamma / max(old.smallest_margin, 1e-300),
        repaired=reference.repaired,
        residual=None if old is None else old.whole.epsilon,
        untouched=None if old is None else (old.untouched.epsilon, old.untouched.delta),
        assumptions=None if old is None else old.assumptions,
        claims=Certificate(tuple(_claims(found, tau, reference, old, chain is not None and chain.depth == 1))),
        covered=covered and as_rows(net(x[:1]).detach()).shape[1] == 1,
        harmful=harmful,
        warnings=tuple(_warnings(gamma, old, harmful, covered)),
    )


@dataclass(frozen=True, eq=False)
class _Before:
    """The original network: on all samples, on the retained ones (doing nothing), and the theorem's assumptions."""

    whole: Distance
    untouched: Distance
    smallest_margin: float
    assumptions: Assumptions


def _before(net: nn.Module, x: Tensor, y: Tensor, kept: Tensor, layers: list[str], tolerance: float) -> _Before:
    whole = kkt_distance(net, x, y, layers, tolerance)
    return _Before(
        whole,
        kkt_distance(net, x[kept], y[kept], layers, tolerance),
        smallest_margin(net, x[kept], y[kept]),
        assumptions(net, x, kept, whole.multipliers),
    )


def _covered(chain: ReluChain | None, layers: list[str]) -> bool:
    """Linear, or two layers with a ReLU and no late bias, changed in the first layer only."""
    if chain is None or chain.depth > 2:
        return False
    return layers == list(chain.names[:1]) and all(layer.bias is None for layer in chain.layers[1:])


def _reference(net: nn.Module, pattern: nn.Module, x: Tensor, tolerance: float) -> ReferencePoint:
    chain, old = read_relu_chain(net), find_relu_chain(pattern)
    if chain.depth == 1:
        return ReferencePoint(net, 0.0, 0.0)
    if old is None or old.layers[0].weight.shape != chain.layers[0].weight.shape:
        shape = "none" if old is None else f"of shape {tuple(old.layers[0].weight.shape)}"
        raise ValueError(
            f"the original's first layer is {shape}, the model's of shape {tuple(chain.layers[0].weight.shape)}; give "
            "the network that the model was made from."
        )
    return reference_point(net, chain.layers[0], old.layers[0], x.flatten(1), tolerance)


def _claims(
    found: Distance, tau: float, point: ReferencePoint, before: _Before | None, linear: bool
) -> Iterator[Claim]:
    stated, theorem = "stated limit", "arXiv 2510.14844, linear models, constant derived here"
    if before is not None:
        yield Claim("residual of the original", STATED, before.whole.epsilon, stated)
    yield Claim("epsilon", STATED, found.epsilon, stated)
    yield Claim("tau", TAU, tau, stated)
    yield Claim("pairs of the wrong sign", 0.0, point.wrong, "arXiv 2510.14844, activation pattern of the reference")
    if linear and before is not None:
        interference = before.assumptions.interference
        yield Claim("sum lambda_r * phi", math.nextafter(1.0, 0.0), interference, theorem)
        yield Claim("delta", linear_bound(before.whole, interference), found.delta, theorem)


def _warnings(gamma: float, before: _Before | None, harmful: bool, has_point: bool) -> Iterator[str]:
    if not gamma > 0:
        yield "A retained sample is misclassified: there is no margin, and no certificate."
    if before is not None and not before.whole.epsilon <= STATED:
        yield (
            f"The original network is not at a margin: relative residual {before.whole.epsilon:.2g}, above the stated "
            f"limit {STATED:g}. Nothing here is called provable."
        )
    if harmful and gamma > 0:
        yield (
            "Doing nothing is as near to the retained samples: they are correlated with the forgotten ones, and "
            "training on them keeps what the forgotten ones taught. The step moves away from what retraining gives."
        )
    if before is not None and not before.assumptions.interference < 1:
        yield (
            "Forgotten and retained samples are correlated: sum lambda_r * phi = "
            f"{before.assumptions.interference:.2g}; the linear theorem needs less than 1 and promises nothing here."
        )
    if not has_point:
        yield "No reference point can be built for this network: epsilon is taken at the unlearned weights themselves."
