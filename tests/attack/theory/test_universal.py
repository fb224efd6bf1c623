"""One direction that fools a trained network on every sample."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vestige.attack.theory.decision_margin import read_margin, smallest_radius
from vestige.attack.theory.universal import universal_margin_perturbation
from vestige.core.rng import child
from vestige.nets.fully_connected import mlp
from vestige.nets.training import train_to_margin


def sphere(d, n, seed=0):
    x = torch.randn((n, d), generator=child(seed, "sphere"))
    return x * math.sqrt(d) / x.norm(dim=1, keepdim=True), torch.arange(n) % 2


def trained(x, y, first_init=1e-4):
    start = mlp([x.shape[1], 100, 1], first_init=first_init, init_scale=0.1, generator=child(0, "net"))
    return start, train_to_margin(start, x, y, tol_loss=1e-8).model


@pytest.fixture(scope="module")
def large():
    torch.set_default_dtype(torch.float64)
    x, y = sphere(900, 30)
    return x, y, *trained(x, y)


def test_orthogonal_samples_fall_at_the_predicted_radius():
    x, y = math.sqrt(60) * torch.eye(60)[:20], torch.arange(20) % 2
    found = universal_margin_perturbation(trained(x, y)[1], x, y)
    assert float(found.margins.max() / found.margins.min()) <= 1.001
    assert found.scale == pytest.approx(math.sqrt(60 / 20)) and found.ratio == pytest.approx(1, abs=0.02)
    assert found.coherence == 0 and found.certificate.holds and not found.warnings
    torch.testing.assert_close(found.sample_radius, torch.full((20,), found.radius), rtol=0.02, atol=0)


def test_a_linear_network_has_a_closed_form():
    linear = nn.Linear(3, 1, bias=False)
    linear.weight.data = torch.tensor([[2.0, 0.0, 0.0]])
    x = torch.tensor([[1.0, 1.0, 0.0], [-3.0, 0.0, 1.0]])
    found = universal_margin_perturbation(linear, x, torch.tensor([1, 0]), margin_tol=0.1)
    # Only the first sample is on the margin, so the direction is its own: f falls by 2 r / sqrt(2).
    assert found.on_margin.tolist() == [True, False] and found.margins.tolist() == [2.0, 6.0]
    torch.testing.assert_close(found.sample_radius, math.sqrt(2) * torch.tensor([1.0, 3.0]))
    assert found.gradient_radius == pytest.approx(1.0)


def test_every_sample_falls_at_the_scale_of_theory_and_none_along_random_directions(large):
    x, y, _, net = large
    found = universal_margin_perturbation(net, x, y)
    assert 0.9 <= found.ratio <= 2.5 and bool(found.on_margin.all())
    assert found.null_flips == 0 and found.null_trials == 50 * 30
    sign = 2 * y - 1
    moved = x - 1.0001 * found.radius * sign[:, None] * found.direction
    assert bool((sign * net(moved)[:, 0] < 0).all())
    back = x - 0.999 * found.radius * sign[:, None] * found.direction
    assert not bool((sign * net(back)[:, 0] < 0).all())
    assert any("not nearly orthogonal" in warning for warning in found.warnings)


def test_training_nears_a_kkt_point_and_an_untrained_network_does_not(large):
    x, y, start, net = large
    found = universal_margin_perturbation(net, x, y)
    assert found.kkt_residual is not None and found.kkt_residual <= 1e-2 and found.certificate.holds
    v, w, b = (net[3].weight.detach()[0], net[1].weight.detach(), net[1].bias.detach())
    v0, w0, b0 = (start[3].weight.detach()[0], start[1].weight.detach(), start[1].bias.detach())
    drift = (v**2 - (w**2).sum(1) - b**2) - (v0**2 - (w0**2).sum(1) - b0**2)
    assert float(drift.abs().max()) <= 1e-3 * float((v**2).max())
    with pytest.raises(ValueError, match="misclassified"):
        universal_margin_perturbation(start, x, y)


@given(st.floats(0.05, 0.9), st.floats(1.0, 5.0))
def test_the_first_radius_of_a_threshold_is_the_threshold(threshold, limit):
    where = smallest_radius(lambda r: r >= threshold, torch.tensor([limit]))
    assert float(where) == pytest.approx(threshold, rel=1e-9)
    assert math.isinf(smallest_radius(lambda r: r > 2 * limit, torch.tensor([limit])))


def test_pairs_of_logits_and_one_output_agree():
    x, y = sphere(40, 6)
    single = trained(x, y)[1]
    double = nn.Sequential(single, nn.Linear(1, 3, bias=False))
    double[1].weight.data = torch.tensor([[-0.5], [0.5], [-9.0]])
    one, two = universal_margin_perturbation(single, x, y), universal_margin_perturbation(double, x, y, pair=(1, 0))
    torch.testing.assert_close(one.direction, two.direction)
    assert one.radius == pytest.approx(two.radius) and two.kkt_residual is None
    assert any("pair of logits" in warning for warning in two.warnings)
    assert universal_margin_perturbation(single, x, 2 * y - 1).radius == one.radius


def test_a_network_outside_the_theory_is_measured_and_says_why():
    x, y = sphere(40, 6)
    net = train_to_margin(mlp([40, 30, 1], bias="all", activation="tanh", generator=child(0, "n")), x, y).model
    found = universal_margin_perturbation(net, x, y)
    assert found.kkt_residual is None and any("not positively homogeneous" in w for w in found.warnings)
    assert math.isfinite(found.radius)


X, Y = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64), torch.tensor([1, 0])
BAD = {
    "one class": ({"y": torch.tensor([1, 1])}, "one class has no boundary"),
    "three labels": ({"x": torch.eye(3)[:, :2], "y": torch.tensor([0, 1, 2])}, "Keep the samples of two classes"),
    "labels too few": ({"y": torch.tensor([1])}, "2 labels"),
    "not separable": (
        {"x": torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]), "y": torch.tensor([1, 0, 0])},
        "equal samples have different labels",
    ),
    "unfitted": ({"y": torch.tensor([0, 1])}, "is training not finished"),
    "NaN": ({"x": torch.full((2, 2), torch.nan)}, "NaN"),
    "margin_tol": ({"margin_tol": -1.0}, "margin_tol=-1.0"),
    "pair of one output": ({"pair": (0, 1)}, "one output"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_with_its_repair(case):
    change, message = BAD[case]
    linear = nn.Linear(2, 1, bias=False)
    linear.weight.data = torch.tensor([[1.0, -1.0]])
    given_ = {"x": X, "y": Y, **change}
    with pytest.raises(ValueError, match=message):
        universal_margin_perturbation(linear, given_.pop("x"), given_.pop("y"), **given_)


@pytest.mark.parametrize(
    ("pair", "message"), [(None, "name them as pair"), ((1, 1), "two different"), ((0, 9), "0 to 3")]
)
def test_several_outputs_need_a_pair_that_exists(pair, message):
    with pytest.raises(ValueError, match=message):
        universal_margin_perturbation(nn.Linear(2, 4), X, Y, pair=pair)
    assert read_margin(nn.Linear(2, 2), X, y=Y).pair == (1, 0)  # two logits are a pair already
