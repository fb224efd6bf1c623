"""The direction that fools a trained network, the network that it does not fool, and both side by side."""

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vestige.attack.theory.decision_margin import first_radius, read_lead
from vestige.attack.theory.gap import robustness_gap, sphere_robustness_gap
from vestige.attack.theory.universal import universal_margin_perturbation
from vestige.construct.robust.two_layer import robust_two_layer
from vestige.core.rng import child
from vestige.nets.mlp import mlp
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


def test_trained_nets_lose_robustness_with_samples_and_constructed_ones_do_not():
    few, middle, many = sphere_robustness_gap(((400, 4), (400, 20), (900, 30)))
    share = [gap.trained.radius / math.sqrt(gap.dimension) for gap in (few, middle, many)]
    assert share[2] < 0.6 * share[0]
    assert all(0.9 <= gap.trained.ratio <= 2.5 for gap in (few, middle, many))
    assert all(gap.constructed.radius >= 0.3 * math.sqrt(gap.dimension) for gap in (few, middle, many))
    assert many.gap > middle.gap > 1 and [gap.flipped for gap in (middle, many)] == [0, 0]


def test_the_constructed_network_has_margin_one_and_a_tight_radius():
    x, y = sphere(400, 20)
    built = robust_two_layer(x, y)
    sign = (2 * y - 1).double()
    torch.testing.assert_close(sign * built.module(x)[:, 0], torch.ones(20), atol=1e-12, rtol=0)
    products = (x @ x.T).masked_fill(y[:, None] == y, -torch.inf).amax(1)
    assert built.radius == pytest.approx(float((400 - products.max()) / (2 * math.sqrt(400))))
    assert built.certificate.holds
    worst = int(products.argmax())
    beyond, before = (x[worst] * (1 - scale * built.radius / math.sqrt(400)) for scale in (1.001, 0.999))
    assert built.module(beyond[None]).item() == 0.0
    assert sign[worst] * built.module(before[None]).item() > 0


@pytest.mark.slow
def test_no_attack_finds_a_violation_inside_the_certified_radius():
    x, y = sphere(400, 20)
    built = robust_two_layer(x, y)
    assert violations(built.module, x, y, 0.999 * built.radius) == 0
    # The same attack does break the trained network there, which is no weaker a check than it looks.
    assert violations(trained(x, y)[1], x, y, 0.999 * built.radius) == 20


def violations(net, x, y, radius, restarts=5, steps=100):
    sign, broken = 2 * y - 1, torch.zeros(len(x), dtype=torch.bool)
    for number in range(restarts):
        z = torch.randn(x.shape, generator=child(number, "start"))
        for step in range(steps):
            z = radius * z / z.norm(dim=1, keepdim=True).clamp(min=radius)
            z = z.detach().requires_grad_()
            value = sign * net(x + z)[:, 0]
            broken |= value.detach() <= 0
            slope = torch.autograd.grad(value.sum(), z)[0]
            z = z - radius * (1 - step / steps) * slope / slope.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return int(broken.sum())


@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(3, 8))
def test_no_random_point_of_the_ball_changes_sign(seed, n, d):
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn((n, d), generator=draw)
    x = x / x.norm(dim=1, keepdim=True)
    y = torch.arange(n) % 2
    built = robust_two_layer(x, y)
    delta = torch.randn((200, n, d), generator=draw)
    delta = 0.999 * built.radius * delta / delta.norm(dim=2, keepdim=True)
    out = built.module((x + delta).reshape(-1, d)).reshape(200, n)
    assert built.certificate.holds and bool((out * (2 * y - 1) > 0).all())


def test_single_precision_is_certified_as_it_is_stored():
    x, y = sphere(50, 6)
    built = robust_two_layer(x.float(), y)
    assert next(built.module.parameters()).dtype == torch.float32 and built.certificate.holds
    assert built.radius == pytest.approx(robust_two_layer(x, y).radius, rel=1e-4)


def test_a_damaged_construction_loses_its_certificate():
    from vestige.construct.robust.two_layer import _certify

    x, y = sphere(50, 6)
    net = robust_two_layer(x, y).module
    net[1].bias.data += 1.0
    assert not _certify(net[1], net[3], x, 2 * y - 1)[1].holds


@given(st.floats(0.05, 0.9), st.floats(1.0, 5.0))
def test_the_first_radius_of_a_threshold_is_the_threshold(threshold, limit):
    where = first_radius(lambda r: r >= threshold, torch.tensor([limit]))
    assert float(where) == pytest.approx(threshold, rel=1e-9)
    assert math.isinf(first_radius(lambda r: r > 2 * limit, torch.tensor([limit])))


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


def test_the_users_model_and_the_global_generator_are_left_alone():
    x, y = sphere(40, 6)
    net = trained(x, y)[1].train()
    before, state = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    robustness_gap(net, x, y)
    assert torch.equal(state, torch.get_rng_state()) and net.training
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in net.parameters())


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
    assert read_lead(nn.Linear(2, 2), X, y=Y).pair == (1, 0)  # two logits are a pair already


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (torch.eye(2)[[0, 0]], [1, 0], "they are equal"),
        (torch.tensor([[1.0, 0.0], [5.0, 0.0]]), [1, 0], "subtract the samples' mean"),
        (torch.eye(2), [1, 1], "same label"),
        (torch.eye(2), [1, 2], "allowed are 0 and 1"),
        (torch.full((2, 2), torch.inf), [1, 0], "infinite"),
    ],
)
def test_what_cannot_be_constructed_is_refused(x, y, message):
    with pytest.raises(ValueError, match=message):
        robust_two_layer(x, torch.tensor(y))


def test_sizes_are_checked():
    with pytest.raises(ValueError, match=r"pairs \(d, n\)"):
        sphere_robustness_gap(((10, 1),))
