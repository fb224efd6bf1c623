"""The rules of a step on a quadratic, whose path is known, and the record that is kept of it."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vestige.core.outcome import Outcome
from vestige.nets.gradient_descent import Schedule, Trace, Training, loss_scaled, one_cycle, scheduled, squared_norm


def quadratic(start=(3.0, -1.0), curvature=(2.0, 0.5), weight_decay=0.0, **more):
    """f(theta) = sum_i c_i theta_i^2 / 2, whose gradient is c theta."""
    theta, c = torch.tensor(start, requires_grad=True), torch.tensor(curvature)
    return Training([theta], lambda: (c * theta**2).sum() / 2, weight_decay, **more)


def trace(total=50, every=1, tol_loss=0.0, tol_stationarity=None, on_step=None):
    return Trace(total, every, tol_loss, tol_stationarity, on_step)


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_steps_are_those_of_torch(weight_decay):
    ours = quadratic(weight_decay=weight_decay)
    theirs = torch.tensor([3.0, -1.0], requires_grad=True)
    sgd = torch.optim.SGD([theirs], lr=0.1, weight_decay=weight_decay)
    for _ in range(7):
        assert ours.evaluate()
        ours.step(0.1)
        sgd.zero_grad()
        ((torch.tensor([2.0, 0.5]) * theirs**2).sum() / 2).backward()
        sgd.step()
    torch.testing.assert_close(ours.parameters[0], theirs)


def test_what_lies_outside_the_span_follows_the_same_rule_as_one_more_parameter():
    split = quadratic(weight_decay=0.4, outside_sq=4.0)
    whole = quadratic((3.0, -1.0, 2.0), (2.0, 0.5, 0.0), weight_decay=0.4)  # the third has no loss, only decay
    for _ in range(5):
        assert split.evaluate() and whole.evaluate()
        assert split.penalized(split.loss) == pytest.approx(whole.penalized(whole.loss))
        assert split.stationarity() == pytest.approx(whole.stationarity())
        split.step(0.1)
        whole.step(0.1)
    assert 2 * split.outside.item() == pytest.approx(whole.parameters[0][2].item())


def test_stationarity_is_the_sine_of_the_angle_to_the_negative_gradient():
    descent = quadratic()
    assert descent.evaluate()
    for gradient, expected in (([-3.0, 1.0], 0.0), ([1.0, 3.0], 1.0), ([3.0, -1.0], 1.0), ([-2.0, -1.0], 0.5**0.5)):
        descent.gradient = [torch.tensor(gradient)]
        assert descent.stationarity() == pytest.approx(expected, abs=1e-7)
    descent.gradient = [torch.zeros(2)]
    assert math.isnan(descent.stationarity())


def test_with_weight_decay_stationarity_is_relative_to_the_decay():
    descent = quadratic(weight_decay=0.5)
    assert descent.evaluate()
    assert descent.stationarity() == pytest.approx(math.hypot(2.5 * 3, 1.0) / (0.5 * math.hypot(3, 1)))


def test_a_loss_that_is_not_finite_changes_nothing():
    theta = torch.tensor([1.0], requires_grad=True)
    values = iter([2.0, math.nan])
    descent = Training([theta], lambda: theta.sum() * next(values), 0.0)
    assert descent.evaluate()
    kept = (descent.loss, descent.gradient)
    assert not descent.evaluate() and (descent.loss, descent.gradient) == kept


def test_the_loss_scaled_rule_only_goes_down_and_reaches_the_tolerance():
    descent, kept = quadratic(), trace(5000, tol_loss=1e-6)
    outcome, evaluations, _ = loss_scaled(descent, kept, 0.1, scaled=True)
    losses = [loss for _, loss, _ in kept.rows]
    assert outcome is Outcome.CONVERGED and all(b <= a for a, b in itertools.pairwise(losses))
    reached = next(index for index, loss, _ in kept.rows if loss <= 1e-6)
    assert kept.rows[-1][0] == reached + 100 and evaluations == reached + 101  # a hundred shorter steps follow


def test_where_no_step_can_be_kept_it_stagnates_where_it_began():
    theta = torch.tensor([0.0], requires_grad=True)
    descent = Training([theta], lambda: theta.sum() + (1.0 if theta.item() == 0 else math.nan), 0.0)
    outcome, _, size = loss_scaled(descent, trace(200), 0.1, scaled=False)
    assert outcome is Outcome.STAGNATED and theta.item() == 0 and size < 1e-18 and descent.loss == 1


def test_a_start_without_a_loss_is_said_so():
    theta = torch.tensor([math.nan], requires_grad=True)
    descent, kept = Training([theta], theta.sum, 0.0), trace()
    assert loss_scaled(descent, kept, 0.1, scaled=True)[0] is Outcome.NOT_FINITE and not kept.rows


def test_a_step_too_long_ends_at_the_last_good_point():
    descent = quadratic()
    outcome, _, _ = scheduled(descent, trace(200, every=5), 3.0, 0.0, Schedule.CONSTANT)
    assert outcome is Outcome.NOT_FINITE and bool(torch.isfinite(descent.parameters[0]).all())
    assert (0.5 * torch.tensor([2.0, 0.5]) * descent.parameters[0] ** 2).sum() <= 10 * 9.25 + 10


def test_one_cycle_warms_up_and_ends_lower_than_it_began():
    descent = quadratic()
    outcome, evaluations, peak = scheduled(descent, trace(60), 0.4, 0.0, Schedule.ONE_CYCLE)
    assert (outcome, evaluations, peak) == (Outcome.BUDGET_SPENT, 61, 0.4)
    expected = [
        start * math.prod(1 - 0.4 * c * one_cycle(t / 60) for t in range(60)) for start, c in ((3, 2), (-1, 0.5))
    ]
    torch.testing.assert_close(descent.parameters[0].detach(), torch.tensor(expected))


@given(progress=st.floats(0, 1))
def test_one_cycle_stays_below_its_peak(progress):
    assert 1e-4 * (1 - 1e-9) <= one_cycle(progress) <= 1 + 1e-12


def test_one_cycle_is_half_way_up_in_the_middle_of_each_part():
    assert one_cycle(0.15) == pytest.approx((1 + 1 / 25) / 2) and one_cycle(0.65) == pytest.approx((1 + 1e-4) / 2)


def test_a_trace_keeps_every_kth_step_and_the_last():
    descent, told = quadratic(), []
    assert descent.evaluate()
    kept = trace(10, every=4, on_step=told.append)
    assert not any(kept.reached(index, descent, "note") for index in range(11))
    assert [row[0] for row in kept.rows] == [0, 4, 8, 10] == [step.index for step in told]
    assert not kept.reached(5, descent, "note", record=True) and kept.rows[-1][0] == 5
    assert trace(10, every=4, tol_loss=99.0).reached(5, descent, "")
    assert trace(10, every=4, tol_stationarity=1.0).reached(4, descent, "")
    assert not trace(10, every=4, tol_stationarity=1.0).reached(5, descent, "")  # it is measured where it is kept


def test_a_snapshot_is_a_copy():
    descent = quadratic(outside_sq=1.0)
    saved = descent.snapshot()
    assert descent.evaluate()
    descent.step(0.1)
    with torch.no_grad():
        descent.outside.fill_(0.3)
    descent.restore(saved)
    assert descent.parameters[0].tolist() == [3.0, -1.0] and descent.outside == 1.0
    assert squared_norm(descent.parameters) == pytest.approx(10)
