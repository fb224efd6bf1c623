"""Points and weights at the ends of what floats hold, against Fractions."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vestige.construct.exact.layers import layer
from vestige.construct.exact.network import ExactNetwork
from vestige.construct.exact.points import integer_points, objects
from vestige.construct.exact.rounding import power_below, unit_of, upwards


def test_floats_are_integers_over_the_coarsest_power_of_two():
    integers, exponent = integer_points([[0.75, -2.0], [0.0, 3.5]])
    assert (integers.tolist(), exponent) == ([[3, -8], [0, 14]], 2)


@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=6))
def test_every_float_comes_back(values):
    integers, exponent = integer_points(np.array(values)[:, None])
    assert [Fraction(int(v), 2**exponent) for v in integers[:, 0]] == [Fraction(v) for v in values]
    assert 2**exponent == max(Fraction(v).denominator for v in values)


def test_objects_are_left_as_they_are():
    assert objects([2**70, Fraction(1, 3)]).tolist() == [2**70, Fraction(1, 3)]
    assert objects([(1, 2), (3, 4)]).shape == (2,)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_weight_beyond_floats_is_infinite_with_its_sign(sign):
    network = ExactNetwork((layer(2, [({1: sign * 2**2000}, sign * 2**2000)]),))
    module = network.to_torch(exact=False)
    assert module[0].weight.tolist() == [[0.0, sign * math.inf]] and module[0].bias.tolist() == [sign * math.inf]


@given(value=st.fractions(min_value=Fraction(1, 10**9), max_value=10**9))
def test_powers_of_two_lie_on_their_side(value):
    power = power_below(value)
    assert power <= value < 2 * power and power in (unit_of(k) for k in range(-40, 40))
    assert Fraction(upwards(value)) >= value > Fraction(math.nextafter(upwards(value), -math.inf))


def test_the_smallest_error_is_not_reported_as_zero():
    assert upwards(Fraction(1, 2**2000)) == 5e-324


@pytest.mark.parametrize(
    ("points", "kind"),
    [
        (torch.complex(torch.ones(2, 2), torch.ones(2, 2)), "complex64"),
        (np.array([["a", "b"]]), "<U1"),
        (np.array([["a", None]], dtype=object), "NoneType, str"),
        (np.array([[1, 2j]], dtype=object), "complex, int"),
    ],
)
def test_points_that_are_no_real_numbers_are_named(points, kind):
    with pytest.raises(ValueError, match=f"points of {kind} given"):
        integer_points(points)
