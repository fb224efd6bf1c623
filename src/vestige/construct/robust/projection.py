"""Projections to a few dimensions that keep differently labeled points apart (arXiv 2502.11162).

A random projection P from R^d to R^m keeps e^(-1/2) sqrt(m / d) N^(-2/m) of the smallest distance with positive
probability, whatever the N points. That proves existence; maximizing

    log min_ij |P x_i - P x_j|_2  -  log max_{|u|_p = 1} |P u|_2,        P P^T = 1,

with a soft minimum over the differently labeled pairs finds projections that keep several times more.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor

from vestige.construct.robust.radius import closest_pair
from vestige.core.choices import ChoiceEnum
from vestige.core.descent import Descent, fit
from vestige.core.outcome import OnStep
from vestige.core.rng import spawn

DRAWS = 100  # random projections tried; the best of them is what "random" means, and where the optimization starts
STARTS = 2
STEPS = 400
RATE = 0.01
SOFT = (0.5, 0.03)  # temperature of the soft minimum over the smallest squared distance: first and last step
REFRESH = 20  # steps between two looks at which pairs are the closest
CLOSEST = 20_000  # pairs that a step looks at


class Projection(ChoiceEnum):
    """Where the first layer's rows come from."""

    RANDOM = "random"
    OPTIMIZED = "optimized"
    IDENTITY = "identity"


def orthogonal_rows(m: int, d: int, generator: torch.Generator) -> Tensor:
    """A uniformly drawn (m, d) matrix with P P^T = 1."""
    return torch.linalg.qr(torch.randn(d, m, generator=generator, dtype=torch.float64))[0].T


def kept_share(projection: Tensor, rows: Tensor, y: Tensor, p: float) -> float:
    """Smallest l_2 distance of projected points over the largest |P u|_2 with |u|_p = 1 (for p > 2 but for a_p)."""
    return closest_pair(rows @ projection.T, y, 2.0)[0] / _gain(projection, p)


def _gain(projection: Tensor, p: float) -> float:
    """An l_1 ball's image is spanned by the columns; other balls are measured by the l_2 norm, which is 1."""
    return float(projection.norm(dim=0).max()) if p == 1 else 1.0


def random_projection(
    rows: Tensor, y: Tensor, m: int, p: float, *, draws: int = DRAWS, generator: torch.Generator | None = None
) -> Tensor:
    """The best of several random projections: (m, d) with orthonormal rows.

    Args:
        rows: points, float64.
        y: labels.
        m: dimension of the image.
        p: of the balls.
        draws: how many are compared.
        generator: reads its seed only; None for seed 0.
    """
    return _best_draws(rows, y, m, p, draws, 1, generator)[0]


def _best_draws(
    rows: Tensor, y: Tensor, m: int, p: float, draws: int, keep: int, generator: torch.Generator | None
) -> list[Tensor]:
    stream = spawn(generator, "projection")
    best: list[tuple[float, Tensor]] = []
    for _ in range(draws):
        drawn = orthogonal_rows(m, rows.shape[1], stream)
        best = sorted([*best, (kept_share(drawn, rows, y, p), drawn)], key=lambda pair: -pair[0])[:keep]
    return [drawn for _, drawn in best]


def optimized_projection(
    rows: Tensor,
    y: Tensor,
    m: int,
    p: float,
    *,
    steps: int = STEPS,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """Adam on the soft minimum of the pairwise distances, over the orthonormal rows of a QR factor; the best state.

    Args:
        rows: points, float64.
        y: labels.
        m: dimension of the image.
        p: of the balls.
        steps: of Adam, for all starts at once.
        generator: draws the random projections that it starts from.
        on_step: told the smallest distance that the best start has reached.

    Returns:
        (m, d) with orthonormal rows; never worse than the best of the random ones.
    """
    starts = torch.stack(_best_draws(rows, y, m, p, DRAWS, STARTS, generator))
    free = starts.transpose(1, 2).clone().requires_grad_()
    best, most = starts[0], kept_share(starts[0], rows, y, p)
    pairs = torch.empty(0)

    def objective(k: int) -> Tensor:
        nonlocal best, most, pairs
        basis = torch.linalg.qr(free)[0]
        if k % REFRESH == 0:
            pairs = torch.stack([_closest_pairs(rows @ b, y) for b in basis.detach()])
            best, most = _better(best, most, basis, rows, y, p)
        return _loss(rows @ basis, pairs, basis, SOFT[0] * (SOFT[1] / SOFT[0]) ** (k / steps), p)

    adam = torch.optim.Adam([free], lr=RATE)
    falling = torch.optim.lr_scheduler.LambdaLR(adam, lambda k: 1 - 0.9 * k / max(steps, 1))
    told = None if on_step is None else lambda step: on_step(replace(step, value=most))
    fit(objective, Descent(adam, falling), steps=steps, on_step=told, note="separation")
    return _better(best, most, torch.linalg.qr(free)[0], rows, y, p)[0]


def _better(best: Tensor, most: float, basis: Tensor, rows: Tensor, y: Tensor, p: float) -> tuple[Tensor, float]:
    for candidate in basis.detach().transpose(1, 2):
        share = kept_share(candidate, rows, y, p)
        if share > most:
            best, most = candidate, share
    return best, most


def _closest_pairs(image: Tensor, y: Tensor) -> Tensor:
    """(2, k): the k closest of the differently labeled pairs."""
    once = torch.ones(len(y), len(y), dtype=torch.bool).triu(1)
    apart = torch.cdist(image, image).masked_fill(~once | (y[:, None] == y[None]), math.inf)
    count = min(CLOSEST, int(torch.isfinite(apart).sum()))
    place = apart.flatten().topk(count, largest=False).indices
    return torch.stack([place // len(y), place % len(y)])


def _loss(image: Tensor, pairs: Tensor, basis: Tensor, temperature: float, p: float) -> Tensor:
    """Minus the logarithm of the soft minimum, plus that of the soft maximum over the columns for p = 1."""
    start = torch.arange(len(image))[:, None]
    squares = (image[start, pairs[:, 0]] - image[start, pairs[:, 1]]).square().sum(-1)
    loss = -_soft_minimum(squares, temperature).log()
    if p == 1:
        loss = loss - _soft_minimum(1 / basis.square().sum(-1).clamp(min=1e-12), temperature).log()
    return loss.sum()


def _soft_minimum(values: Tensor, temperature: float) -> Tensor:
    """The mean weighted by exp(-value / (temperature * least)): positive, and exact for temperature to 0."""
    scale = temperature * values.detach().amin(1, keepdim=True).clamp(min=1e-300)
    return (torch.softmax(-values / scale, 1) * values).sum(1)
