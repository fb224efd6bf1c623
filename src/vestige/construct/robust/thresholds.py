"""The numbers of a network that is right on balls, chosen and proved in exact arithmetic (arXiv 2502.11162).

Let P be the first layer, |P u| <= a |u|_p, and c_i a short number near P x_i: |P x_i - c_i| <= e, while c_i and c_j of
different labels are at least D_0 apart. On the ball of radius r around x_i, P x is then within s = a r + e of c_i, and
at least D = D_0 - s from every c_j of another label. Where s < D, a test q_i separates the two sides:

    l_2:    q_i = sum_j h(P x - c_i)_j,  t^2 <= h(t) <= t^2 + tau^2 / 4  for |t| <= (S + 1) tau,
            h(t) = tau |t| + 2 tau sum_{s=1..S} (|t| - s tau)_+          (the chords of t^2 between multiples of tau)
            q_i <= s^2 + m tau^2 / 4 on its own ball,   q_i >= D^2 on balls of other labels if D <= (S + 1) tau
    l_1:    q_i = |P x - c_i|_1 <= s,  >= D               l_inf: likewise, P the identity in both

A limit U and a slope K with  (largest own q) <= U  and  U + 1 / K <= (least other q)  make the clipped value
(1 - K (q_i - U)_+)_+ equal to 1 on the own ball and 0 on the others. All numbers here are dyadic rationals.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from vestige.construct.exact.rounding import ROOT_BITS, root_above, root_below, short_between, unit_of

PROMISE = "2502.11162, constants derived here"
GRID = 20  # centers are rounded to 2**-GRID of their least distance
KNOT_SHARE = Fraction(3, 4)  # of the gap that the chords may fill: more makes fewer knots and steeper slopes


@dataclass(frozen=True, eq=False)
class Centers:
    """Short centers: integers / 2**exponent, how far they are from the points, and how far from each other.

    `offset` and `apart` are proved bounds in the norm of the test.
    """

    integers: NDArray[np.object_]
    exponent: int
    offset: Fraction
    apart: Fraction
    pair: tuple[int, int]


@dataclass(frozen=True)
class Thresholds:
    """tau, S + 1, U, K and the shift B of the first layer; s and D, the two sides that they separate."""

    tau: Fraction
    knots: int
    limit: Fraction
    slope: Fraction
    shift: Fraction
    inside: Fraction
    outside: Fraction


def centers_of(images: NDArray[np.object_], exponent: int, labels: list, p: float) -> Centers:
    """Round images, (n, m) integers / 2**exponent, to a grid that is fine against the least distance between labels.

    The norm of the test has the exponent p: 1, 2 or inf.
    """
    apart, pair = least_apart(images, labels, p)
    if not apart:
        raise ValueError(
            f"the projection brings the differently labeled points {pair[0]} and {pair[1]} together; give a larger "
            "width, another generator, or projection='identity'."
        )
    drop = max(0, int(apart).bit_length() // (2 if p == 2 else 1) - 1 - GRID - images.shape[1].bit_length())
    half = (1 << drop) >> 1
    short = (images + half) >> drop if drop else images
    away = [_size(row, p) for row in images - short * (1 << drop)]
    least, pair = least_apart(short, labels, p)
    unit, coarse = Fraction(1, 1 << exponent), exponent - drop
    return Centers(
        short, coarse, _length(max(away), unit, p, root_above), _length(least, unit_of(coarse), p, root_below), pair
    )


def _length(size: int, unit: Fraction, p: float, root) -> Fraction:
    return root(size * unit * unit) if p == 2 else size * unit


def _size(row: NDArray[np.object_], p: float) -> int:
    """|row|_p, squared for p = 2."""
    values = [abs(int(v)) for v in row]
    return sum(v * v for v in values) if p == 2 else sum(values) if p == 1 else max(values)


def least_apart(points: NDArray[np.object_], labels: list, p: float) -> tuple[int, tuple[int, int]]:
    """Smallest |x_i - x_j|_p (squared for p = 2) over pairs of different labels, exactly, and the pair."""
    reach = max(abs(int(v)) for v in points.flat) * 2
    fits = (reach * reach if p == 2 else reach) * points.shape[1] < 1 << 62
    numbers = points.astype(np.int64 if fits else object)
    names = {label: code for code, label in enumerate(dict.fromkeys(labels))}
    codes = np.array([names[label] for label in labels])
    best, pair = None, (0, 0)
    for i in range(len(numbers) - 1):
        others = np.flatnonzero(codes[i + 1 :] != codes[i]) + i + 1
        if not len(others):
            continue
        moved = np.abs(numbers[others] - numbers[i])
        sizes = (moved * moved).sum(1) if p == 2 else moved.sum(1) if p == 1 else moved.max(1)
        place = int(sizes.argmin())
        if best is None or int(sizes[place]) < best:
            best, pair = int(sizes[place]), (i, int(others[place]))
    assert best is not None
    return best, pair


def choose_thresholds(centers: Centers, inside: Fraction, p: float) -> Thresholds:
    """All numbers for balls whose images reach `inside` = a r + e < `centers.apart` / 2 from the centers."""
    m, outside = centers.integers.shape[1], centers.apart - inside
    tau, knots = Fraction(1), 1
    if p == 2:
        gap = outside * outside - inside * inside
        widest = root_below(4 * KNOT_SHARE * gap / m)
        tau = short_between(widest * Fraction(15, 16), widest)
        knots = math.ceil(outside * (1 + Fraction(1, 1 << ROOT_BITS)) / tau)
    own, other = sides(inside, outside, tau, m, p)
    limit = short_between(own + (other - own) / 4, own + (other - own) / 2)
    steep = 1 / (other - limit)
    slope = short_between(steep * Fraction(17, 16), steep * Fraction(9, 8))
    needed = lowest_shift(centers, inside)
    shift = short_between(needed * Fraction(65, 64), needed * Fraction(9, 8)) if needed > 0 else Fraction(0)
    return Thresholds(tau, knots, limit, slope, shift, inside, outside)


def sides(inside: Fraction, outside: Fraction, tau: Fraction, m: int, p: float) -> tuple[Fraction, Fraction]:
    """(largest q on the own ball, least q on balls of other labels)."""
    if p == 2:
        return inside * inside + m * tau * tau / 4, outside * outside
    return inside, outside


def lowest_shift(centers: Centers, inside: Fraction) -> Fraction:
    """The shift from which on no carried number is negative on a ball."""
    return inside - min(int(v) for v in centers.integers.flat) * unit_of(centers.exponent)
