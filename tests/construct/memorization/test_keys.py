"""Keys are the exact projection, at least 2 apart before rounding, and as short as the best direction makes them."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestige.construct.exact.points import distinct, integer_points
from vestige.construct.memorization.keys import keys_of


def projected(points, keys):
    return [sum(w * Fraction(v) for w, v in zip(keys.weights, row, strict=True)) + keys.bias for row in points.tolist()]


def keys_for(points):
    integers, exponent = integer_points(points)
    return keys_of(integers, exponent, None)


@pytest.mark.parametrize(
    "points",
    [
        np.random.default_rng(0).standard_normal((60, 3)),
        np.random.default_rng(0).integers(-(2**40), 2**40, (60, 2)),
        np.array([[i, j] for i in range(8) for j in range(8)]),
        np.array([[1.0], [1.0 + 2**-52], [5.0]]),
        np.array([[1.7e308, 0.0], [0.0, 5e-324], [0.0, 0.0]]),
        np.zeros((1, 4)),
    ],
    ids=["gaussian", "long integers", "grid", "neighboring floats", "ends of the range", "one point"],
)
def test_keys_are_the_nearest_integers_of_an_exact_projection(points):
    keys = keys_for(points)
    z = projected(points, keys)
    assert all(abs(value - int(key)) <= Fraction(1, 2) for value, key in zip(z, keys.values, strict=True))
    ordered = sorted(z)
    assert 2 <= ordered[0] < 3
    assert all(b - a >= 2 for a, b in itertools.pairwise(ordered))
    assert keys.bits == int(max(keys.values)).bit_length()


def test_a_line_of_integers_needs_no_more_than_one_bit_besides_their_number():
    assert keys_for(np.arange(100)[:, None]).bits == 8  # keys 2, 4, ..., 200


@given(seed=st.integers(0, 20))
def test_directions_that_are_tried_shorten_keys(seed):
    """About 2 log2(n) bits, less what the best of 64 directions saves."""
    points = np.random.default_rng(seed).standard_normal((200, 5))
    assert keys_for(points).bits <= 2 * np.log2(200) + 1


def test_equal_points_are_found_in_both_kinds_of_integers():
    for scale in (1, 2**80):
        integers = np.array([[1, 2], [3, 4], [1, 2]], dtype=object) * scale
        integers = integers if scale > 1 else integers.astype(np.int64)
        assert distinct(integers, np.array([5, 6, 5])).tolist() == [0, 1]
        with pytest.raises(ValueError, match="points 0 and 2 are equal and have the targets 5 and 7"):
            distinct(integers, np.array([5, 6, 7]))
