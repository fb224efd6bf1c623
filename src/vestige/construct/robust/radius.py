"""How far labels can be kept around points, by any network and by one of a given width (arXiv 2502.11162).

A function that is right on the l_p ball of radius r around every point exists exactly where balls of different labels
do not meet: r below half the smallest l_p distance between differently labeled points. A network of width k < d sees
its input through a first layer of rank k, so that it also needs those points apart after a projection. For N points in
R^d, delta apart in l_2, and rho = r / delta, with a_p = d^max(0, 1/2 - 1/p), the worst case allows

    rho a_p < (1/2) e^(-1/2) sqrt(m / d) N^(-2/m)      at width m + 3     (a random projection to R^m, derived here)
    rho a_p <= (1/4) e^(-1/2) sqrt((k-6) / d) N^(-2/(k-6))  at width k    (the paper's, as later work restates it)
    rho <= 4832 N^(-2/k)                                is forced by a width k < d, for large N (likewise)
    k >= 4 rho^2 min(N - 1, d)                          is forced by the points 0, e_1, .., e_d (derived here)

where for p < 2 the last two take rho / d^(1/p - 1/2).
"""

import math
import sys
from dataclasses import dataclass

import torch
from jaxtyping import Shaped
from torch import Tensor

from vestige.core.cite import Paper, paper
from vestige.core.threat import read_norm

PAPER = paper("2502.11162")
FORCED = 4832.0  # the constant of the paper's lower bound
SMALLEST, LARGEST = 1e-140, 1e140  # distances and coordinates whose squares are floats
BLOCK = 2**24  # numbers a block of differences may hold


@dataclass(frozen=True)
class WidthBounds:
    """Between which widths the narrowest network lies that keeps labels around the worst of all such point sets.

    Attributes:
        lower: no network that is narrower does it; the larger of the two bounds above. The paper's is for large N.
        upper: width of the network of `memorize_robustly`.
        published: width that the paper's theorem gives; None where it gives none.
        ceiling: relative_eps from which on no function does it, whatever its width: 1 / (2 a_p).
        source: the paper.
    """

    lower: int
    upper: int
    published: int | None
    ceiling: float
    source: tuple[Paper, ...] = (PAPER,)


def check_points(x: Tensor, y: Tensor) -> Tensor:
    """A copy of the points as rows in float64, which holds every value of a narrower type exactly."""
    if x.ndim < 2 or x.numel() == 0:
        raise ValueError(f"x has shape {tuple(x.shape)}; (points, features) with at least one of each is needed.")
    if y.shape != x.shape[:1] or y.is_complex():
        raise ValueError(
            f"{len(x)} points come with labels of shape {tuple(y.shape)}, {y.dtype}; one number a point is needed."
        )
    if x.is_complex() or (not x.is_floating_point() and bool((x.double().abs() > 2**53).any())):
        raise ValueError(f"x is {x.dtype}; real values that float64 holds are needed. Divide large integers first.")
    rows = x.detach().cpu().reshape(len(x), -1).double().clone()
    for name, values in (("x", rows), ("y", y.detach().cpu().double())):
        if not bool(torch.isfinite(values).all()):
            raise ValueError(
                f"{name} holds {int((~torch.isfinite(values)).sum())} NaN or infinite values; remove those points."
            )
    return rows


def closest_pair(rows: Tensor, y: Tensor, p: float) -> tuple[float, int, int]:
    """Smallest l_p distance between differently labeled points, and where it is; inf and (0, 0) for one label.

    Distances are measured in units of the largest coordinate, so that they do not overflow.
    """
    unit = 2.0 ** (math.frexp(float(rows.abs().max()))[1] - 1)
    rows = rows / unit
    best, place = math.inf, (0, 0)
    step = max(1, BLOCK // rows.numel())
    for begin in range(0, len(rows), step):
        part = slice(begin, begin + step)
        apart = lengths(rows[part, None] - rows[None], p)
        apart[y[part, None] == y[None]] = math.inf
        least = float(apart.min())
        if least < best:
            first, second = divmod(int(apart.argmin()), len(rows))
            best, place = least, (begin + first, second)
    return min(best * unit, sys.float_info.max) if math.isfinite(best) else best, *place


def lengths(differences: Tensor, p: float) -> Tensor:
    """l_p norms along the last axis, in units of the largest entry: its p-th power is a float for no large p.

    >>> [f"{v:.3g}" for v in lengths(torch.tensor([[3.8, 0.0], [1e-9, 1e-9]]), 600.0).tolist()]
    ['3.8', '1e-09']
    """
    largest = differences.abs().amax(-1)
    if math.isinf(p):
        return largest
    return largest * torch.linalg.vector_norm(differences / largest.clamp(min=SMALLEST)[..., None], ord=p, dim=-1)


def max_robust_radius(
    x: Shaped[Tensor, " n *feature"], y: Shaped[Tensor, " labels"], *, norm: float | int | str = 2
) -> float:
    """The radius that no function exceeds: half the smallest l_p distance between differently labeled points.

    Any radius below it is reached by `memorize_robustly(..., projection="identity")` for p in {1, 2, inf}.

    Args:
        x: points, in the space where the balls are meant.
        y: labels.
        norm: exponent p of the balls, 1 to inf.

    Returns:
        The radius in float64, inf where all labels agree.

    Raises:
        ValueError: values that are not finite, labels that do not fit, two equal points with different labels.

    >>> max_robust_radius(torch.tensor([[0.0, 0.0], [3.0, 4.0]]), torch.tensor([0, 1]))
    2.5
    """
    rows = check_points(x, y)
    apart, *pair = closest_pair(rows, y, read_norm(norm))
    refuse_conflict(apart, pair, rows, y)
    return apart / 2


def refuse_conflict(apart: float, pair: list[int], rows: Tensor, y: Tensor) -> None:
    """Refuse two equal points with different labels, and points on a scale where floats cannot tell."""
    largest = float(rows.abs().max())
    if math.isinf(apart):
        return
    if torch.equal(rows[pair[0]], rows[pair[1]]):
        raise ValueError(
            f"points {pair[0]} and {pair[1]} are equal, with labels {y[pair[0]].item()} and {y[pair[1]].item()}; no "
            "function has both. Remove one, or give both the same label."
        )
    if not (apart > SMALLEST and largest < LARGEST):
        raise ValueError(
            f"points {pair[0]} and {pair[1]} are {apart:.3g} apart, with coordinates up to {largest:.3g}; more than "
            f"{SMALLEST:g} apart and below {LARGEST:g} are allowed, so that squares are floats. Multiply the points by "
            "a power of two."
        )


def stretch(d: int, p: float) -> float:
    """a_p = max |u|_2 / |u|_p over R^d.

    >>> stretch(4, 1.0), stretch(4, 2.0), stretch(4, math.inf)
    (1.0, 1.0, 2.0)
    """
    return d ** max(0.0, 0.5 - 1 / p)


def promised_separation(n: int, d: int, m: int) -> float:
    """Share of their separation that some projection of n points from R^d to R^m keeps, whatever the points.

    e^(-1/2) sqrt(m / d) n^(-2/m), at least 1 for m = d: a random projection shrinks a vector's square below beta m / d
    with probability at most (beta e^(1 - beta))^(m/2), and there are fewer than n^2 / 2 pairs.
    """
    return 1.0 if m >= d else math.exp(-0.5) * math.sqrt(m / d) * n ** (-2 / m)


def width_bounds(n: int, d: int, relative_eps: float, *, norm: float | int | str = 2) -> WidthBounds:
    """The width that robust memorization needs and suffices with, in the worst case over point sets.

    Args:
        n: number of points.
        d: their dimension.
        relative_eps: radius of the balls over the l_2 separation of the points: rho of the docstring above.
        norm: exponent p of the balls, 1 to inf.

    Raises:
        ValueError: sizes that are not positive, or a relative_eps from 1 / (2 a_p) on, which no function reaches.

    >>> width_bounds(64, 200, 0.1).upper
    38
    >>> width_bounds(64, 200, 0.49).upper
    203
    """
    p = read_norm(norm)
    if n < 1 or d < 1 or not relative_eps > 0:
        raise ValueError(
            f"n={n}, d={d}, relative_eps={relative_eps} given; n and d must be at least 1 and relative_eps positive."
        )
    ceiling = 1 / (2 * stretch(d, p))
    if not relative_eps < ceiling:
        raise ValueError(
            f"relative_eps={relative_eps:g} given; below {ceiling:g} is allowed in dimension {d} with norm {p:g}: "
            "balls of radius relative_eps * separation around two points would meet."
        )
    wanted, narrow = relative_eps * stretch(d, p), relative_eps / d ** max(0.0, 1 / p - 0.5)
    ours = next((m for m in range(1, d) if promised_separation(n, d, m) / 2 > wanted), d) + 3
    theirs = (k for k in range(7, d + 6) if math.exp(-0.5) / 4 * math.sqrt((k - 6) / d) * n ** (-2 / (k - 6)) >= wanted)
    forced = 2 * math.log(n) / math.log(FORCED / narrow)
    lower = max(1.0, min(float(d), forced), 4 * narrow**2 * min(n - 1, d))
    return WidthBounds(math.ceil(lower), ours, next(theirs, None), ceiling)
