"""The input to expect where a first layer's gates are known.

A verified column says which neurons its sample opens and which it closes. With z = v metric, where v is standard normal
for plausible inputs and a rough one v_0 is known, what is known of v is

    p(v)  ~  N(v; kept v_0, variance)  prod_j [ wrong + (1 - 2 wrong) Phi(t_j u_j / soft) ],     u = W z + b,

with t_j = 1 for open gates and -1 for closed ones, u in units of its typical size. Where a gate is between, the sample
is on its kink, and the factor is  (1 - none) N(u_j; 0, ON_KINK^2) + none N(u_j; 0, 1).  Where the columns of
other samples are known, v obeys linear equations besides. The mean follows from expectation propagation (Minka 2001):
each factor is replaced by the Gaussian that leaves the same mean and variance of u_j. How many gates and kinks are
wrong differs from column to column: after each sweep `wrong` and `none` become the shares to expect from what all other
factors say of each u_j (expectation maximization), and kinks come last, since what they say is narrow: a few that are
none would hold v where they meet. The likeliest v would lie on the boundary of the gates; the mean m lies inside, where
a sample is. What is left uncertain about z, its covariance S, says how similar the sample is to the mean, brightness c
taken off both:

    sqrt(q / (q + tr S - c.S c)),     q = |m|^2 - (c.m)^2.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

ON_KINK = 0.01  # pre-activations that a kink may be off by; those of a sample are typically 1
WRONG, NO_KINK = 0.1, 0.6  # shares of gates that are wrong, and of kinks that are none, at first: warily
COUNTED = 10  # gates, and kinks, that the first shares count as
SOFT = 0.05  # pre-activations that a gate may be off by
SWEEPS, OF_GATES = 6, 4  # all, and those before kinks are met: what gates say tells which kinks are none
DAMPING = 0.8  # share of each sweep's change that is made
SIMILAR = (-5.3, 2.9)  # log odds of a sample above similarity .8, over those of the similarity to expect


@dataclass(frozen=True)
class Trust:
    """How far a rough input and equations are trusted.

    Attributes:
        kept: of the rough input.
        variance: of what it leaves open.
        met: what an equation may be off by, in units of its coefficients on plausible inputs.
    """

    kept: float
    variance: float
    met: float


CLOSE = Trust(kept=0.8, variance=0.3, met=0.02)  # on the way
LOOSE = Trust(kept=0.6, variance=0.6, met=0.2)  # in the end, some columns being false


def input_from_gates(
    weight: Float[Tensor, "h r"],
    bias: Float[Tensor, " h"],
    gates: Float[Tensor, "m h"],
    rough: Float[Tensor, "m r"] | None,
    metric: Float[Tensor, "r r"] | None,
    brightness: Float[Tensor, " r"],
    *,
    length: float = 1.0,
    equations: Float[Tensor, "m e r1"] | None = None,
    kinks: Bool[Tensor, "m h"] | None = None,
    trust: Trust = LOOSE,
) -> tuple[Float[Tensor, "m r"], Float[Tensor, " m"]]:
    """One input for each row of gates, and how similar the sample should be to it.

    Args:
        weight: of the first layer, on span coordinates.
        bias: of the first layer.
        gates: positive where open, negative where closed, 0 where unknown.
        rough: an input near each; None: any plausible input, with a variance of 1.
        metric: rows by which standard normal v become plausible inputs v metric of expected norm 1; None: isotropic.
        brightness: unit input with all entries equal, on span coordinates; what the span leaves of it.
        length: of the inputs where no rough ones are known.
        equations: rows a of which a . [z 1] is 0, for each input.
        kinks: neurons, without a gate, on whose hyperplane the input seems to be.
        trust: in the rough inputs and the equations.
    """
    weight, bias, brightness = weight.double(), bias.double(), brightness.double()
    r = weight.shape[1]
    if rough is None:
        rough, variance, norm = weight.new_zeros(len(gates), r), 1.0, weight.new_full((len(gates), 1), length)
    else:
        rough, variance, norm = rough.double(), trust.variance, rough.double().norm(dim=1, keepdim=True)
    shape = float(norm.median()) * (torch.eye(r).to(weight) / r**0.5 if metric is None else metric.double())
    slopes = weight @ shape.T
    typical = (slopes.square().sum(1) + bias.square()).mean().sqrt()
    layer = slopes / typical, bias / typical
    start = trust.kept * torch.linalg.solve(shape.T, rough.T).T
    exact = weight.new_zeros(len(gates), 0, r + 1) if equations is None else equations.double()
    exact = torch.cat([exact[:, :, :r] @ shape.T, exact[:, :, r:]], 2)
    exact = exact / exact.norm(dim=2, keepdim=True).clamp(min=1e-300)
    means, left = [], []
    kinks = torch.zeros_like(gates, dtype=torch.bool) if kinks is None else kinks
    for target, on, prior, rows in zip(gates.sign().double(), kinks, start, exact, strict=True):
        mean, factor = _posterior(*layer, target, on, *_prior(prior, variance, rows, trust.met))
        spread = torch.linalg.solve_triangular(factor, shape, upper=False)
        means.append(mean @ shape)
        left.append(spread.square().sum() - (spread @ brightness).square().sum())
    z = torch.stack(means)
    seen = z.square().sum(1) - (z @ brightness).square()
    return z * (norm / z.norm(dim=1, keepdim=True)), (seen / (seen + torch.stack(left))).sqrt()


def near(similar: Float[Tensor, " m"]) -> Float[Tensor, " m"]:
    """How likely a sample is above a similarity of .8 to its mean, from the similarity to expect."""
    return torch.sigmoid(SIMILAR[0] + SIMILAR[1] * similar.logit())


def _prior(mean: Tensor, variance: float, exact: Tensor, met: float) -> tuple[Tensor, Tensor]:
    """Inverse covariance of v before any gate, and that times the mean: the prior's, and rows a with a . [v 1] = 0."""
    rows = exact[:, :-1]
    inverse = torch.eye(len(mean)).to(mean) / variance + rows.T @ rows / met**2
    return inverse, mean / variance - rows.T @ exact[:, -1] / met**2


def _posterior(
    slopes: Tensor,
    offset: Tensor,
    target: Tensor,
    kinks: Tensor,
    inverse: Tensor,
    weighted: Tensor,
) -> tuple[Tensor, Tensor]:
    """Mean of v, and the Cholesky factor of its inverse covariance.

    Sweeps are in single precision, twice as fast: what they change is a factor for each neuron, each damped. The
    Gaussian they end in is in double precision.
    """
    known = (target != 0) | kinks
    exact = slopes[known]
    rows, offset, target, kinks = exact.float(), offset[known].float(), target[known].float(), kinks[known]
    start = inverse.float(), weighted.float()
    precision = pull = torch.zeros_like(target)  # of the Gaussians that stand for the gates, in natural parameters
    wrong, none = WRONG, NO_KINK
    for sweep in range(SWEEPS):
        mean, factor = _gaussian(rows, *start, precision, pull)
        variance = torch.linalg.solve_triangular(factor, rows.T, upper=False).square().sum(0)
        rest = 1 / (1 / variance - precision)  # variance and mean of each u_j, as all other gates leave them
        without = rest * (rows @ mean / variance - pull)
        u = without + offset
        gate, kink = _slopes(u, rest, target, wrong), _slopes_of_kinks(u, rest, none)
        first, second, doubt = (torch.where(kinks, b, a) for a, b in zip(gate, kink, strict=True))
        if sweep < OF_GATES:
            first, second = (torch.where(kinks, 0.0, slope) for slope in (first, second))
        left = 1 - rest * second
        precision = precision + DAMPING * (second / left - precision)
        pull = pull + DAMPING * ((first + second * without) / left - pull)
        wrong, none = _share(doubt[~kinks], 2 * WRONG) / 2, _share(doubt[kinks], NO_KINK)
    return _gaussian(exact, inverse, weighted, precision.double(), pull.double())


def _share(doubt: Tensor, first: float) -> Tensor:
    """Share to expect of factors that say nothing, `first` counting as COUNTED of them."""
    return (doubt.sum() + COUNTED * first) / (len(doubt) + COUNTED)


def _gaussian(
    rows: Tensor, inverse: Tensor, weighted: Tensor, precision: Tensor, pull: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean of v, and the Cholesky factor of its inverse covariance; without gates these are `inverse`, `weighted`."""
    factor = torch.linalg.cholesky(inverse + rows.T @ (rows * precision[:, None]))
    return torch.cholesky_solve((weighted + rows.T @ pull)[:, None], factor)[:, 0], factor


def _slopes(u: Tensor, variance: Tensor, target: Tensor, wrong: Tensor | float) -> tuple[Tensor, ...]:
    """First and negative second derivative in u of the log probability of the gates, u being uncertain.

    And how likely each gate says nothing: a share of twice `wrong` is drawn with even odds.
    """
    spread = variance + SOFT**2
    scaled = target * u / spread.sqrt()
    density = (1 - 2 * wrong) * torch.exp(-scaled.square() / 2) / (2 * torch.pi * spread).sqrt()
    probability = wrong + (1 - 2 * wrong) * torch.special.ndtr(scaled)
    first = target * density / probability
    return first, (first * (first + u / spread)).clamp(min=0), wrong / probability


def _slopes_of_kinks(u: Tensor, variance: Tensor, none: Tensor | float) -> tuple[Tensor, ...]:
    """The same for kinks, of which a share of `none` are none: u is then of the usual size."""
    spread = variance + ON_KINK**2
    density = (1 - none) * torch.exp(-u.square() / (2 * spread)) / spread.sqrt()
    other = none * torch.exp(-u.square() / (2 * (1 + variance))) / (1 + variance).sqrt()
    share = density / (density + other)
    pull = -u / spread
    return share * pull, (share / spread - share * (1 - share) * pull.square()).clamp(min=0), 1 - share
