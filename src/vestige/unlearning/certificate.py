"""How nearly an unlearned network is one that the retained samples alone could have led to (arXiv 2510.14844).

theta~ is an (epsilon, delta)-approximate KKT point of the margin problem on the retained samples when y_i f(x_i) >= 1
and there are lambda_i >= 0 with

    |theta~ - sum_i lambda_i y_i grad f(theta~; x_i)| <= epsilon,     lambda_i (y_i f(x_i) - 1) <= delta.

The unlearned weights theta' are (epsilon, delta, tau)-successful when cos(theta', theta~) >= 1 - tau. The certificate
builds theta~ and measures all three, over the layers that were changed and with the others held.
"""

import copy
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from vestige.core.cite import Paper, paper
from vestige.core.claims import Certificate, Claim
from vestige.core.kkt import working_copy
from vestige.core.margins import Loss, as_rows
from vestige.core.relu_chain import ReluChain, find_relu_chain, read_relu_chain
from vestige.unlearning.gated_machine import Weights, resolved
from vestige.unlearning.gates import changed_layers
from vestige.unlearning.measures import (
    SLACK,
    STATED,
    Assumptions,
    Distance,
    assumptions,
    is_farther,
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
        slack: sum of lambda_i (margin_i - 1) over that of lambda_i margin_i, which is |theta~|^2 where epsilon is 0;
            the cosine to the largest margin at these gates is then at least 1 - slack.
        tau: 1 - cos(theta', theta~).
        reference: theta~, in float64, scaled to a smallest margin of 1.
        multipliers: lambda of each retained sample (of each pair of classes, for several).
        smallest_margin: of the unlearned network over that of the original; retained samples only.
        repaired: share of (sample, neuron) pairs whose sign the step had turned; theta~ has them at the kink.
        residual: relative residual of the original network on all its samples; None without the original.
        untouched: epsilon and delta of the original network with respect to the retained samples: doing nothing.
        assumptions: of the theorems, measured; None without the original.
        claims: each number beside its bound. Stated limits are relative to theta~: epsilon .05, slack .1, tau .01. For
            linear models also the theorem's: delta at most (delta_1 + 2 lambda_max s) / (1 - s)^2 with s the
            interference and delta_1 the original's own delta.
        covered: whether network and training are of a kind that the theorems are about; never with weight decay.
        harmful: whether the original is nearer than the model to what the retained samples alone make of these layers,
            by angle or by relative margins; judged against their own solution and against the original moved by the
            difference of the solutions with and without the forgotten samples, and only where both say so.
        warnings: what the reader should know.
        source: the paper.
    """

    epsilon: float
    epsilon_absolute: float
    delta: float
    slack: float
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
        delta = f"delta {self.delta:.3g} (slack {self.slack:.2g})"
        numbers = f"epsilon {self.epsilon:.3g} (relative), {delta}, tau {self.tau:.2g}"
        if math.isnan(self.epsilon):
            did = "The step did harm" if self.harmful else "Refused"
            return f"{did}: a retained sample is misclassified, so there is no margin to measure by."
        if self.harmful:
            return f"The step did harm: the untouched network is nearer to what the retained samples give. {numbers}."
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
    loss: Loss | str | None = None,
    weight_decay: float | None = None,
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
        loss: of the training, for harm with weight decay; None for logistic, or cross_entropy with several outputs.
        weight_decay: of the training; with it nothing is covered, and harm is measured from the decayed minimum.
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
    several = as_rows(net(x[:1]).detach()).shape[1] > 1
    kind = Loss(loss) if loss is not None else Loss.CROSS_ENTROPY if several else Loss.LOGISTIC
    training = (kind, weight_decay or 0.0)
    old = None if before is None else _before(before, x, y, kept, chosen, kink_tolerance, training)
    harmful = old is not None and all(is_farther(net, old.net, goal, x, y, kept, chosen) for goal in old.goals)
    tau = one_minus_cosine(net, scaled, chosen)
    return UnlearningCertificate(
        epsilon_absolute=found.epsilon * size(scaled, chosen),
        epsilon=found.epsilon, delta=found.delta, slack=found.slack, tau=tau, multipliers=found.multipliers,
        smallest_margin=gamma if old is None else gamma / max(old.smallest_margin, 1e-300),
        repaired=reference.repaired, reference=scaled, harmful=harmful,
        residual=None if old is None else old.whole.epsilon,
        untouched=None if old is None else (old.untouched.epsilon, old.untouched.delta),
        assumptions=None if old is None else old.assumptions,
        claims=Certificate(tuple(_claims(found, tau, reference, old, chain is not None and chain.depth == 1))),
        covered=covered and not several and not weight_decay,
        warnings=tuple(_warnings(gamma, old, harmful, covered)),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Before:
    """The original network: on all samples, on the retained ones (doing nothing), what these alone make of it (its
    `goals`), and the theorem's assumptions."""

    net: nn.Module
    whole: Distance
    untouched: Distance
    smallest_margin: float
    goals: tuple[nn.Module, nn.Module]
    assumptions: Assumptions


def _before(
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    kept: Tensor,
    layers: list[str],
    tolerance: float,
    training: tuple[Loss, float],
) -> _Before:
    whole = kkt_distance(net, x, y, layers, tolerance)
    terms, alone = resolved(net, x, y, kept, layers, *training)
    theta = dict(net.named_parameters())
    return _Before(
        net,
        whole,
        kkt_distance(net, x[kept], y[kept], layers, tolerance),
        smallest_margin(net, x[kept], y[kept]),
        (_with(net, alone), _with(net, {name: theta[name] - value for name, value in terms.items()})),
        assumptions(net, x, kept, whole.multipliers),
    )


@torch.no_grad()
def _with(net: nn.Module, weights: Weights) -> nn.Module:
    new = copy.deepcopy(net)
    for name, value in weights.items():
        new.get_parameter(name).copy_(value)
    return new


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
    yield Claim("slack", SLACK, found.slack, stated)
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
            "Doing nothing is nearer to what the retained samples give: they are correlated with the forgotten ones, "
            "and training on them keeps what the forgotten ones taught. step='resolve' (--step resolve) leaves "
            "that in the weights."
        )
    if before is not None and not before.assumptions.interference < 1:
        yield (
            "Forgotten and retained samples are correlated: sum lambda_r * phi = "
            f"{before.assumptions.interference:.2g}; the linear theorem needs less than 1 and promises nothing here."
        )
    if not has_point:
        yield "No reference point can be built for this network: epsilon is taken at the unlearned weights themselves."
