"""Keys are the exact projection, at least 2 apart before rounding, and as short as the best direction makes them."""

import itertools
from contextlib import nullcontext
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vestige.construct.exact.layers import layer
from vestige.construct.exact.points import distinct, integer_points
from vestige.construct.memorization.claims import check_projection
from vestige.construct.memorization.keys import keys_of
from vestige.construct.memorization.targets import codes_of


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


def test_the_grid_of_real_targets_in_closed_form():
    """Four values over [0, 1] are 1/3 apart, the next power of two is 1/2, and rounding costs half of that."""
    codes = codes_of(np.array([0.0, 0.3, 1.0]), 2)
    assert (codes.step, codes.offset, codes.tolerance) == (Fraction(1, 2), 0, Fraction(1, 4))
    assert codes.values.tolist() == [0, 1, 2] and codes.bits == 2


@pytest.mark.parametrize(
    ("reach", "key", "fits"), [(0.99 * 2**20, 0, True), (2.0**20, 0, False), (0, 2**18, True), (0, 2**18 + 1, False)]
)
def test_a_projection_in_floats_may_be_off_by_a_quarter(reach, key, fits):
    """float32: one product and its sum are off by 4 units of 2^-24, and what reads a key by 16 units of it."""
    projection, points = layer(1, [({0: 1}, 0)]), np.array([[float(reach)]])
    with nullcontext() if fits else pytest.raises(ValueError, match="allowed is 1/4"):
        check_projection(projection, points, key, torch.float32)
