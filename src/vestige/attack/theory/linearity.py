"""How far is the model linear along an attack? The reason why MALT's order works (arXiv 2407.02240).

Networks are not linear on small scales, where the gradient keeps turning, and yet nearly so on the scale of an
adversarial perturbation d: for every class c

    z_c(x + t d) - z_y(x + t d)  is about  z_c(x) - z_y(x) + t <grad (z_c - z_y)(x), d>,     t in [0, 1].

The profile measures both: the error of the values, relative to the change that the gradient predicts, and the turn of
the gradient, |g(x + t d) - g(x)| / |g(x)|. It is the values that a first-order order of targets needs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vestige.attack.methods.balls import steepest
from vestige.attack.theory.decision_margin import Lead, Pair, read_lead
from vestige.core.cite import Paper, paper
from vestige.core.rng import spawn
from vestige.core.space import per_sample
from vestige.core.threat import Norm

FRACTIONS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0)
CLOSE = 0.1  # relative error of the value up to which the model counts as linear


@dataclass(frozen=True, eq=False)
class LinearityProfile:
    """Medians over the samples, one column for each fraction t of the perturbation.

    Args:
        fractions: t.
        value_error: |true change - predicted change| of the lead, over the predicted change.
        value_error_high: its 90 % quantile.
        gradient_error: |g(x + t d) - g(x)| / |g(x)|.
        predicted_change: |t <g(x), d>|.
        random_change: |change| of the lead along random perturbations of the same size: how special d is.
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
    """Measure how well the gradient at a sample foretells the model's answers on the way to its adversarial example.

    The number that is followed is the lead of the answer over the class that competes with it at the sample: the pair
    is fixed there, so that a third class which overtakes does not count as a bend.

    Args:
        model: one output, or several; left as it is.
        x: samples, in model space.
        adv: where an attack took them, in model space; None for one step of size eps down the gradient of the lead.
        eps: size of that step.
        norm: of that step, and of `size`.
        fractions: of the perturbation, positive; above 1 beyond its end.
        pair: (a, b): the number is z_a - z_b for every sample.
        generator: of the random perturbations; None for seed 0.

    Raises:
        ValueError: neither adv nor eps, shapes that differ, no sample that moves, fractions that are not positive.

    >>> profile = linearity_profile(nn.Linear(3, 1), torch.zeros(2, 3), eps=0.1)
    >>> profile.reach, bool((profile.value_error < 1e-9).all())
    (2.0, True)
    """
    p = Norm(norm)
    if not fractions or not all(0 < t < math.inf for t in fractions):
        raise ValueError(f"fractions={tuple(fractions)} given; positive numbers are needed.")
    lead = _rivals(read_lead(model, x, pair=pair))
    value, slope = lead.slope(lead.x)
    step, moves = _steps(lead.x, slope, adv, eps, p)
    noise = torch.randn(step.shape, generator=spawn(generator, "random"), dtype=torch.float64).to(step)
    random = steepest(noise, p) if p is Norm.LINF else noise
    random = random * per_sample(_size(step, p) / _size(random, p), random)
    along = (slope * step).flatten(1).sum(1)
    keep = moves & (along != 0)
    if not bool(keep.any()):
        raise ValueError(
            "no sample moves, or the gradient is zero at all of them; give adversarial examples or an eps."
        )
    rows = []
    for t in fractions:
        there, turned = lead.slope(lead.x + t * step)
        elsewhere = (lead.value(lead.x + t * random) - value).abs()[keep]
        error = ((there - value - t * along) / (t * along)).abs()[keep]
        turn = ((turned - slope).flatten(1).norm(dim=1) / slope.flatten(1).norm(dim=1).clamp(min=1e-300))[keep]
        change = (t * along).abs()[keep]
        rows.append([error.median(), error.quantile(0.9), turn.median(), change.median(), elsewhere.median()])
    errors, high, turns, changes, aside = torch.tensor(rows, dtype=torch.float64).T
    return LinearityProfile(
        tuple(float(t) for t in fractions),
        errors,
        high,
        turns,
        changes,
        aside,
        _reach(fractions, errors),
        float(_size(step, p)[keep].median()),
        (paper("2407.02240"),),
    )


def _rivals(lead: Lead) -> Lead:
    """The same lead with its competitor fixed: the second class of each sample instead of the best of all others."""
    if not lead.several or lead.pair is not None:
        return lead
    with torch.no_grad():
        z = lead.net(lead.x)
    rival = z.scatter(1, lead.answer[:, None], -torch.inf).argmax(1)
    return FixedRivals(lead.net, lead.x, lead.answer, None, True, rival)


@dataclass(frozen=True, eq=False)
class FixedRivals(Lead):
    """Lead over one class for each sample."""

    rival: Tensor

    def of(self, outputs: Tensor, rows: Tensor | None = None) -> Tensor:
        """z_answer - z_rival."""
        answer, rival = (each if rows is None else each[rows] for each in (self.answer, self.rival))
        return (outputs.gather(1, answer[:, None]) - outputs.gather(1, rival[:, None]))[:, 0]


def _size(step: Tensor, norm: Norm) -> Tensor:
    return torch.linalg.vector_norm(step.flatten(1), ord=norm.p, dim=1)


def _steps(x: Tensor, slope: Tensor, adv: Tensor | None, eps: float | int | None, norm: Norm) -> tuple[Tensor, Tensor]:
    """The perturbation of each sample, and whether it moves."""
    if (adv is None) == (eps is None):
        raise ValueError("give either adv, where an attack took the samples, or eps, the size of one step.")
    if adv is not None:
        if adv.shape != x.shape or not bool(torch.isfinite(adv).all()):
            raise ValueError(f"adv has shape {tuple(adv.shape)}; finite values of shape {tuple(x.shape)} are needed.")
        step = adv.detach().to(x) - x
    else:
        if not 0 < float(eps or 0) < math.inf:
            raise ValueError(f"eps={eps} given; a positive finite radius is needed.")
        step = -float(eps or 0) * steepest(slope, norm)
    return step, (step != 0).flatten(1).any(1)


def _reach(fractions: Sequence[float | int], error: Tensor) -> float:
    """Largest fraction up to which all errors, in the order of the fractions, are small."""
    reach = 0.0
    for t, value in sorted(zip(fractions, error.tolist(), strict=True)):
        if not value <= CLOSE:
            break
        reach = float(t)
    return reach
