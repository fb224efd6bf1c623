"""Training points of kernel machines from their scores alone (arXiv 2505.19019).

Kernel ridge regression, support vector machines, kernel density estimation and Gaussian processes answer with a sum of
kernels over their training points, f(z) = sum_i a_i k(z, x_i) + b. For a strictly positive definite and almost analytic
kernel random queries determine the points as soon as there are more equations than unknowns, n (d + C) / C queries.
Kernels of exponential type are solved by algebra (`kernels.matrix_pencil`), the cubic one too, with no more points
than dimensions (`kernels.cubic`); others are fitted (`kernels.fitting`).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vestige.core.cite import paper
from vestige.core.descent import Checkpoint
from vestige.core.outcome import OnStep, Outcome
from vestige.core.rng import spawn
from vestige.core.space import InputSpace
from vestige.reconstruct.kernels.bandwidth import find_bandwidth
from vestige.reconstruct.kernels.black_box import BlackBox, Scores
from vestige.reconstruct.kernels.deflation import Found, search, search_cubic
from vestige.reconstruct.kernels.fitting import fit_points
from vestige.reconstruct.kernels.functions import Exponential, Gaussian, Kernel, Polynomial, parse_kernel
from vestige.reconstruct.kernels.journal import Journal
from vestige.reconstruct.kernels.probing import probe
from vestige.reconstruct.kernels.result import QueryReconstruction
from vestige.reconstruct.kernels.task import Task
from vestige.reconstruct.options import Solver, check_counts


def reconstruct_from_queries(
    predict: Callable[[Any], Any],
    kernel: Kernel | str,
    *,
    input_shape: Sequence[int],
    n: int | None = None,
    scores: Scores | str = Scores.RAW,
    center: Float[Tensor, " d"] | None = None,
    tolerance: float = 1e-2,
    rounds: int = 6,
    n_candidates: int = 1_000,
    max_queries: int | None = None,
    reach: float | None = None,
    solver: Solver | str = Solver.DEFAULT,
    pool: Float[Tensor, "m d"] | None = None,
    space: InputSpace | None = None,
    steps: int = 20_000,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
    checkpoint: Checkpoint | None = None,
) -> QueryReconstruction:
    """Recover the training points of a kernel machine that only answers queries.

    Args:
        predict: from an (m, d) float64 array (or tensor, where it does not take arrays) to (m,) or (m, C) real scores
            f(z) = sum_i a_i k(z, x_i) + b. The better their precision, the more comes back: float64 is wanted.
        kernel: k, as a value or as text such as "rbf:gamma=0.003"; its parameters in scikit-learn's convention. Without
            its gamma ("rbf") that of a Gaussian is found from queries.
        input_shape: of one input; predict is asked about rows of d numbers, their product.
        n: number of points with a non-zero coefficient; None reads it off the scores.
        scores: what the answers are, see `Scores`.
        center: about the mean of the data, such as a public mean; None for zero. Answers with a constant b or rounded
            ones lose what lies far from it.
        tolerance: estimated error, relative to the distance from the center, up to which a point counts as validated.
        rounds: sets of anchors; each after the first looks at what the points validated so far leave unexplained.
        n_candidates: where n is not known, how many points are looked for at most.
        max_queries: the attack stops before it asks more often than this.
        reach: distance from the center within which the model answers sensibly, for one that refuses or clips others.
            Then a constant b is taken for zero, and there is one round. Exponential kernels with their gamma only.
        solver: "default" computes the points where the kernel is of exponential type or cubic and fits them otherwise;
            "published" fits them for every kernel, by the papers' descent, for inputs of about unit variance.
        pool: inputs to ask about when points are fitted, such as public images; None draws normal ones around center.
        space: range of valid inputs, outside of which the fit is penalized; None: no penalty.
        steps: of the fit.
        generator: the queries are drawn from it.
        on_step: progress; `index` counts queries, `total` those that are planned.
        checkpoint: an object with save(tensors) and load() that keeps the answers. An attack that was killed, ran out
            of queries or met an error of `predict` goes on to the same end, and the model is asked again only what was
            not saved, and one query that shows whether it is the same model.

    Returns:
        The points, with an estimated error each.

    Raises:
        ValueError: answers that are not scores, a kernel that the solver does not take, or options out of range.

    Source: arXiv 2505.19019 for the setting; the algebra is ours.

    >>> x = torch.tensor([[0.0, 1.0], [2.0, -1.0], [1.0, 1.0]], dtype=torch.float64)
    >>> k, weight = Gaussian(0.3), torch.tensor([[1.0, 2.0], [-1.0, 1.0], [3.0, 1.0]], dtype=torch.float64)
    >>> found = reconstruct_from_queries(lambda z: k(z, x) @ weight, k, input_shape=(2,))
    >>> torch.cdist(found.points, x).amin(0).max().item() < 1e-6
    True
    """
    chosen = parse_kernel(kernel) if isinstance(kernel, str) else kernel
    solver, shape = Solver(solver), tuple(int(size) for size in input_shape)
    d = math.prod(shape)
    check_counts(input_shape=d, n=n, rounds=rounds, n_candidates=n_candidates, max_queries=max_queries, steps=steps)
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance={tolerance} given; a relative error in (0, 1) is allowed, such as 0.01.")
    middle = _center(center, d)
    draw = spawn(generator, "queries")
    _check_reach(reach, chosen, solver)
    bounds = None if space is None else space.bounds(shape, middle)
    journal = Journal.load(checkpoint)
    box = BlackBox(
        predict, d, Scores(scores), max_queries or math.inf, on_step, phase="first queries", journal=journal,
        reach=reach or math.inf, center=middle,
    )  # fmt: skip
    try:
        offset, warnings = probe(box, chosen, middle, draw)
        task = Task(
            box=box, kernel=chosen, center=middle, offset=offset, n=n, n_candidates=n_candidates, tolerance=tolerance,
            generator=draw, warnings=warnings,
        )  # fmt: skip
        if solver is Solver.DEFAULT and isinstance(chosen, Polynomial) and chosen.degree == 3 and chosen.coef0:
            return _result(search_cubic(task, chosen), task, "cubic")
        if solver is Solver.PUBLISHED or not isinstance(chosen, Gaussian | Exponential):
            return fit_points(task, pool=pool, steps=steps, bounds=bounds)
        return _by_pencil(task, chosen, rounds if reach is None else 1)
    finally:  # answers were paid for
        journal.save()


def _by_pencil(task: Task, kernel: Gaussian | Exponential, rounds: int) -> QueryReconstruction:
    if isinstance(kernel, Gaussian) and kernel.gamma is None:
        found = find_bandwidth(task.box, task.center, task.generator, outputs=task.outputs, most=task.most)
        kernel = Gaussian(found)
    return _result(search(task, kernel, rounds), replace(task, kernel=kernel), "pencil")


def _check_reach(reach: float | None, kernel: Kernel, solver: Solver) -> None:
    if reach is None:
        return
    if not 0 < reach < math.inf:
        raise ValueError(f"reach={reach} given; a positive distance is allowed. No limit? Leave it out.")
    known = isinstance(kernel, Exponential) or (isinstance(kernel, Gaussian) and kernel.gamma is not None)
    if solver is Solver.PUBLISHED or not known:
        raise ValueError(
            f"reach={reach} given for {kernel}, solver={str(solver)!r}; it limits the queries of the algebra for "
            "Gaussian and exponential kernels with a known gamma. For a fit give a pool of inputs that the model "
            "answers."
        )


def _center(center: Tensor | None, d: int) -> Tensor:
    if center is None:
        return torch.zeros(d, dtype=torch.float64)
    if center.numel() != d or not bool(torch.isfinite(center).all()):
        raise ValueError(f"center has {center.numel()} numbers; one input has {d} by input_shape, all finite.")
    return center.detach().cpu().double().flatten()


def _result(found: Found, task: Task, method: str) -> QueryReconstruction:
    error = torch.cat([found.error, found.doubtful_error])
    order = error.argsort()
    valid = error <= task.tolerance
    outcome = Outcome.BUDGET_SPENT if found.spent else Outcome.STAGNATED
    if len(error) and int(valid.sum()) >= found.rank > 0:
        outcome = Outcome.CONVERGED
    return QueryReconstruction(
        points=torch.cat([found.points, found.doubtful])[order],
        coefficients=torch.cat([found.coefficients, found.doubtful_coefficients])[order],
        error=error[order],
        validated=valid[order],
        misfit=found.misfit,
        rank=found.rank,
        singular_values=found.singular_values,
        queries=task.box.used,
        kernel=task.kernel,
        center=task.center,
        offset=task.offset,
        method=method,
        outcome=outcome,
        warnings=(*task.warnings, *_warnings(found, task, int(valid.sum()))),
        source=(paper("2505.19019"),),
    )


def _warnings(found: Found, task: Task, valid: int) -> list[str]:
    said = []
    if found.full:
        said.append(
            f"The scores show more than {found.rank} points, or the kernel is not {task.kernel}: with a wrong gamma "
            "every anchor seems to show a new point. Raise n_candidates, or leave gamma out."
        )
    elif valid < found.rank:
        said.append(f"The scores show {found.rank} points; {valid} passed the check.")
    if found.spent:
        said.append(f"The allowed {task.box.most:,.0f} queries were spent after {task.box.used:,}.")
    return said
