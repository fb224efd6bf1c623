"""The program of a RedEx layer by splitting (ADMM), for inputs that are too large for an interior-point method.

With copies Z of R + A and R - A that have no negative eigenvalue, and prices Y of the difference, each step is closed:
A is a regression, R a multiple of the identity off a mean, Z a projection. Minus the prices are the multipliers of the
bound in `problem`, so that each look says how far the optimum is at most.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from vestige.convex.redex.problem import Array, Problem, Solution, positive, solution

STEPS, LOOK_EVERY = 2_000, 50
RELAXED = 1.6  # of each step: usual, and quicker than 1
BALANCE_EVERY, UNBALANCED = 10, 5.0  # the penalty is doubled or halved where one residual is so many times the other


def solve_splitting(problem: Problem, *, gap: float | int = 1e-3, steps: int = STEPS) -> Solution:
    """To a relative duality gap.

    Args:
        problem: the program.
        gap: to reach; what is left of it is a warning.
        steps: at most.
    """
    d, pairs = problem.dimension, problem.y.shape[1] * problem.x.shape[1]
    nearest, steepest = _regression(problem)
    penalty = max(math.sqrt(problem.ridge * steepest), problem.ridge)  # 1 has 70 times the gap in a second layer
    z = y = np.zeros((2, pairs, d, d))
    best = Solution(z[0].reshape(-1, problem.x.shape[1], d, d), z[0, 0], math.inf, -math.inf)
    for k in range(1, steps + 1):
        pull = z - y
        r = _raised(problem, penalty * pull.sum((0, 1)), 2 * (problem.ridge + pairs * penalty))
        weight = 2 * (problem.ridge + penalty)
        a = nearest(penalty / weight * (pull[0] - pull[1]), weight)
        both = np.stack([r + a, r - a])
        mixed = RELAXED * both + (1 - RELAXED) * z + y
        before, z = z, positive(mixed)
        y = mixed - z
        if k % BALANCE_EVERY == 0:
            factor = _balance(float(np.linalg.norm(both - z)), penalty * float(np.linalg.norm(z - before)))
            penalty, y = penalty * factor, y / factor
        if k % LOOK_EVERY == 0 or k == steps:
            best = _better(problem, a.reshape(best.a.shape), r, -penalty * y, best, gap)
            if best.gap <= gap:
                return best
    return replace(best, warnings=(f"the duality gap is {best.gap:.1e} after {steps} steps, above {gap:.1e}",))


def _better(problem: Problem, a: Array, r: Array, s: Array, best: Solution, gap: float | int) -> Solution:
    found = solution(problem, a, r, multipliers=s, enough=gap / 2)
    bound = max(found.bound, best.bound)
    return replace(found if found.objective < best.objective else best, bound=bound)


def _raised(problem: Problem, pull: Array, weight: float) -> Array:
    """argmin l_1 Tr R - <pull, R> + weight/2 |R|^2, with Tr R at most the bound."""
    d = problem.dimension
    r = (pull - problem.trace * np.eye(d)) / weight
    above = 0.0 if problem.trace_bound is None else max(0.0, float(np.trace(r)) - problem.trace_bound)
    return r - above / d * np.eye(d)


def _balance(primal: float, dual: float) -> float:
    return 2.0 if primal > UNBALANCED * dual else 0.5 if dual > UNBALANCED * primal else 1.0


def _regression(problem: Problem) -> tuple[Callable[[Array, float], Array], float]:
    """(B, weight) to argmin of the loss + weight/2 |A - B|^2, for matrices (pairs, d, d); the loss's largest curvature.

    In the coordinates of symmetric matrices with sqrt 2 off the diagonal, and with the residuals' own eigenvectors.
    """
    m = len(problem.x)
    rows, columns = np.triu_indices(problem.dimension)
    double = np.where(rows == columns, 1.0, math.sqrt(2))
    phi, y = (problem.x[:, :, rows] * problem.x[:, :, columns] * double).reshape(m, -1), problem.y
    if m > phi.shape[1]:
        q, phi = np.linalg.qr(phi)
        y = q.T @ y
    values, vectors = np.linalg.eigh(phi @ phi.T)

    def nearest(b: Array, weight: float) -> Array:
        flat = (b[:, rows, columns] * double).reshape(-1, phi.shape[1])
        off = vectors.T @ (phi @ flat.T - y)
        flat = flat - (vectors @ (off / (m / 2 + values / weight)[:, None])).T @ phi / weight
        a = np.empty_like(b)
        a[:, rows, columns] = a[:, columns, rows] = flat.reshape(len(b), -1) / double
        return a

    return nearest, 2 * float(values[-1]) / m
