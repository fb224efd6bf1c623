"""From slopes and curvatures to a step size: the ratio of averages, and what stands in for a division by nothing."""

import math

import pytest

from vestige.optim.rate import Rate


def rate(**options):
    return Rate(**({"value": 1.0, "average": 0.0, "growth": 2.0, "low": 1e-3, "high": 1e3} | options))


def test_the_first_estimate_is_taken_whole_and_later_ones_grow_by_a_factor_at_most():
    found = rate()
    found.update(0, 8.0, 2.0)
    assert found.value == 4.0
    found.update(1, 100.0, 1.0)
    assert found.value == 8.0
    found.update(2, 1.0, 100.0)  # nothing limits a fall
    assert found.value == 0.01


def test_a_ratio_of_averages_is_no_average_of_ratios():
    found = rate(average=0.9, growth=10.0)
    for k, (n, c) in enumerate(((1.0, 1.0), (3.0, 1.0))):
        found.update(k, n, c)
    past = min(0.9, 2 / 11)
    assert found.value == pytest.approx((past * 0.9 + (1 - past) * 3) / (past * 0.9 + (1 - past)))


def test_where_the_loss_rises_or_does_not_curve_nothing_is_divided():
    found = rate()
    found.update(0, 1.0, -5.0)
    assert found.value == 2.0 and not found.found
    found.update(1, -1.0, 1.0)
    assert found.value == 1.0
    found.update(2, 0.0, 0.0)
    assert found.value == 0.5


def test_bounds_and_values_that_are_not_finite():
    found = rate(high=3.0)
    found.update(0, 8.0, 1.0)
    assert found.value == 3.0
    found.update(1, math.nan, 1.0)
    assert found.value == 3.0 and found.failures == 1 and math.isnan(found.history[-1].slope)
    found.update(2, 1e-9, 1.0)
    assert found.value == 1e-3 and found.failures == 0
    again = rate()
    again.take(found.numbers())
    assert again.numbers()[:5] == found.numbers()[:5] and len(again.history) == 3
