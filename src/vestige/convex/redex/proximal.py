"""One output: R = |A|, and the program is a loss with l_1 |A|_Tr + 2 l_2 |A|^2 (Algorithm 5).

Its proximal map soft-thresholds eigenvalues (derived), so that accelerated proximal gradient solves it with one
eigendecomposition a step, and the bound of `problem` has a closed form.
"""

import math
from dataclasses import replace

import numpy as np

from vestige.convex.redex.problem import Array, Problem, Solution, lower_bound

STEPS, LOOK_EVERY = 5_000, 20


def solve_proximal(problem: Problem, *, gap: float | int = 1e-6, steps: int = STEPS) -> Solution:
    """To a relative duality gap.

    Raises:
        ValueError: several outputs or patches, or a bound on the trace.
    """
    if problem.y.shape[1] != 1 or problem.x.shape[1] != 1 or problem.trace_bound is not None:
        raise ValueError("The proximal path is for one output, one patch and no trace_bound; take solver='splitting'.")
    x, y, m = problem.x[:, 0], problem.y[:, 0], len(problem.x)
    rate = 1 / (2 * _largest(x) / m + 1e-300)
    a = before = point = np.zeros((problem.dimension, problem.dimension))
    momentum, best = 1.0, Solution(a[None, None], a, math.inf, -math.inf)
    for k in range(steps):
        residual = np.einsum("nd,nd->n", x @ point, x) - y
        a = _shrunk(point - rate * 2 / m * (x.T * residual) @ x, rate, problem)
        if float(((point - a) * (a - before)).sum()) > 0:  # the momentum points uphill: start it again
            momentum = 1.0
        after = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        point, before, momentum = a + (momentum - 1) / after * (a - before), a, after
        if k % LOOK_EVERY == 0 or k == steps - 1:
            best = _better(problem, a, best)
            if best.gap <= gap:
                break
    said = () if best.gap <= gap else (f"the duality gap is {best.gap:.1e} after {steps} steps",)
    return replace(best, warnings=said)


def absolute(a: Array) -> Array:
    """|A|: the least R."""
    values, vectors = np.linalg.eigh(a)
    return np.asarray((vectors * abs(values)) @ vectors.T, dtype=np.float64)


def _better(problem: Problem, a: Array, best: Solution) -> Solution:
    r = absolute(a)
    value, bound = problem.objective(a[None, None], r), max(lower_bound(problem, a[None, None], r), best.bound)
    return Solution(a[None, None], r, value, bound) if value < best.objective else replace(best, bound=bound)


def _shrunk(a: Array, rate: float, problem: Problem) -> Array:
    values, vectors = np.linalg.eigh((a + a.T) / 2)
    kept = np.sign(values) * np.maximum(abs(values) - rate * problem.trace, 0) / (1 + 4 * rate * problem.ridge)
    return (vectors * kept) @ vectors.T


def _largest(x: Array) -> float:
    """Largest eigenvalue of A -> sum_i <A, x_i x_i^T> x_i x_i^T, a little above, by the power method."""
    a = np.eye(x.shape[1]) / math.sqrt(x.shape[1])
    size = 0.0
    for _ in range(50):
        a = (x.T * np.einsum("nd,nd->n", x @ a, x)) @ x
        size = float(np.linalg.norm(a))
        if size == 0:
            break
        a = a / size
    return 1.05 * size
