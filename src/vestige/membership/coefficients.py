"""Which rows a layer's weights are made of: ridge regression of the weights on all candidates' gradients at once.

With rows g_i of length 1, lambda = (G G^T + r I)^-1 G w. If lambda_i has variance 1 and the noise of w variance r, then
r [(G G^T + r I)^-1]_ii is the variance of lambda_i that w leaves open, and

    score_i = lambda_i / sqrt([(G G^T + r I)^-1]_ii).

Exact, by one factorization of G G^T or of G^T G, whichever is smaller; larger pools by conjugate gradients, with the
variances of random parts of the pool.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vestige.core.outcome import OnStep, Outcome, Step
from vestige.core.rng import spawn
from vestige.membership.rows import Rows

LARGEST_GRAM = 2**31  # bytes of a matrix that is factorized: 16,384 candidates
PART = 4096  # candidates whose variances are found together where the matrix would be larger
PRECISION, LONGEST = 1e-4, 400  # of conjugate gradients: the scores' order no longer changes


@dataclass(frozen=True)
class Coefficients:
    """lambda of each candidate, and lambda over its standard deviation."""

    multipliers: Float[Tensor, " n"]
    scores: Float[Tensor, " n"]
    outcome: Outcome


def coefficients(
    rows: Rows,
    ridge: float,
    *,
    largest: int = LARGEST_GRAM,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
    note: str = "",
) -> Coefficients:
    """Studentized ridge coefficients of a layer's weights.

    Args:
        rows: of the layer.
        ridge: r, positive; 1 is the square of a row.
        largest: bytes that a matrix may take.
        generator: deals the parts of a large pool.
        on_step: progress.
        note: of the progress.
    """
    size = rows.squares().sqrt().clamp(min=1e-150)
    n, parameters = len(rows), len(rows.weights)
    fits = 8 * min(n, parameters) ** 2 <= largest
    if fits and parameters < n:
        lam, variance = _by_columns(rows, size, ridge)
        outcome = Outcome.CONVERGED
    elif fits:
        lam, variance = _by_rows(rows, size, ridge)
        outcome = Outcome.CONVERGED
    else:
        lam, outcome = _by_conjugate_gradients(rows, size, ridge, on_step, note)
        variance = _by_parts(rows, size, ridge, generator)
    scores = lam / variance.sqrt()
    if not bool(torch.isfinite(scores).all()):
        outcome = Outcome.NOT_FINITE
    return Coefficients(lam, scores, outcome)


def _by_rows(rows: Rows, size: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    factor = _factor(rows, size, ridge)
    lam = torch.cholesky_solve((rows.times(rows.weights) / size)[:, None], factor)[:, 0]
    return lam, torch.cholesky_inverse(factor).diagonal()


def _factor(rows: Rows, size: Tensor, ridge: float) -> Tensor:
    gram = rows.gram()
    gram.div_(size).div_(size[:, None]).diagonal().add_(ridge)
    return torch.linalg.cholesky(gram)


def _by_columns(rows: Rows, size: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """(G G^T + r)^-1 = (I - G (G^T G + r)^-1 G^T) / r."""
    g = rows.matrix() / size[:, None]
    inner = g.T @ g
    inner.diagonal().add_(ridge)
    factor = torch.linalg.cholesky(inner)
    half = torch.linalg.solve_triangular(factor, g.T, upper=False)
    lam = g @ torch.cholesky_solve(rows.weights[:, None], factor)[:, 0]
    return lam, (1 - half.square().sum(0)).clamp(min=torch.finfo(g.dtype).eps) / ridge


def _by_conjugate_gradients(
    rows: Rows, size: Tensor, ridge: float, on_step: OnStep | None, note: str
) -> tuple[Tensor, Outcome]:
    right = rows.times(rows.weights) / size
    solution, residual = torch.zeros_like(right), right
    direction, square = residual, residual @ residual
    goal = PRECISION**2 * square
    for k in range(1, LONGEST + 1):
        if square <= goal:
            return solution, Outcome.CONVERGED
        product = rows.times(rows.combine(direction / size)) / size + ridge * direction
        step = square / (direction @ product)
        solution, residual = solution + step * direction, residual - step * product
        square, before = residual @ residual, square
        direction = residual + square / before * direction
        if on_step is not None:
            on_step(Step(k, LONGEST, float((square / goal).sqrt() * PRECISION), note))
    return solution, Outcome.BUDGET_SPENT


def _by_parts(rows: Rows, size: Tensor, ridge: float, generator: torch.Generator | None) -> Tensor:
    """Variances within random parts of one size, so that they compare."""
    n = len(rows)
    order = torch.randperm(n, generator=spawn(generator, "parts")).to(size.device)
    variance = torch.empty_like(size)
    for part in order.chunk(-(-n // PART)):
        variance[part] = torch.cholesky_inverse(_factor(rows.take(part), size[part], ridge)).diagonal()
    return variance
