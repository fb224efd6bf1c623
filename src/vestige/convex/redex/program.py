"""The semidefinite program itself, by an interior-point method (cvxpy with Clarabel, the extra `convex`)."""

import importlib
from typing import Any

import numpy as np

from vestige.convex.redex.problem import Problem, Solution, solution

MOST = 3_000  # numbers in the cones of the program: some GB and minutes


def cone_numbers(problem: Problem) -> int:
    """Size of all semidefinite constraints together."""
    d = problem.dimension
    return d * (d + 1) * problem.y.shape[1] * problem.x.shape[1]


def solve_program(problem: Problem) -> Solution:
    """The optimum to the solver's 1e-8.

    Raises:
        ValueError: a program that is too large, cvxpy that is not installed, or a solver that ends without a solution.
    """
    d, size = problem.dimension, cone_numbers(problem)
    if size > MOST:
        raise ValueError(
            f"A program with {size:,} numbers in its cones given (d = {d}), {size**2 * 8 / 2**30:.1f} GiB of "
            f"factorization; at most {MOST:,} are tried. Take solver='splitting', or 'proximal' for one output."
        )
    try:
        cp = importlib.import_module("cvxpy")
    except ImportError as error:
        raise ValueError("The semidefinite program needs cvxpy: pip install 'vestige[convex]'.") from error
    m, patches, k = len(problem.x), problem.x.shape[1], problem.y.shape[1]
    r = cp.Variable((d, d), symmetric=True)
    a = [[cp.Variable((d, d), symmetric=True) for _ in range(patches)] for _ in range(k)]
    rows, columns = np.triu_indices(d)
    double = np.where(rows == columns, 1.0, 2.0)
    phi = (problem.x[:, :, rows] * problem.x[:, :, columns] * double).reshape(m, -1) / np.sqrt(m)
    q, small = np.linalg.qr(phi)  # statistics: the size of the program does not depend on m
    loss: Any = float((problem.y**2).sum()) / m - float(((q.T @ problem.y) ** 2).sum()) / m
    for o in range(k):
        chosen = cp.hstack([cp.vec(each, order="C")[rows * d + columns] for each in a[o]])
        loss = loss + cp.sum_squares(small @ chosen - q.T @ problem.y[:, o] / np.sqrt(m))
    size_of = cp.sum_squares(r) + sum(cp.sum_squares(each) for row in a for each in row)
    constraints = [sign * each + r >> 0 for row in a for each in row for sign in (1, -1)]
    if problem.trace_bound is not None:
        constraints.append(cp.trace(r) <= problem.trace_bound)
    program = cp.Problem(cp.Minimize(loss + problem.trace * cp.trace(r) + problem.ridge * size_of), constraints)
    try:
        program.solve(solver=cp.CLARABEL)
    except cp.error.SolverError as error:
        raise ValueError(f"Clarabel found no solution ({error}); scale the inputs, or take 'splitting'.") from error
    if r.value is None:
        raise ValueError(f"Clarabel ended with status {program.status}; scale the inputs, or take 'splitting'.")
    warnings = () if program.status == "optimal" else (f"the solver's status is {program.status}",)
    found = np.stack([np.stack([each.value for each in row]) for row in a])
    return solution(problem, found, r.value, warnings=warnings)
