"""The program with R = V^T V of low rank, for inputs that are too large for it, certified by its bound.

A_oj = V^T P_oj V and |P| <= 1 by P = 2 C (I + C^2)^-1 with any symmetric C, which takes every such P. So nothing is
constrained, and L-BFGS descends over (V, C). The multipliers of the bound then say in which directions R is still to
grow, and in the span of R and those the program is small: it is solved itself (with cvxpy), until the gap is closed.
"""

import importlib.util
import math
from dataclasses import replace

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from vestige.convex.redex.problem import Array, Problem, Solution
from vestige.convex.redex.program import MOST, solution, solve_program
from vestige.core.rng import child

ROUNDS, STEPS = 5, 300
NOTHING = 1e-7  # an eigenvalue below it, relative to the largest


def solve_low_rank(
    problem: Problem, *, rank: int | None = None, gap: float | int = 1e-3, steps: int = STEPS
) -> Solution:
    """Descend, bound, and solve the program in ever better spans while the gap is too large.

    Args:
        problem: the program.
        rank: of R at first; None for twice the outputs and patches, and 4 more.
        gap: relative duality gap to reach.
        steps: of L-BFGS.
    """
    d, pairs = problem.dimension, problem.y.shape[1] * problem.x.shape[1]
    rank = min(d, rank or 2 * pairs + 4)
    draw = child(0, "redex")
    size = 0.1 / math.sqrt(d * max(1.0, float((problem.x**2).mean())))
    v = size * torch.randn(rank, d, generator=draw, dtype=torch.float64).numpy()
    c = 0.1 * torch.randn(pairs, rank, rank, generator=draw, dtype=torch.float64).numpy()
    found = solution(problem, *_factored(problem, *_descended(problem, v, c, steps)), enough=gap / 2)
    for _ in range(ROUNDS if importlib.util.find_spec("cvxpy") else 0):
        if found.gap <= gap:
            break
        better = solution(problem, *_in_the_span(problem, _span(problem, found)), enough=gap / 2)
        found = better if better.objective < found.objective else replace(found, bound=max(found.bound, better.bound))
    said = () if found.gap <= gap else (f"the duality gap is {found.gap:.1e}, above {gap:.1e}",)
    return replace(found, warnings=said)


def _span(problem: Problem, found: Solution) -> Array:
    """Rows of a basis: where R lives, then where the multipliers ask for it most, as many as a program may have."""
    most = int((math.sqrt(1 + 4 * MOST / problem.y.shape[1] / problem.x.shape[1]) - 1) / 2)
    values, vectors = np.linalg.eigh(found.r)
    basis = vectors[:, values > NOTHING * values[-1]][:, ::-1][:, : max(1, most * 2 // 3)]
    off = np.eye(len(found.r)) - basis @ basis.T
    values, vectors = np.linalg.eigh(off @ found.more @ off)
    fresh = vectors[:, values > NOTHING * max(float(values[-1]), 1e-300)][:, ::-1][:, : most - basis.shape[1]]
    return np.linalg.qr(np.concatenate([basis, fresh], 1))[0].T


def _in_the_span(problem: Problem, basis: Array) -> tuple[Array, Array]:
    """The optimum among matrices that live in the span of these rows."""
    small = Problem(problem.x @ basis.T, problem.y, problem.trace, problem.ridge, problem.trace_bound)
    found = solve_program(small)
    return basis.T @ found.a @ basis, basis.T @ found.r @ basis


def _matrices(v: Tensor, c: Tensor, problem: Problem) -> tuple[Tensor, Tensor]:
    c = (c + c.mT) / 2
    eye = torch.eye(c.shape[-1], dtype=c.dtype)
    p = torch.linalg.solve(eye + c @ c, 2 * c)
    p = (p + p.mT) / 2
    if problem.trace_bound is not None:
        v = v * torch.clamp(math.sqrt(problem.trace_bound) / (v.norm() + 1e-300), max=1.0)
    return v, p


def _descended(problem: Problem, v: Array, c: Array, steps: int) -> tuple[Array, Array]:
    x, y = torch.from_numpy(problem.x), torch.from_numpy(problem.y)
    m, patches, k = len(x), x.shape[1], y.shape[1]
    shape_v, shape_c = v.shape, c.shape

    def value(flat: Array) -> tuple[float, Array]:
        whole = torch.tensor(flat, requires_grad=True)
        w, p = _matrices(whole[: v.size].reshape(shape_v), whole[v.size :].reshape(shape_c), problem)
        z, gram = x @ w.mT, w @ w.mT
        p = p.reshape(k, patches, *p.shape[1:])
        guess = torch.einsum("npr,oprs,nps->no", z, p, z)
        mixed = gram @ p
        size = gram.square().sum() + (mixed * mixed.mT).sum()
        total = (y - guess).square().sum() / m + problem.trace * gram.trace() + problem.ridge * size
        (gradient,) = torch.autograd.grad(total, whole)
        return float(total.detach()), gradient.numpy()

    start = np.concatenate([v.ravel(), c.ravel()])
    options = {"maxiter": steps, "maxfun": 2 * steps, "ftol": 1e-13, "gtol": 1e-10, "maxcor": 30}
    end = minimize(value, start, jac=True, method="L-BFGS-B", options=options).x
    return end[: v.size].reshape(shape_v), end[v.size :].reshape(shape_c)


def _factored(problem: Problem, v: Array, c: Array) -> tuple[Array, Array]:
    w, p = (part.numpy() for part in _matrices(torch.from_numpy(v), torch.from_numpy(c), problem))
    a = w.T @ p @ w
    return a.reshape(problem.y.shape[1], problem.x.shape[1], *a.shape[1:]), w.T @ w
