"""One integer key a point: an exact projection to a line on which points are at least 2 apart.

Stage I of arXiv 2110.03187 (proof of Theorem 3.1). Random integer directions take the place of the paper's existence
lemma; the one with the smallest range over gap gives the shortest keys.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch

from vestige.construct.exact.rounding import unit_of
from vestige.core.rng import spawn

DIRECTIONS = 64  # the best of 64 saves about log2(64) of the 2 log2(n) bits of a key
DIRECTION_BITS = 16
SCALE_BITS = 8  # of the scale's mantissa: gaps exceed 2 by less than one part in 128
MOST_BITS = 4096


@dataclass(frozen=True, eq=False)
class Keys:
    """z = <weights, x> + bias, the nearest integers to it, and the bits of the largest; the least z is in [2, 3)."""

    weights: tuple[Fraction, ...]
    bias: int
    values: np.ndarray
    bits: int


def keys_of(integers: np.ndarray, exponent: int, generator: torch.Generator | None) -> Keys:
    """Keys of distinct points, given as (n, d) integers over 2**exponent; the generator draws directions."""
    bits = DIRECTION_BITS
    while True:
        for direction in _directions(integers, exponent, bits, generator):
            projected = _project(integers, direction)
            gap = _least_gap(projected)
            if gap:
                return _scaled(projected, direction, gap, exponent)
        # Distinct points stay distinct for almost all directions once these have enough bits.
        assert bits < MOST_BITS
        bits *= 2


def _directions(integers: np.ndarray, exponent: int, bits: int, generator: torch.Generator | None) -> list[list[int]]:
    """Integer directions, the most promising first by a projection in floats."""
    d = integers.shape[1]
    if d == 1:
        return [[1]]
    digits = torch.randint(0, 1 << 16, (DIRECTIONS, d, bits // 16), generator=spawn(generator, "directions", str(bits)))
    rows = [[_joined(word) - (1 << (bits - 1)) for word in row] for row in digits.tolist()]
    # Scaled to at most 1, so that no float overflows.
    reach = max(int(abs(integers).max()), 1)
    points = integers.astype(np.float64) / reach if reach < 1 << 1000 else (integers >> (reach.bit_length() - 1000))
    points = np.asarray(points, dtype=np.float64)
    floats = np.array([[value / (1 << bits) for value in row] for row in rows])
    quality = []
    for floating in floats:
        z = np.sort(points @ floating)
        quality.append(float(np.diff(z).min() / max(z[-1] - z[0], 1e-300)) if len(z) > 1 else 1.0)
    return [rows[k] for k in np.argsort(quality, kind="stable")[::-1]]


def _joined(words: list[int]) -> int:
    return sum(word << (16 * k) for k, word in enumerate(words))


def _project(integers: np.ndarray, direction: list[int]) -> np.ndarray:
    reach = int(abs(integers).max()) * sum(map(abs, direction))
    if integers.dtype != object and reach < 1 << 62:
        return integers @ np.array(direction, dtype=np.int64)
    total = np.zeros(len(integers), dtype=object)
    for k, weight in enumerate(direction):  # a column at a time: objects for all would fill the memory
        total = total + integers[:, k].astype(object) * weight
    return total


def _least_gap(projected: np.ndarray) -> int:
    return int(np.diff(np.sort(projected)).min()) if len(projected) > 1 else 1


def _scaled(projected: np.ndarray, direction: list[int], gap: int, exponent: int) -> Keys:
    wanted = Fraction(2 << exponent, gap)
    shift = SCALE_BITS - (wanted.numerator.bit_length() - wanted.denominator.bit_length())
    scale = -(-wanted // unit_of(shift)) * unit_of(shift)
    factor = scale / (1 << exponent)
    bias = 2 - (factor * int(projected.min())).__floor__()
    over, under = factor.as_integer_ratio()
    halves = 2 * (projected.astype(object) * over + bias * under) + under  # 2 under (z + 1/2)
    keys = halves // (2 * under)
    return Keys(tuple(scale * weight for weight in direction), bias, keys, int(keys.max()).bit_length())
