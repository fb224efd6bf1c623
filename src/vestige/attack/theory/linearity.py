"""How far is the model linear along an attack? Why MALT's order works (arXiv 2407.02240).

Networks are not linear on small scales, where the gradient keeps turning, and yet nearly so on the scale of an
adversarial perturbation d: for every class c

    z_c(x + t d) - z_y(x + t d)  is about  z_c(x) - z_y(x) + t <grad (z_c - z_y)(x), d>,     t in [0, 1].

The profile measures both: the error of the values, relative to the change that the gradient predicts, and the turn of
the gradient, |g(x + t d) - g(x)| / |g(x)|. An order of targets by first-order distances needs only the values.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vestige.attack.methods.balls import steepest
from vestige.attack.theory.decision_margin import DecisionMargin, Pair, read_margin
from vestige.core.cite import Paper, paper
from vestige.core.rng import spawn
from vestige.core.space import UNBOUNDED, lp_norm, per_sample
from vestige.core.threat import Norm, Threat

FRACTIONS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0)
CLOSE = 0.1  # relative error of the value up to which the model counts as linear


@dataclass(frozen=True, eq=False, kw_only=True)
class LinearityProfile:
    """Medians over the samples, one entry for each fraction t of the perturbation.

    Attributes:
        fractions: t.
        value_error: |true change - predicted change| of the margin, over the predicted change.
        value_error_high: its 90 % quantile.
        gradient_error: |g(x + t d) - g(x)| / |g(x)|.
        predicted_change: |t <g(x), d>|.
        random_change: |change| of the margin along random perturbations of the same size: how special d is.
        reach: largest fraction up to which the median value error stays at 10 % or below; 0 for none.
        size: norm of d, median.
        source: the paper.
    """

    fractions: tuple[float, ...]
    value_error: Float[Tensor, " k"]
    value_error_high: Float[Tensor, " k"]
    gradient_error: Float[Tensor, " k"]
    predicted_change: Float[Tensor, " k"]
    random_change: Float[Tensor, " k"]
    reach: float
    size: float
    source: tuple[Paper, ...]


def linearity_profile(
    model: nn.Module,
    x: Float[Tensor, "n ..."],
    adv: Float[Tensor, "n ..."] | None = None,
    *,
    eps: float | int | None = None,
    norm: Norm | str | float | int = Norm.LINF,
    fractions: Sequence[float | int] = FRACTIONS,
    pair: Pair | None = None,
    generator: torch.Generator | None = None,
) -> LinearityProfile:
    """Measure how well the gradient at a sample predicts the model's outputs on the way to its adversarial example.

    The margin is that of the predicted class over its closest competitor at the sample. The pair is fixed there, so
    that a third class that overtakes does not count as curvature.

    Args:
        model: one output, or several; left as it is.
        x: samples, in model space.
        adv: their adversarial examples, in model space; None for one step of size eps down the gradient of the margin.
        eps: size of that step.
        norm: of that step, and of `size`.
        fractions: of the perturbation, positive; above 1 beyond its end.
        pair: (a, b): the number is z_a - z_b for every sample.
        generator: of the random perturbations; None for seed 0.

    Raises:
        ValueError: neither adv nor eps or both, shapes that differ, no sample that moves, fractions that are not
            positive.

    >>> profile = linearity_profile(nn.Linear(3, 1), torch.zeros(2, 3), eps=0.1)
    >>> profile.reach, bool((profile.value_error < 1e-9).all())
    (2.0, True)
    """
    p = Norm(norm)
    if not fractions or not all(0 < t < math.inf for t in fractions):
        raise ValueError(f"fractions={tuple(fractions)} given; they must be positive and finite.")
    margin = _fix_competitor(read_margin(model, x, pair=pair))
    gradient = margin.gradient(margin.x)[1]
    step, moves = _steps(margin.x, gradient, adv, eps, p)
    random = _random_steps(step, p, generator)
    keep = moves & ((gradient * step).flatten(1).sum(1) != 0)
    if not bool(keep.any()):
        raise ValueError(
            "no sample moves, or the gradient is zero at all of them; give adversarial examples or an eps."
        )
    errors, high, turns, changes, aside = _medians(margin, step, random, fractions, keep)
    return LinearityProfile(
        fractions=tuple(float(t) for t in fractions),
        value_error=errors,
        value_error_high=high,
        gradient_error=turns,
        predicted_change=changes,
        random_change=aside,
        reach=_reach(fractions, errors),
        size=float(lp_norm(step, p.p)[keep].median()),
        source=(paper("2407.02240"),),
    )


def _medians(
    margin: DecisionMargin, step: Tensor, random: Tensor, fractions: Sequence[float | int], keep: Tensor
) -> Tensor:
    """The five rows of the profile, one column a fraction."""
    value, gradient = margin.gradient(margin.x)
    along = (gradient * step).flatten(1).sum(1)
    columns = []
    for t in fractions:
        there, turned = margin.gradient(margin.x + t * step)
        aside = (margin.value(margin.x + t * random) - value).abs()[keep]
        error = ((there - value - t * along) / (t * along)).abs()[keep]
        turn = _length(turned - gradient)[keep] / _length(gradient)[keep].clamp(min=1e-300)
        change = (t * along).abs()[keep]
        columns.append([error.median(), error.quantile(0.9), turn.median(), change.median(), aside.median()])
    return torch.tensor(columns, dtype=torch.float64).T


def _fix_competitor(margin: DecisionMargin) -> DecisionMargin:
    """The margin over the second class of each sample instead of over the best of all others."""
    if not margin.multiclass or margin.pair is not None:
        return margin
    with torch.no_grad():
        z = margin.net(margin.x)
    competitor = z.scatter(1, margin.label[:, None], -torch.inf).argmax(1)
    return FixedCompetitor(margin.net, margin.x, margin.label, None, True, competitor)


@dataclass(frozen=True, eq=False)
class FixedCompetitor(DecisionMargin):
    """Margin over one class for each sample."""

    competitor: Tensor

    def of_outputs(self, outputs: Tensor, rows: Tensor | None = None) -> Tensor:
        """z_label - z_competitor."""
        label, other = (each if rows is None else each[rows] for each in (self.label, self.competitor))
        return (outputs.gather(1, label[:, None]) - outputs.gather(1, other[:, None]))[:, 0]


def _random_steps(step: Tensor, norm: Norm, generator: torch.Generator | None) -> Tensor:
    """Random directions of the size of each step."""
    noise = torch.randn(step.shape, generator=spawn(generator, "random"), dtype=torch.float64).to(step)
    random = steepest(noise, norm) if norm is Norm.LINF else noise
    return random * per_sample(lp_norm(step, norm.p) / lp_norm(random, norm.p), random)


def _length(gradient: Tensor) -> Tensor:
    return lp_norm(gradient, 2)


def _steps(
    x: Tensor, gradient: Tensor, adv: Tensor | None, eps: float | int | None, norm: Norm
) -> tuple[Tensor, Tensor]:
    """The perturbation of each sample, and whether it moves."""
    if (adv is None) == (eps is None):
        raise ValueError("give either adv, the adversarial examples, or eps, the size of one step; not both.")
    if adv is not None:
        if adv.shape != x.shape or not bool(torch.isfinite(adv).all()):
            raise ValueError(f"adv has shape {tuple(adv.shape)}; finite values of shape {tuple(x.shape)} are needed.")
        step = adv.detach().to(x) - x
    else:
        step = -Threat(eps or 0.0, norm, UNBOUNDED).eps * steepest(gradient, norm)
    return step, (step != 0).flatten(1).any(1)


def _reach(fractions: Sequence[float | int], error: Tensor) -> float:
    """Largest fraction up to which all errors, in the order of the fractions, are small."""
    reach = 0.0
    for t, value in sorted(zip(fractions, error.tolist(), strict=True)):
        if not value <= CLOSE:
            break
        reach = float(t)
    return reach
