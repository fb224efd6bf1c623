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
from vestige.core.margins import Loss, as_rows, margin, margin_directions
from vestige.core.relu_chain import ReluChain, find_relu_chain, first_linear
from vestige.core.stationarity import Rule, Stationarity, Subgradient, stationarity
from vestige.unlearning.gates import changed_layers, stacked
from vestige.unlearning.reference_point import ReferencePoint, reference_point

STATED = 0.05  # relative residual above which nothing is called provable
TAU = 0.01
EXACT = 1e-7  # kinks of a reference point are exact: rounding only


@dataclass(frozen=True)
class Assumptions:
    """What the theorems assume of the data, measured: |x|^2 in [1 - psi, 1 + psi] and |<x_i, x_j>| <= phi, i != j.

    Inner products count the constant input of a bias. `forget_phi` is the largest between a forgotten and a retained
    sample; `interference` = sum_r lambda_r * forget_phi, which the linear theorem needs below 1.
    """

    norm_sq: tuple[float, float]
    phi: float
    forget_phi: float
    interference: float


@dataclass(frozen=True, eq=False)
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
        residual: relative residual of the original network on all its samples; None without it.
        untouched: epsilon and delta of the original network with respect to the retained samples: doing nothing.
        assumptions: of the theorems, measured; None without the forgotten samples.
        claims: each number beside its bound. Where one exists, the linear theorem's: delta at most
            (delta_1 + 2 lambda_max s) / (1 - s)^2 with s the interference and delta_1 the original's own delta.
        covered: whether the network is of a kind that the theorems are about.
        harmful: whether doing nothing is at least as near to the retained samples.
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
    x_retain: Float[Tensor, "n ..."],
    y_retain: Shaped[Tensor, " n"],
    *,
    original: nn.Module | None = None,
    x_forget: Float[Tensor, "k ..."] | None = None,
    y_forget: Shaped[Tensor, " k"] | None = None,
    layers: Iterable[str] | None = None,
    kink_tolerance: float = 1e-2,
) -> UnlearningCertificate:
    """Measure (epsilon, delta, tau) of an unlearned network with respect to the retained samples.

    Args:
        model: the unlearned network.
        x_retain: retained samples, model space.
        y_retain: their labels.
        original: the network before the step; its activation pattern is the reference point's. None: the model's own.
        x_forget: the forgotten samples; with them and `original` the theorem's assumptions and bound are measured.
        y_forget: their labels.
        layers: names of the layers that were changed; None for the first trained one. The others are held.
        kink_tolerance: a pair is at a kink when |pre-activation| is at most this times its layer's largest.

    Raises:
        ValueError: values that are not finite, labels that do not fit, an original of another shape.

    >>> linear = nn.Linear(2, 1, bias=False, dtype=torch.float64)
    >>> _ = linear.weight.data.copy_(torch.tensor([[0.0, 1.0]]))
    >>> found = unlearning_certificate(linear, torch.tensor([[0.0, 1.0]]).double(), torch.tensor([1]))
    >>> found.epsilon, found.delta, found.tau
    (0.0, 0.0, 0.0)
    """
    net, x = working_copy(model), x_retain.detach().double()
    before = None if original is None else working_copy(original)
    chosen = changed_layers(net, layers)
    covered = _covered(net, chosen)
    point = _reference(net, before or net, x, kink_tolerance) if covered else None
    reference = ReferencePoint(net, 0.0, 0.0) if point is None else point
    tolerance = kink_tolerance if point is None else EXACT
    gamma = _smallest_margin(reference.model, x, y_retain)
    scaled = _scaled(reference.model, chosen, gamma)
    found = _measure(scaled, x, y_retain, chosen, tolerance)
    tau = _turned(net, scaled, chosen)
    residual, untouched, assumptions, bound = None, None, None, None
    if before is not None:
        untouched = _untouched(before, x, y_retain, chosen, kink_tolerance)
        if x_forget is not None and y_forget is not None:
            everything = (torch.cat([x, x_forget.detach().double()]), torch.cat([y_retain, y_forget]))
            whole = _measure(
                _scaled(before, chosen, _smallest_margin(before, *everything)), *everything, chosen, kink_tolerance
            )
            residual = whole.epsilon
            assumptions = _assumptions(net, *everything, len(x), whole)
            if _is_linear(net):
                bound = _linear_bound(whole, assumptions.interference)
    harmful = untouched is not None and _harm(untouched, found)
    claims = Certificate(tuple(_claims(found, tau, residual, reference, assumptions, bound)))
    return UnlearningCertificate(
        epsilon=found.epsilon,
        epsilon_absolute=found.epsilon * float(_size(scaled, chosen)),
        delta=found.delta,
        tau=tau,
        reference=scaled,
        multipliers=found.multipliers,
        smallest_margin=gamma if before is None else gamma / max(_smallest_margin(before, x, y_retain), 1e-300),
        repaired=reference.repaired,
        residual=residual,
        untouched=untouched,
        assumptions=assumptions,
        claims=claims,
        covered=covered and as_rows(net(x[:1]).detach()).shape[1] == 1,
        harmful=harmful,
        warnings=tuple(_warnings(gamma, residual, assumptions, harmful, point is not None)),
    )


@dataclass(frozen=True)
class _Measured:
    epsilon: float
    delta: float
    multipliers: Tensor


def _measure(scaled: nn.Module, x: Tensor, y: Tensor, layers: list[str], tolerance: float) -> _Measured:
    """Relative epsilon, delta and multipliers of a network whose smallest margin is 1; NaN where it has none."""
    with torch.no_grad():
        outputs = as_rows(scaled(x))
    rows, index = margin_directions(outputs, y, "all")
    margins = (rows * outputs[index]).sum(1)
    if not bool(margins.min() > 0):
        return _Measured(math.nan, math.nan, torch.full_like(margins, math.nan))
    point = _stationarity(scaled, x, y, layers, tolerance)
    return _Measured(
        point.residual**0.5, float((point.multipliers * (margins - 1)).max().clamp(min=0)), point.multipliers
    )


def _stationarity(net: nn.Module, x: Tensor, y: Tensor, layers: list[str], tolerance: float) -> Stationarity:
    single = as_rows(net(x[:1]).detach()).shape[1] == 1
    clarke = find_relu_chain(net) is not None and not _is_linear(net)
    return stationarity(
        net,
        x,
        y,
        loss=Loss.LOGISTIC if single else Loss.CROSS_ENTROPY,
        multipliers=Rule.NONNEGATIVE,
        competitors="all",
        subgradient=Subgradient.CLARKE if clarke else Subgradient.AUTOGRAD,
        layers=layers,
        kink_tolerance=tolerance,
    )


def _is_linear(net: nn.Module) -> bool:
    chain = find_relu_chain(net)
    return chain is not None and chain.depth == 1


def _covered(net: nn.Module, layers: list[str]) -> bool:
    """Linear, or two layers with a ReLU and no late bias, changed in the first layer only."""
    chain = find_relu_chain(net)
    if chain is None or chain.depth > 2:
        return False
    return layers == list(chain.names[:1]) and all(layer.bias is None for layer in chain.layers[1:])


def _reference(net: nn.Module, pattern: nn.Module, x: Tensor, tolerance: float) -> ReferencePoint | None:
    chain, wanted = find_relu_chain(net), find_relu_chain(pattern)
    if chain is None or chain.depth == 1:
        return ReferencePoint(net, 0.0, 0.0)
    if wanted is None or wanted.layers[0].weight.shape != chain.layers[0].weight.shape:
        raise ValueError(
            f"the original is {'no chain of layers' if wanted is None else f'of widths {_widths(wanted)}'}, the model "
            f"of widths {_widths(chain)}; give the network that the model was made from."
        )
    return reference_point(net, chain.layers[0], wanted.layers[0], x.flatten(1), tolerance)


def _widths(chain: ReluChain) -> list[int]:
    return [chain.inputs, *chain.hidden, chain.outputs]


@torch.no_grad()
def _smallest_margin(net: nn.Module, x: Tensor, y: Tensor) -> float:
    return float(margin(as_rows(net(x)), y).min())


@torch.no_grad()
def _scaled(net: nn.Module, layers: list[str], gamma: float) -> nn.Module:
    """With a smallest margin of 1: outputs are homogeneous of degree 1 in one layer, and of degree L in L of them."""
    new = copy.deepcopy(net)
    if gamma > 0:
        for name in layers:
            for parameter in new.get_submodule(name).parameters(recurse=False):
                parameter *= gamma ** (-1 / len(layers))
    return new


def _size(net: nn.Module, layers: list[str]) -> Tensor:
    return stacked(dict(net.named_parameters()), layers).norm()


def _turned(net: nn.Module, other: nn.Module, layers: list[str]) -> float:
    a, b = (stacked(dict(m.named_parameters()), layers) for m in (net, other))
    return max(0.0, 1 - float(a @ b / (a.norm() * b.norm())))


def _untouched(before: nn.Module, x: Tensor, y: Tensor, layers: list[str], tolerance: float) -> tuple[float, float]:
    found = _measure(_scaled(before, layers, _smallest_margin(before, x, y)), x, y, layers, tolerance)
    return found.epsilon, found.delta


def _assumptions(net: nn.Module, x: Tensor, y: Tensor, retained: int, whole: _Measured) -> Assumptions:
    first = first_linear(net)
    gram = x.flatten(1) @ x.flatten(1).T + float(first is not None and first[1].bias is not None)
    between = gram[retained:, :retained].abs()
    off = (gram - torch.diag(gram.diagonal())).abs()
    share = whole.multipliers.reshape(len(x), -1).sum(1)[retained:]
    norms, worst = gram.diagonal(), float(between.max())
    return Assumptions((float(norms.min()), float(norms.max())), float(off.max()), worst, float(share.sum()) * worst)


def _linear_bound(whole: _Measured, interference: float) -> float:
    """(delta_1 + 2 lambda_max s) / (1 - s)^2, derived from margins that move by at most s; infinite from s = 1 on."""
    if not interference < 1:
        return math.inf
    return (whole.delta + 2 * float(whole.multipliers.max()) * interference) / (1 - interference) ** 2


def _harm(untouched: tuple[float, float], found: _Measured) -> bool:
    """Doing nothing already satisfies the retained samples' equation as well."""
    if math.isnan(found.epsilon):  # no margin is left: harm, where there was one before
        return not math.isnan(untouched[0])
    return untouched[0] <= max(STATED, found.epsilon) and untouched[1] <= found.delta


def _claims(
    found: _Measured,
    tau: float,
    residual: float | None,
    point: ReferencePoint,
    assumptions: Assumptions | None,
    bound: float | None,
) -> Iterator[Claim]:
    stated, theorem = "stated limit", "arXiv 2510.14844, linear models, constant derived here"
    if residual is not None:
        yield Claim("residual of the original", STATED, residual, stated)
    yield Claim("epsilon", STATED, found.epsilon, stated)
    yield Claim("tau", TAU, tau, stated)
    yield Claim("pairs of the wrong sign", 0.0, point.wrong, "arXiv 2510.14844, activation pattern of the reference")
    if bound is not None and assumptions is not None:
        yield Claim("sum lambda_r * phi", math.nextafter(1.0, 0.0), assumptions.interference, theorem)
        yield Claim("delta", bound, found.delta, theorem)


def _warnings(
    gamma: float, residual: float | None, assumptions: Assumptions | None, harmful: bool, has_point: bool
) -> Iterator[str]:
    if not gamma > 0:
        yield "A retained sample is misclassified: there is no margin, and no certificate."
    if residual is not None and not residual <= STATED:
        yield (
            f"The original network is not at a margin: relative residual {residual:.2g}, the stated limit is "
            f"{STATED:g}. Nothing here is called provable."
        )
    if harmful and gamma > 0:
        yield (
            "Doing nothing is as near to the retained samples: they are correlated with the forgotten ones and hold "
            "them up. The step moves away from what retraining gives."
        )
    if assumptions is not None and not assumptions.interference < 1:
        yield (
            f"Forgotten and retained samples are correlated: sum lambda_r * phi = {assumptions.interference:.2g}; the "
            "linear theorem needs less than 1 and promises nothing here."
        )
    if not has_point:
        yield "No reference point can be built for this network: epsilon is taken at the unlearned weights themselves."
