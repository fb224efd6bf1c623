"""Interval arithmetic on arrays: every operation is rounded outward, so that the true value stays inside.

IEEE arithmetic and square roots are rounded to the nearest number, and one step outward covers that. The arctangent of
the C library is taken to be off by at most four units in the last place, which is more than any known one is.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Numbers = Array | np.float64 | float
EPS = float(np.finfo(np.float64).eps)


def _down(x: Numbers) -> Array:
    return np.asarray(np.nextafter(x, -np.inf))


def _up(x: Numbers) -> Array:
    return np.asarray(np.nextafter(x, np.inf))


@dataclass(frozen=True, eq=False)
class Interval:
    """All numbers from `low` to `high`, entry by entry."""

    low: Array
    high: Array

    @classmethod
    def around(cls, x: Array, radius: float = 0.0) -> "Interval":
        """Everything within `radius` of each entry."""
        return _interval(x, x) if radius == 0 else _interval(_down(x - radius), _up(x + radius))

    def __getitem__(self, index: object) -> "Interval":
        return _interval(self.low[index], self.high[index])  # type: ignore[index]

    def __neg__(self) -> "Interval":
        return _interval(-self.high, -self.low)

    def __add__(self, other: "Interval") -> "Interval":
        return _interval(_down(self.low + other.low), _up(self.high + other.high))

    def __sub__(self, other: "Interval") -> "Interval":
        return self + -other

    def __mul__(self, other: "Interval") -> "Interval":
        ends = [a * b for a in (self.low, self.high) for b in (other.low, other.high)]
        return _interval(_down(np.minimum.reduce(ends)), _up(np.maximum.reduce(ends)))

    def over(self, other: "Interval") -> "Interval":
        """The quotient by positive numbers; infinite where they are not."""
        bottom = np.where(other.low > 0, other.low, np.nan)
        ends = [a / b for a in (self.low, self.high) for b in (bottom, np.where(other.low > 0, other.high, np.nan))]
        low, high = _down(np.minimum.reduce(ends)), _up(np.maximum.reduce(ends))
        return _interval(np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high))

    def square(self) -> "Interval":
        """Squares, never below 0."""
        big = np.maximum(abs(self.low), abs(self.high))
        small = np.where((self.low <= 0) & (self.high >= 0), 0.0, np.minimum(abs(self.low), abs(self.high)))
        return _interval(np.maximum(_down(small * small), 0.0), _up(big * big))

    def sqrt(self) -> "Interval":
        """Roots of numbers that are not negative."""
        return _interval(np.maximum(_down(np.sqrt(np.maximum(self.low, 0.0))), 0.0), _up(np.sqrt(self.high)))

    def sum(self, axis: int) -> "Interval":
        """Sums; m terms in any order are off by less than m eps times the sum of their sizes."""
        slack = 2 * self.low.shape[axis] * EPS
        low, high = (x.sum(axis) for x in (self.low, self.high))
        return _interval(
            _down(low - slack * abs(self.low).sum(axis)),
            _up(high + slack * abs(self.high).sum(axis)),
        )

    def clip(self, low: float, high: float) -> "Interval":
        """What is known to lie between two numbers."""
        return _interval(np.clip(self.low, low, high), np.clip(self.high, low, high))

    def middle(self) -> Array:
        """One number of each."""
        return np.asarray(self.low + (self.high - self.low) / 2)

    def radius(self) -> Array:
        """A bound on the distance from there to every number of it."""
        return _up(np.maximum(self.high - self.middle(), self.middle() - self.low) * (1 + 4 * EPS))

    def contains(self, x: Array) -> bool:
        """Whether all entries lie inside."""
        return bool(((self.low <= x) & (x <= self.high)).all())


def _interval(low: Numbers, high: Numbers) -> Interval:
    """Arithmetic on arrays of one number returns numbers, which are made arrays again."""
    return Interval(np.asarray(low), np.asarray(high))


def constant(x: float) -> Interval:
    """One number that float64 holds exactly."""
    return _interval(x, x)


PI = _interval(math.pi, math.nextafter(math.pi, math.inf))  # math.pi is below pi
TWO_PI = _interval(2 * PI.low, 2 * PI.high)


def angle(opposite: Interval, adjacent: Interval) -> Interval:
    """The angle in [0, pi / 2] with these two sides, neither negative."""
    low, high = np.arctan2(opposite.low, adjacent.high), np.arctan2(opposite.high, adjacent.low)
    return _interval(np.maximum(low * (1 - 8 * EPS), 0.0), _up(high * (1 + 8 * EPS)))
