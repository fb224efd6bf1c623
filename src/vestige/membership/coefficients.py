"""Which rows a layer's weights are made of: ridge regression of the weights on all candidates' gradients at once.

With rows g_i of length 1, lambda = (G G^T + r I)^-1 G w. If lambda_i has variance 1 and the noise of w variance r, then
r [(G G^T + r I)^-1]_ii is the variance of lambda_i that w leaves open, and

    score_i = lambda_i / sqrt([(G G^T + r I)^-1]_ii).

Exact, by one factorization of G G^T or of G^T G, whichever is smaller and small enough. Larger pools take conjugate
gradients on the whole pool, preconditioned by some of its rows (Nystroem; arXiv 2110.02820), and variances from random
parts of it. Parts are enough for variances and not for lambda: of 8,000 digits, half of them members, .100 are named at
0.1 % false positives exactly, .102 by variances of parts of 1,024, and .021 where each part is solved alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from scipy.linalg import get_lapack_funcs
from torch import Tensor

from vestige.core.outcome import Outcome
from vestige.core.rng import spawn
from vestige.membership.rows import Rows

EXACT = 4096  # rows and columns of the largest matrix that is factorized: 3 s on one core
SAFE, ROUNDING = 1e-6, 0.01  # ridges below the first need G^T G where G has more rows than columns
PART = 1024  # candidates whose variances are found together where the pool is larger
LANDMARKS = 1024  # rows that precondition: 30 iterations instead of 300 for 8,000 digits
PRECISION, LONGEST = 1e-4, 400  # of conjugate gradients: the scores' order no longer changes


@dataclass(frozen=True)
class Coefficients:
    """lambda of each candidate, and lambda over its standard deviation."""

    multipliers: Float[Tensor, " n"]
    scores: Float[Tensor, " n"]
    outcome: Outcome


def coefficients(
    rows: Rows, ridge: float, *, exact: int = EXACT, generator: torch.Generator | None = None
) -> Coefficients:
    """Studentized ridge coefficients of a layer's weights.

    Args:
        rows: of the layer.
        ridge: r, positive; 1 is the square of a row.
        exact: the largest matrix that is factorized.
        generator: draws the parts and the preconditioner of a large pool.
    """
    n, parameters = len(rows), len(rows.weights)
    rows, outcome = rows.unit(), Outcome.CONVERGED
    if parameters <= exact and (2 * parameters < n or (parameters < n and ridge < SAFE)):
        lam, variance = _by_columns(rows, ridge)
    elif n <= exact:
        lam, variance = _by_rows(rows, ridge)
    else:
        lam, outcome = _by_conjugate_gradients(rows, ridge, generator)
        variance = _by_parts(rows, ridge, generator)
    scores = lam / variance.sqrt()
    if not bool(torch.isfinite(scores).all()):
        outcome = Outcome.NOT_FINITE
    return Coefficients(lam, scores, outcome)


def _by_rows(rows: Rows, ridge: float) -> tuple[Tensor, Tensor]:
    factor = _factor(rows, ridge)
    right = rows.times(rows.weights).to(factor)
    lam = torch.cholesky_solve(right[:, None], factor)[:, 0]
    return lam.double(), inverse_diagonal(factor)


def _factor(rows: Rows, ridge: float) -> Tensor:
    """In the network's precision where its rounding is far below the ridge: 4,000 digits have lambda right to 2e-5."""
    gram = rows.gram()
    if not torch.finfo(gram.dtype).eps * float(gram.abs().sum(1).max()) <= ROUNDING * ridge:
        gram = gram.double()
    gram.diagonal().add_(ridge)
    return torch.linalg.cholesky(gram)


def inverse_diagonal(factor: Float[Tensor, "n n"]) -> Float[Tensor, " n"]:
    """Diagonal of (L L^T)^-1 = L^-T L^-1: on CPU the rows' squares of L^-T alone, a third of the whole inverse's time.

    Args:
        factor: L, lower triangular, with zeros above.

    >>> inverse_diagonal(torch.tensor([[2.0, 0.0], [1.0, 1.0]])).tolist()
    [0.5, 1.0]
    """
    if not factor.is_cpu:
        return torch.cholesky_inverse(factor).diagonal().double()
    upper = factor.mT.numpy()
    (invert,) = get_lapack_funcs(("trtri",), (upper,))
    return torch.from_numpy(invert(upper)[0]).square().sum(1).double()


def _by_columns(rows: Rows, ridge: float) -> tuple[Tensor, Tensor]:
    """(G G^T + r)^-1 = (I - G (G^T G + r)^-1 G^T) / r, some rows at a time."""
    parts = torch.arange(len(rows), device=rows.weights.device).split(EXACT)
    inner = ridge * torch.eye(len(rows.weights)).to(rows.weights)
    for part in parts:
        g = rows.take(part).matrix()
        inner += g.T @ g
    factor = torch.linalg.cholesky(inner)
    solution = torch.cholesky_solve(rows.weights[:, None], factor)
    lam = rows.weights.new_empty(len(rows))
    variance = torch.empty_like(lam)
    for part in parts:
        g = rows.take(part).matrix()
        half = torch.linalg.solve_triangular(factor, g.T, upper=False)
        lam[part] = (g @ solution)[:, 0]
        variance[part] = (1 - half.square().sum(0)).clamp(min=torch.finfo(g.dtype).eps) / ridge
    return lam, variance


def _by_conjugate_gradients(rows: Rows, ridge: float, generator: torch.Generator | None) -> tuple[Tensor, Outcome]:
    right = rows.times(rows.weights)
    nearly_solve = _preconditioner(rows, ridge, generator)
    solution, residual = torch.zeros_like(right), right
    direction = step = nearly_solve(residual)
    square, goal = residual @ step, PRECISION * right.norm()
    for _ in range(LONGEST):
        if residual.norm() <= goal:
            return solution, Outcome.CONVERGED
        product = rows.through(direction) + ridge * direction
        length = square / (direction @ product)
        solution, residual = solution + length * direction, residual - length * product
        step = nearly_solve(residual)
        square, before = residual @ step, square
        direction = step + square / before * direction
    return solution, Outcome.BUDGET_SPENT


def _preconditioner(rows: Rows, ridge: float, generator: torch.Generator | None) -> Callable[[Tensor], Tensor]:
    """The inverse on what some rows span, where the large eigenvalues are, and a multiple of 1 across it."""
    chosen = torch.randperm(len(rows), generator=spawn(generator, "landmarks"))[:LANDMARKS].to(rows.weights.device)
    cross = rows.gram(chosen)
    values, vectors = _positive(cross[chosen].double())
    half = cross @ (vectors / values.sqrt()).to(cross)  # half half^T is G G^T seen through the chosen rows
    del cross
    values, vectors = _positive((half.T @ half).double())
    basis = half @ (vectors / values.sqrt()).to(half)
    gain = (values[:1] + ridge) / (values + ridge) - 1  # none where all rows are 0
    return lambda v: v + (basis @ (gain.to(basis) * (basis.T @ v.to(basis)))).to(v)


def _positive(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues above rounding, the smallest first, and their vectors."""
    values, vectors = torch.linalg.eigh(matrix)
    kept = values > 1e-6 * values[-1:].clamp(min=1e-300)
    return values[kept], vectors[:, kept]


def _by_parts(rows: Rows, ridge: float, generator: torch.Generator | None) -> Tensor:
    """Variances within random parts of one size, so that they compare."""
    n = len(rows)
    order = torch.randperm(n, generator=spawn(generator, "parts")).to(rows.weights.device)
    variance = rows.weights.new_empty(n)
    for part in order.chunk(-(-n // PART)):
        variance[part] = inverse_diagonal(_factor(rows.take(part), ridge))
    return variance
