"""Training points of kernel machines from their scores alone (arXiv 2505.19019).

Kernel ridge regression, support vector machines, kernel density estimation and Gaussian processes answer with a sum of
kernels over their training points, f(z) = sum_i a_i k(z, x_i) + b. For a strictly positive definite and almost analytic
kernel random queries determine the points as soon as there are more equations than unknowns, n (d + C) / C queries.
Kernels of exponential type are solved by algebra (`kernels.matrix_pencil`), the cubic one too, with no more points
than dimensions (`kernels.cubic`); others are fitted (`kernels.descent`).
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vestige.core.cite import paper
from vestige.core.descent import Checkpoint
from vestige.core.outcome import OnStep, Outcome
from vestige.core.rng import spawn
from vestige.reconstruct.fingerprint import fingerprint
from vestige.reconstruct.kernels.bandwidth import find_bandwidth
from vestige.reconstruct.kernels.black_box import (
    BlackBox,
    BudgetSpentError,
    Scores,
    decimals_of,
    open_box,
    precision_warning,
)
from vestige.reconstruct.kernels.cubic import solve_cubic
from vestige.reconstruct.kernels.deflation import HELD_OUT, Found, keep, misfit, nothing, search
from vestige.reconstruct.kernels.descent import fit_machine, local_misfit
from vestige.reconstruct.kernels.functions import Exponential, Gaussian, Kernel, Laplace, Polynomial, parse_kernel
from vestige.reconstruct.kernels.journal import Journal
from vestige.reconstruct.kernels.result import QueryReconstruction

PROBES = 16
SINGLE = 4e-8  # rounding of single precision, root mean square, relative
SMALLEST_SINGLE = 1.4e-45
MANY = 8  # times the least number of queries, for a fit
CHECKS = 4  # held-out queries close to each fitted point
UNKNOWN_FAR = 1e8  # where every Gaussian is zero, for a bandwidth that is not known


def reconstruct_from_queries(
    predict: Callable[[Any], Any],
    kernel: Kernel | str,
    *,
    n_features: int,
    n: int | None = None,
    scores: Scores | str = Scores.RAW,
    centre: Float[Tensor, " d"] | None = None,
    tolerance: float = 1e-2,
    rounds: int = 6,
    max_points: int = 1_000,
    max_queries: int | None = None,
    reach: float | None = None,
    solver: str = "default",
    pool: Float[Tensor, "m d"] | None = None,
    bounds: tuple[float, float] | None = None,
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
        n_features: d.
        n: number of points with a non-zero coefficient; None reads it off the scores.
        scores: what the answers are, see `Scores`.
        centre: about the mean of the data, such as a public mean; None for zero. Answers with a constant b or rounded
            ones lose what lies far from it.
        tolerance: estimated error, relative to the distance from the centre, up to which a point counts as validated.
        rounds: sets of anchors; each after the first looks at what the points validated so far leave unexplained.
        max_points: where n is not known, how many points are looked for at most.
        max_queries: the attack stops before it asks more often than this.
        reach: distance from the centre within which the model answers sensibly, for one that refuses or clips others.
            Then a constant b is taken for zero, and there is one round. Exponential kernels with their gamma only.
        solver: "default" computes the points where the kernel is of exponential type or cubic and fits them otherwise;
            "published" fits them for every kernel, by the papers' descent, for inputs of about unit variance.
        pool: inputs to ask about when points are fitted, such as public images; None draws normal ones around centre.
        bounds: least and greatest value of an input, for the fit's penalty.
        steps: of the fit.
        generator: the queries are drawn from it.
        on_step: progress; `index` counts queries, `total` those that are planned.
        checkpoint: an object with save(tensors) and load() that keeps the answers. An attack that was killed, ran out
            of queries or met an error of `predict` goes on to the same end, and the model is asked again only what was
            not saved, and one query that shows whether it is the same model.

    Returns:
        The points, with an estimated error each.

    Raises:
        ValueError: scores that are none, a kernel that cannot be attacked so, or sizes that make no sense.

    Source: arXiv 2505.19019 for the setting; the algebra is ours.

    >>> x = torch.tensor([[0.0, 1.0], [2.0, -1.0], [1.0, 1.0]], dtype=torch.float64)
    >>> k, weight = Gaussian(0.3), torch.tensor([[1.0, 2.0], [-1.0, 1.0], [3.0, 1.0]], dtype=torch.float64)
    >>> found = reconstruct_from_queries(lambda z: k(z, x) @ weight, k, n_features=2)
    >>> torch.cdist(found.points, x).amin(0).max().item() < 1e-6
    True
    """
    chosen = parse_kernel(kernel) if isinstance(kernel, str) else kernel
    _check(n_features, n, tolerance, rounds, max_points, max_queries)
    if solver not in ("default", "published"):
        raise ValueError(f"solver={solver!r} given; allowed are 'default' and 'published'.")
    middle = _centre(centre, n_features)
    draw = spawn(generator, "queries")
    _check_reach(reach, chosen, solver)
    journal = Journal.load(checkpoint)
    try:
        box, notes = _open(
            predict, chosen, middle, Scores(scores), max_queries or math.inf, draw, on_step, reach, journal
        )
        return _solve(
            box,
            chosen,
            middle,
            draw,
            n,
            max_points,
            rounds if reach is None else 1,
            tolerance,
            notes,
            solver,
            pool,
            steps,
            bounds,
        )
    finally:  # answers were paid for
        journal.save()


def _solve(
    box: BlackBox,
    chosen: Kernel,
    middle: Tensor,
    draw: torch.Generator,
    n: int | None,
    max_points: int,
    rounds: int,
    tolerance: float,
    notes: list[str],
    solver: str,
    pool: Tensor | None,
    steps: int,
    bounds: tuple[float, float] | None,
) -> QueryReconstruction:
    outputs = len(box.offset) if box.offset is not None else 1
    if solver == "default" and isinstance(chosen, Polynomial) and chosen.degree == 3 and chosen.coef0:
        found = _cubic(box, chosen, middle, draw, outputs, n, max_points, tolerance)
        return _result(found, box, chosen, middle, tolerance, notes, method="cubic")
    if solver == "published" or not isinstance(chosen, Gaussian | Exponential):
        return _fitted(box, chosen, middle, pool, n, steps, bounds, tolerance, draw, notes)
    most = int(1.2 * (n or max_points)) + 2
    if isinstance(chosen, Gaussian) and chosen.gamma is None:
        chosen = Gaussian(find_bandwidth(box, middle, draw, outputs=outputs, most=most))
    found = search(
        box,
        chosen,
        middle,
        draw,
        outputs=outputs,
        n=n,
        tolerance=tolerance,
        rounds=rounds,
        most=most,
    )
    return _result(found, box, chosen, middle, tolerance, notes)


def _check(
    n_features: int, n: int | None, tolerance: float, rounds: int, max_points: int, max_queries: int | None
) -> None:
    counts = {"n_features": n_features, "n": n, "rounds": rounds, "max_points": max_points, "max_queries": max_queries}
    for name, value in counts.items():
        if value is not None and value < 1:
            raise ValueError(f"{name}={value} given; it counts something and must be 1 or more.")
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance={tolerance} given; a relative error in (0, 1) is allowed, such as 0.01.")


def _check_reach(reach: float | None, kernel: Kernel, solver: str) -> None:
    if reach is None:
        return
    if not 0 < reach < math.inf:
        raise ValueError(f"reach={reach} given; a positive distance is allowed. No limit? Leave it out.")
    known = isinstance(kernel, Exponential) or (isinstance(kernel, Gaussian) and kernel.gamma is not None)
    if solver != "default" or not known:
        raise ValueError(
            f"reach={reach} given for {kernel}, solver={solver!r}; it limits the queries of the algebra for Gaussian "
            "and exponential kernels with a known gamma. For a fit give a pool of inputs that the model answers."
        )


def _centre(centre: Tensor | None, d: int) -> Tensor:
    if centre is None:
        return torch.zeros(d, dtype=torch.float64)
    if centre.numel() != d or not bool(torch.isfinite(centre).all()):
        raise ValueError(f"centre has {centre.numel()} numbers; one input has n_features={d}, all finite.")
    return centre.detach().cpu().double().flatten()


def _open(
    predict: Callable[[Any], Any],
    kernel: Kernel,
    centre: Tensor,
    scores: Scores,
    most: float | int,
    draw: torch.Generator,
    on_step: OnStep | None,
    reach: float | None,
    journal: Journal,
) -> tuple[BlackBox, list[str]]:
    """The model after its first answers: their precision and their constant part are known."""
    d = len(centre)
    unit = torch.randn(PROBES, d, generator=draw, dtype=torch.float64)
    probes = centre + min(_reach(kernel, centre), (reach or math.inf) / (2 * d**0.5)) * unit
    box, answers = open_box(predict, d, scores, most, probes, on_step, journal)
    box.reach, box.centre = reach or math.inf, centre
    warning = precision_warning(answers)
    if bool((answers == answers.float().double()).all()):
        box.floor, box.quantum = SINGLE, SMALLEST_SINGLE
    elif (k := decimals_of(answers)) is not None:
        box.quantum = 0.29 * 10.0**-k  # standard deviation of a rounding error, for a step of 10^-k
    if scores is Scores.LOG:
        box.log_scale = float(answers.max())
    box.offset = torch.zeros(answers.shape[1], dtype=torch.float64)
    if isinstance(kernel, Gaussian | Laplace) and scores is not Scores.LOG and reach is None:
        distance = UNKNOWN_FAR
        if kernel.gamma is not None:
            extent = 800 / kernel.gamma if isinstance(kernel, Laplace) else (800 / kernel.gamma) ** 0.5
            distance = 3 * extent + 3 * float(centre.norm())
        far = centre + distance * unit[:3] / unit[:3].norm(dim=1, keepdim=True)
        constant = box.read(box.answers(far))
        if not bool((constant - constant[0]).abs().max() <= 1e-9 * constant.abs().max() + box.quantum * 4):
            raise ValueError(
                "far from every point the scores are not constant; for a Gaussian kernel they must be. Is it another "
                "kernel, or are the scores votes (scores='votes' for SVC with three classes and more)?"
            )
        box.offset = constant[0]
    return box, [warning] if warning else []


def _cubic(
    box: BlackBox,
    kernel: Polynomial,
    centre: Tensor,
    draw: torch.Generator,
    outputs: int,
    n: int | None,
    max_points: int,
    tolerance: float,
) -> Found:
    found, d = nothing(len(centre), outputs), len(centre)
    if n is not None and n > d:
        raise ValueError(
            f"n={n} points of {d} numbers; for a cubic kernel as many points as numbers come back at most. "
            "solver='published' fits them."
        )
    box.phase = "third differences"
    try:
        terms = solve_cubic(box, kernel, d, draw, n=n, most=int(1.2 * max_points) + 2)
        if n is None and terms.rank >= d:
            raise ValueError(
                f"the scores show {terms.rank} points or more of {d} numbers; for a cubic kernel fewer points than "
                "numbers come back. solver='published' with n fits them."
            )
        found.rank, found.full, found.singular_values = terms.rank, terms.full, terms.singular_values
        keep(found, terms, torch.zeros_like(centre), tolerance)
        found.misfit = misfit(box, kernel, found, draw)
    except BudgetSpentError:
        found.spent = True
    return found


def _fitted(
    box: BlackBox,
    kernel: Kernel,
    centre: Tensor,
    pool: Tensor | None,
    n: int | None,
    steps: int,
    bounds: tuple[float, float] | None,
    tolerance: float,
    draw: torch.Generator,
    notes: list[str],
) -> QueryReconstruction:
    d, outputs = len(centre), len(box.offset) if box.offset is not None else 1
    if n is None:
        raise ValueError(
            f"n is not given; for {type(kernel).__name__} the number of points cannot be read off, give n."
        )
    if isinstance(kernel, Gaussian) and kernel.gamma is None:
        raise ValueError("the published solver needs gamma; leave solver away, or give rbf:gamma=...")
    least = -(-n * (d + outputs) // outputs)
    spare = PROBES + CHECKS * n + HELD_OUT
    count = int(min(MANY * least, box.most - box.used - spare))
    if pool is not None:
        count = min(count, len(pool) - HELD_OUT)
    if count < least:
        raise ValueError(
            f"{max(0, count)} queries to fit {n} points of {d} numbers with {outputs} outputs; fewer than "
            f"n (d + C) / C = {least} do not determine them, and {MANY} times as many help. Raise max_queries or give "
            "a larger pool."
        )
    unit = torch.randn(count + HELD_OUT, d, generator=draw, dtype=torch.float64)
    every = centre + unit if pool is None else pool.detach().cpu().double()
    box.phase = "queries of the fit"
    z, unseen = every[:count], every[-HELD_OUT:]
    scores = box(z)
    box.journal.save()
    part = box.journal.part(f"fit {fingerprint([kernel, z, scores, n, steps, bounds])}")
    found = fit_machine(
        kernel, z, scores, n, steps=steps, bounds=bounds, draw=draw, on_step=box.on_step, checkpoint=part
    )
    error = local_misfit(box, kernel, found, draw, tries=CHECKS)
    right = box(unseen)
    rest = right - kernel(unseen, found.points) @ found.coefficients
    order = error.argsort()
    return QueryReconstruction(
        points=found.points[order],
        coefficients=found.coefficients[order],
        error=error[order],
        validated=error[order] <= tolerance,
        misfit=float(rest.norm() / right.norm()),
        rank=0,
        singular_values=error.new_empty(0),
        queries=box.used,
        kernel=kernel,
        centre=centre,
        offset=error.new_zeros(outputs) if box.offset is None else box.offset,
        method="optimisation",
        outcome=found.outcome,
        warnings=(*notes, "The error of a fitted point is what scores close to it leave unexplained, not a distance."),
        source=(paper("2505.19019"),),
    )


def _reach(kernel: Kernel, centre: Tensor) -> float:
    """Spread of the first queries: as far as the kernel reaches, where that is known."""
    if isinstance(kernel, Gaussian) and kernel.gamma is None:
        return 1e-3 * max(1.0, float(centre.norm())) / len(centre) ** 0.5
    return (kernel.rate * len(centre)) ** -0.5 if isinstance(kernel, Gaussian | Exponential) else 1.0


def _result(
    found: Found,
    box: BlackBox,
    kernel: Kernel,
    centre: Tensor,
    tolerance: float,
    notes: list[str],
    *,
    method: str = "pencil",
) -> QueryReconstruction:
    points = torch.cat([found.points, found.doubtful])
    error = torch.cat([found.error, found.doubtful_error])
    order = error.argsort()
    valid = error <= tolerance
    if found.full:
        notes.append(
            f"The scores show more than {found.rank} points, or the kernel is not {kernel}: with a wrong gamma every "
            "anchor seems to show a new point. Raise max_points, or leave gamma out."
        )
    if int(valid.sum()) < found.rank and not found.full:
        notes.append(f"The scores show {found.rank} points; {int(valid.sum())} passed the check.")
    if found.spent:
        notes.append(f"The allowed {box.most:,.0f} queries were spent after {box.used:,}.")
    outcome = Outcome.BUDGET_SPENT if found.spent else Outcome.STAGNATED
    if len(points) and int(valid.sum()) >= found.rank > 0:
        outcome = Outcome.CONVERGED
    return QueryReconstruction(
        points=points[order],
        coefficients=torch.cat([found.coefficients, found.doubtful_coefficients])[order],
        error=error[order],
        validated=valid[order],
        misfit=found.misfit,
        rank=found.rank,
        singular_values=found.singular_values,
        queries=box.used,
        kernel=kernel,
        centre=centre,
        offset=torch.zeros(0, dtype=torch.float64) if box.offset is None else box.offset,
        method=method,
        outcome=outcome,
        warnings=tuple(notes),
        source=(paper("2505.19019"),),
    )
