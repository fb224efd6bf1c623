"""What the report makes of its parts: the strongest start, the kernel, and the warning about success."""

import copy

import pytest
import torch

import vestige as vg
from vestige.construct.separation import learnability
from vestige.construct.separation.targets import parse_target
from vestige.core.rng import child

NEURON = vg.construct.single_neuron_target(6)


def report(target=NEURON, **options):
    return vg.construct.weak_learnability_report(
        target, **{"samples": 256, "restarts": 1, "shallow_steps": 0, **options}
    )


def test_the_start_with_the_strongest_signal_over_its_floor_counts(monkeypatch):
    starts = iter([(1.0, 2.0), (3.0, 2.0), (8.0, 9.0)])
    monkeypatch.setattr(learnability, "_signal", lambda *_: next(starts))
    found = report(restarts=3)
    assert (found.gradient_signal, found.noise_floor) == (3.0, 2.0)


def test_samples_needed_lift_the_signal_to_the_floor():
    found = report()
    assert found.samples_needed == pytest.approx(256 * found.noise_floor / found.gradient_signal)


def test_what_only_a_kernel_sees_is_a_signal_too(monkeypatch):
    monkeypatch.setattr(learnability, "_signal", lambda *_: (0.0, 1.0))
    assert report().verdict == "signal" and report().samples_needed == float("inf")
    assert report(vg.construct.parity_target(12)).verdict == "no_signal"


def test_a_network_that_succeeds_all_the_same_is_told(monkeypatch):
    monkeypatch.setattr(learnability, "_shallow", lambda *_: 0.5)
    hidden = vg.construct.parity_target(12)
    assert (
        "correlation of 0.50 nevertheless" in report(hidden).warnings[0]
        and "4,096 inputs only" in report(hidden).warnings[0]
    )
    assert not report().warnings  # a signal promises nothing, and takes nothing back
    monkeypatch.setattr(learnability, "_shallow", lambda *_: 0.05)
    assert not report(hidden).warnings


def test_as_many_functions_as_their_correlation_allows():
    """Eight functions, each two of correlation 1/4: four are apart enough for a class of four, five are not."""
    gram = 0.75 * torch.eye(8) + 0.25
    assert len(vg.construct.sq_dimension_lower_bound(torch.linalg.cholesky(gram))) == 4


@pytest.mark.parametrize(("tolerance", "outcome"), [(0.3, "budget_spent"), (0.4, "converged")])
def test_training_ends_at_a_share_of_the_variance(tolerance, outcome):
    """0.4 f is off by 0.36 of the variance."""
    target = vg.construct.parity_target(3)
    scaled = copy.deepcopy(target.network).requires_grad_(True)
    with torch.no_grad():
        scaled[-1].weight.mul_(0.4)
        scaled[-1].bias.mul_(0.4)
    found = vg.construct.learning_run(target, scaled, steps=1, tolerance=tolerance, learning_rate=1e-9)
    assert found.outcome == outcome


def test_the_ball_holds_half_of_its_samples():
    _, y = vg.construct.ball_indicator_target(2).sample(20_000, child(0, "ball"))
    assert abs(float(y.mean())) < 5 / 20_000**0.5


def test_hand_set_networks_are_exact_with_single_precision_as_the_default():
    torch.set_default_dtype(torch.float32)
    target = parse_target("staircase:6:5")
    x, y = target.sample(64)
    torch.testing.assert_close(target.network(x)[:, 0], y, atol=1e-12, rtol=0)
