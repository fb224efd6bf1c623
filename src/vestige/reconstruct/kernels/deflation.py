"""Deflation: points that pass the check are kept and their part of the scores is subtracted; the next round starts at
the estimate where the remainder is largest."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from vestige.reconstruct.kernels.black_box import BlackBox, BudgetSpentError
from vestige.reconstruct.kernels.cubic import solve_cubic
from vestige.reconstruct.kernels.functions import Exponential, Gaussian, Kernel, Polynomial, squared_distances
from vestige.reconstruct.kernels.matrix_pencil import Terms, solve
from vestige.reconstruct.kernels.task import Task

SAME = 1e-2  # distance, relative to the nearer point's from the center, within which two estimates are one point
HELD_OUT = 64  # queries that measure what is missing
DONE = 1e-5  # share of the scores left unexplained at which nothing is looked for any more


@dataclass(eq=False)
class Found:
    """Points kept so far, those that failed the check, and what the rounds reported."""

    points: Float[Tensor, "k d"]
    coefficients: Float[Tensor, "k out"]
    error: Float[Tensor, " k"]
    doubtful: Float[Tensor, "j d"]
    doubtful_coefficients: Float[Tensor, "j out"]
    doubtful_error: Float[Tensor, " j"]
    misfit: float = float("nan")
    rank: int = 0
    full: bool = False
    singular_values: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.float64))
    spent: bool = False


def search(task: Task, kernel: Gaussian | Exponential, rounds: int) -> Found:
    """All rounds; every estimate that has finite coordinates is in the result, checked or not."""
    box, draw, outputs = task.box, task.generator, task.outputs
    found = nothing(task.d, outputs)
    tried: list[Tensor] = []
    try:
        for k in range(rounds):
            place = task.center if k == 0 else _strongest(box, kernel, found, tried)
            if place is None:
                break
            tried.append(place)
            first, most, n = 32, task.most, task.n
            if k > 0:
                first, most, n = 8, max(32, min(most, len(found.doubtful) * 2 + 16)), None
            terms = solve(box, kernel, place, draw, outputs=outputs, n=n, first=first, most=most)
            if k == 0:
                found.rank, found.full, found.singular_values = terms.rank, terms.full, terms.singular_values
            keep(found, terms, place, task.tolerance)
            _subtract(box, kernel, found)
            found.misfit = misfit(box, kernel, found, draw)
            if found.misfit <= DONE or not len(found.points):
                break
    except BudgetSpentError:
        found.spent = True
    return found


def search_cubic(task: Task, kernel: Polynomial) -> Found:
    """The one round that a cubic kernel needs.

    Raises:
        ValueError: more points than dimensions.
    """
    found, d = nothing(task.d, task.outputs), task.d
    if task.n is not None and task.n > d:
        raise ValueError(
            f"n={task.n} given for inputs of {d} numbers; a cubic kernel gives back at most as many points as an "
            "input has numbers. solver='published' fits them."
        )
    task.box.phase = "third differences"
    try:
        most = int(1.2 * task.n_candidates) + 2
        terms = solve_cubic(task.box, kernel, d, task.generator, n=task.n, most=most)
        if task.n is None and terms.rank >= d:
            raise ValueError(
                f"the scores show {terms.rank} points or more of {d} numbers; a cubic kernel gives back fewer points "
                "than an input has numbers. solver='published' with n fits them."
            )
        found.rank, found.full, found.singular_values = terms.rank, terms.full, terms.singular_values
        keep(found, terms, torch.zeros_like(task.center), task.tolerance)
        found.misfit = misfit(task.box, kernel, found, task.generator)
    except BudgetSpentError:
        found.spent = True
    return found


def nothing(d: int, outputs: int) -> Found:
    """Before the first round."""
    none, empty = torch.empty(0, d, dtype=torch.float64), torch.empty(0, dtype=torch.float64)
    return Found(none, none.new_empty(0, outputs), empty, none, none.new_empty(0, outputs), empty)


def keep(found: Found, terms: Terms, center: Float[Tensor, " d"], tolerance: float) -> None:
    """Add what a round gave: each point once, those that pass the check apart from the others."""
    finite = torch.isfinite(terms.points).all(1) & torch.isfinite(terms.coefficients).all(1)
    good = finite & (terms.error <= tolerance)
    radius = (terms.points - center).norm(dim=1)
    for i in (terms.error.where(good, torch.inf)).argsort().tolist():
        if not bool(good[i]):
            break
        near = (found.points - terms.points[i]).norm(dim=1) <= SAME * radius[i]
        if not bool(near.any()):
            found.points = torch.cat([found.points, terms.points[i : i + 1]])
            found.coefficients = torch.cat([found.coefficients, terms.coefficients[i : i + 1]])
            found.error = torch.cat([found.error, terms.error[i : i + 1]])
    rest = finite & ~good
    points = torch.cat([found.doubtful, terms.points[rest]])
    far = _away(points, found.points)
    found.doubtful = points[far]
    found.doubtful_coefficients = torch.cat([found.doubtful_coefficients, terms.coefficients[rest]])[far]
    found.doubtful_error = torch.cat([found.doubtful_error, terms.error[rest]])[far]


def _away(points: Tensor, kept: Tensor) -> Tensor:
    """Which points are none of those kept."""
    if not len(kept) or not len(points):
        return torch.ones(len(points), dtype=torch.bool)
    nearest = squared_distances(points, kept).amin(1).sqrt()
    return nearest > SAME * points.norm(dim=1)


def _subtract(box: BlackBox, kernel: Gaussian | Exponential, found: Found) -> None:
    if len(found.points):
        points, coefficients = found.points, found.coefficients
        accuracy = 30 * float(found.error.median()) + 1e-13
        box.known = (lambda z: kernel(z, points) @ coefficients, accuracy)


def held_out(found: Found, draw: torch.Generator, count: int = HELD_OUT) -> Float[Tensor, "m d"]:
    """Queries that no step of the attack made: between two of the points found, a little beside the line."""
    every = torch.cat([found.points, found.doubtful]) if len(found.points) < 2 else found.points
    pick = torch.randint(len(every), (2, count), generator=draw)
    share = torch.rand(count, 1, generator=draw, dtype=torch.float64)
    z = every[pick[0]] * share + every[pick[1]] * (1 - share)
    return z + 0.05 * every.std(0, correction=0) * torch.randn(z.shape, generator=draw, dtype=torch.float64)


def misfit(box: BlackBox, kernel: Kernel, found: Found, draw: torch.Generator) -> float:
    """Share of the scores at held-out queries that the points found do not explain."""
    if not len(found.points):
        return 1.0
    box.phase = "check"
    z = box.within(held_out(found, draw))
    rest, part = box(z), kernel(z, found.points) @ found.coefficients
    whole = rest + part
    if box.known is None:
        whole, rest = rest, rest - part
    return float(rest.norm() / whole.norm())


def _strongest(
    box: BlackBox, kernel: Gaussian | Exponential, found: Found, tried: list[Tensor]
) -> Float[Tensor, " d"] | None:
    """The estimate, of those that failed, at which the scores left over are largest; None where none is new."""
    if not len(found.doubtful):
        return None
    fresh = _away(found.doubtful, torch.stack(tried))
    if not bool(fresh.any()):
        return None
    places = found.doubtful[fresh]
    box.phase = "what is left"
    return places[int(box(places).norm(dim=1).nan_to_num(0.0).argmax())]
