"""A first layer in short exact numbers, and how much it stretches a ball, proved."""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vestige.construct.exact.points import integer_points
from vestige.construct.exact.rounding import root_above
from vestige.construct.robust.projection import Projection, optimized_projection, random_projection
from vestige.construct.robust.radius import stretch
from vestige.core.outcome import OnStep

BITS = 24  # of an entry of P: they cost the radius a part in a million, and longer ones cost time
FINEST = 16  # norms are rounded up to multiples of 1 / FINEST, which makes the stretch a root of integers


@dataclass(frozen=True, eq=False)
class FirstLayer:
    """P = (m, d) integers / 2**exponent, with |P u|_norm <= gain |u|_p proved; the exponent is 0 for the identity.

    The norm is that of the test that follows: 2, or p itself where P is the identity and p is 1 or inf.
    """

    integers: NDArray[np.object_]
    exponent: int
    gain: Fraction
    norm: float

    def rows(self) -> list[dict[int, Fraction | int]]:
        """Sparse rows of P."""
        below = 1 << self.exponent
        return [
            {k: Fraction(int(v), below) if self.exponent else int(v) for k, v in enumerate(row) if v}
            for row in self.integers
        ]

    def images(self, rows: Tensor) -> tuple[NDArray[np.object_], int]:
        """P x for each point: integers and the exponent of their unit."""
        points, exponent = integer_points(rows, rows.shape[1])
        if not self.exponent:  # the identity
            return points.astype(object), exponent
        reach = int(np.abs(points).max()) * int(np.abs(self.integers).sum(1).max())
        kind = np.int64 if reach < 1 << 62 else object
        return (points.astype(kind) @ self.integers.T.astype(kind)).astype(object), exponent + self.exponent


def choose_first_layer(
    rows: Tensor,
    y: Tensor,
    m: int,
    p: float,
    projection: Projection,
    generator: torch.Generator | None,
    on_step: OnStep | None,
) -> FirstLayer:
    """The identity for m = d, else a projection of the kind asked for, rounded to BITS bits."""
    d = rows.shape[1]
    if m == d:
        direct = p in (1, math.inf)
        gain = Fraction(1) if direct else stretch_above(d, p)
        return FirstLayer(np.eye(d, dtype=int).astype(object), 0, gain, p if direct else 2.0)
    if projection is Projection.OPTIMIZED:
        drawn = optimized_projection(rows, y, m, p, generator=generator, on_step=on_step)
    else:
        drawn = random_projection(rows, y, m, p, generator=generator)
    integers = (drawn * 2**BITS).round().long().numpy().astype(object)
    return FirstLayer(integers, BITS, _gain(integers, p), 2.0)


def _gain(integers: NDArray[np.object_], p: float) -> Fraction:
    """An upper bound of max |P u|_2 over |u|_p = 1.

    p = 1: the longest column, which is exact. Else |P|_2 a_p with the eigenvalues of P P^T bounded by its row sums
    (Gershgorin); for p = inf also the l_1 norms of the rows, if that is less.
    """
    one = 1 << 2 * BITS
    if p == 1:
        return root_above(Fraction(int((integers * integers).sum(0).max()), one))
    spectral = root_above(Fraction(int(np.abs(integers @ integers.T).sum(1).max()), one))
    bound = spectral * stretch_above(integers.shape[1], p)
    if p == math.inf:
        sums = np.abs(integers).sum(1)
        bound = min(bound, root_above(Fraction(int((sums * sums).sum()), one)))
    return bound


def stretch_above(d: int, p: float) -> Fraction:
    """A rational number at least a_p = d^max(0, 1/2 - 1/p), checked in integers; exact for p up to 2.

    >>> stretch_above(9, float("inf")), stretch_above(9, 1.5)
    (Fraction(3, 1), Fraction(1, 1))
    """
    if p <= 2:
        return Fraction(1)
    if p > 64:
        return root_above(Fraction(d))
    power = math.ceil(p * FINEST)  # a_p grows with p
    bound = Fraction(math.ceil(stretch(d, power / FINEST) * (1 + 1e-13) * 2**48), 2**48)
    assert bound ** (2 * power) >= d ** (power - 2 * FINEST)
    return bound
