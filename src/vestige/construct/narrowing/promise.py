"""What is asked of an approximate narrow network, and what cannot be asked."""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

TOLERANCE = DELTA = 0.01
Given = float | int | None


@dataclass(frozen=True)
class Promise:
    """The options of `narrow`, in range and with their defaults."""

    tolerance: float
    delta: float
    radius: float
    density: float | None
    weight_bound: int | None


def read_promise(
    inputs: int,
    points: NDArray[np.float64] | None,
    *,
    tolerance: Given,
    delta: Given,
    radius: Given,
    density: Given,
    weight_bound: int | None,
) -> Promise:
    """Check them; the radius comes from the points where it is not given."""
    error, share = float(TOLERANCE if tolerance is None else tolerance), float(DELTA if delta is None else delta)
    if not 0 < error < math.inf:
        raise ValueError(f"tolerance={tolerance} given; tolerance must be positive and finite, such as 0.01.")
    if not 0 < share < 1:
        raise ValueError(f"delta={delta} given; delta is a probability between 0 and 1, such as 0.01.")
    if weight_bound is not None and (weight_bound < 2 or weight_bound & (weight_bound - 1)):
        raise ValueError(f"weight_bound={weight_bound} given; a power of two from 2 on is needed: 2 would work.")
    side = _box(points, radius)
    if density is not None:
        _check_density(float(density), side, inputs)
    return Promise(error, share, side, None if density is None else float(density), weight_bound)


def _box(points: NDArray[np.float64] | None, radius: Given) -> float:
    reach = 0.0 if points is None else float(abs(points).max())
    if radius is None and not reach:
        raise ValueError(
            "no radius given, and no inputs to read it off; give radius=A for inputs in [-A, A] (--radius), or x "
            "(--data)."
        )
    side = reach if radius is None else float(radius)
    if not 2.0**-100 < side < 2.0**100:
        raise ValueError(f"radius={radius} given; radius must be positive, such as 1.0 for inputs in [-1, 1].")
    if not reach <= side:
        raise ValueError(f"x reaches {reach:g}, radius={side:g} was given; radius={reach!r} would work.")
    return side


def _check_density(density: float, radius: float, inputs: int) -> None:
    if not (0 < density < math.inf and Fraction(density) * (2 * Fraction(radius)) ** inputs >= 1):
        raise ValueError(
            f"density={density} given; no distribution on [-{radius:g}, {radius:g}]^{inputs} is below "
            f"{(2 * radius) ** -inputs:g} everywhere. That is the uniform one's, which density=None stands for."
        )
