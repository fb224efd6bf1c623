"""The numbers of a network on balls in closed form."""

import math
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vestige.construct.robust.claims import mantissa_bits
from vestige.construct.robust.first_layer import choose_first_layer
from vestige.construct.robust.layers import Plan
from vestige.construct.robust.projection import Projection
from vestige.construct.robust.radius import width_bounds
from vestige.construct.robust.thresholds import Thresholds, sides

NUMBERS = Thresholds(Fraction(1, 4), 12, Fraction(2), Fraction(3), Fraction(0), Fraction(1), Fraction(3))
PLAN = Plan(
    rows=[{0: 1}, {1: 1}],
    inputs=2,
    centers=[[Fraction(1, 2), Fraction(0)]],
    levels=[Fraction(1)],
    base=Fraction(0),
    numbers=NUMBERS,
    norm=2.0,
)


def value_of(plan, h):
    """q(h) by its hinges."""
    (center,) = plan.centers
    forms = plan.hinges(center)
    return sum(w * max(Fraction(0), sum(side * h[j] for j, side in form.items()) + bias) for form, bias, w in forms)


@given(x=st.fractions(-2, 2), y=st.fractions(-2, 2))
def test_the_chords_lie_above_the_square_by_at_most_a_quarter_of_a_step(x, y):
    square = (x - Fraction(1, 2)) ** 2 + y**2
    assert square <= value_of(PLAN, (x, y)) <= square + 2 * NUMBERS.tau**2 / 4


def test_the_side_of_the_own_ball_is_attained_between_two_knots():
    line = replace(PLAN, rows=[{0: 1}], centers=[[Fraction(0)]])
    for place in (Fraction(1, 8), Fraction(5, 8)):
        own, other = sides(place, place, NUMBERS.tau, 1, 2.0)
        assert value_of(line, (place,)) == own == other + NUMBERS.tau**2 / 4
    assert value_of(line, (Fraction(1, 2),)) == Fraction(1, 4)  # on a knot it is the square


def test_points_far_from_zero_need_more_bits():
    """Rounding an image costs in proportion to its size: 2^40 times as far, 40 bits more."""
    assert mantissa_bits(PLAN, 2.0**60, 1.0) - mantissa_bits(PLAN, 2.0**20, 1.0) == 40


def test_many_hinges_need_more_bits():
    """own (1 + 2 (6 m knots + 8) u) <= limit: with m = 1 and 1001 knots a limit 1% above own takes u <= 2^-21."""
    tau = Fraction(1, 2**20)
    numbers = Thresholds(tau, 1001, Fraction(101, 100), Fraction(1), Fraction(0), Fraction(1), Fraction(100))
    plan = replace(PLAN, rows=[{0: 1}], inputs=1, centers=[[Fraction(0)]], numbers=numbers)
    assert mantissa_bits(plan, 1.0, 0.5) == math.ceil(math.log2(2 * (6 * 1001 + 8) / 0.01))


def test_the_rounding_of_an_image_comes_off_the_room_between_the_sides():
    """(1 + moved)^2 <= 1.01 with moved = 10 * 2^20 u, for one row at 2^20 and few hinges."""
    numbers = Thresholds(
        Fraction(1, 2**20), 1, Fraction(101, 100), Fraction(1), Fraction(0), Fraction(1), Fraction(100)
    )
    plan = replace(PLAN, rows=[{0: 1}], inputs=1, centers=[[Fraction(0)]], numbers=numbers)
    assert mantissa_bits(plan, 2.0**20, 0.5) == math.ceil(math.log2(10 * 2**20 / (1.01**0.5 - 1)))


def test_a_limit_without_room_takes_more_bits_than_there_are():
    plan = replace(PLAN, numbers=replace(NUMBERS, limit=sides(Fraction(1), Fraction(3), NUMBERS.tau, 2, 2.0)[0]))
    assert mantissa_bits(plan, 1.0, 0.5) == 401


def test_the_gain_for_l1_balls_is_the_longest_column():
    x = torch.randn(9, 10, generator=torch.Generator().manual_seed(0))
    chosen = choose_first_layer(x, torch.arange(9) % 3, 4, 1.0, Projection.RANDOM, None, None)
    matrix = torch.tensor(chosen.integers.astype(float)) / 2**chosen.exponent
    assert float(chosen.gain) == pytest.approx(float(matrix.norm(dim=0).max()), rel=1e-9)


def test_the_simplex_forces_the_width():
    """4 rho^2 min(n - 1, d): of n points 0, e_1, .., only n - 1 are vectors."""
    assert width_bounds(101, 400, 0.49).lower == math.ceil(4 * 0.49**2 * 100)
    assert width_bounds(1001, 400, 0.49).lower == math.ceil(4 * 0.49**2 * 400)
