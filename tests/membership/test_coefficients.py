"""Gram form against explicit gradients, and coefficients that are known."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call, grad

from vestige.core.kkt import gram_system
from vestige.core.outcome import Outcome
from vestige.core.rng import child
from vestige.membership.coefficients import coefficients
from vestige.membership.cotangents import unit_cotangents
from vestige.membership.rows import Dense, Samples, rows_of
from vestige.membership.taps import evaluation_copy, read_layers, weight_of
from vestige.nets.groups import Rotations
from vestige.nets.invariant import InvariantNetwork


def network(kind, seed=0):
    draw = child(seed, kind)
    if kind == "dense":
        net = nn.Sequential(
            nn.Flatten(),
            nn.Linear(48, 7),
            nn.ReLU(inplace=True),
            nn.Linear(7, 5, bias=False),
            nn.Tanh(),
            nn.Linear(5, 3),
        )
    elif kind == "convolutional":
        net = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1, stride=2),
            nn.BatchNorm2d(4),
            nn.ReLU(inplace=True),
            nn.Conv2d(4, 5, 2, bias=False),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(5, 6),
            nn.BatchNorm1d(6),
            nn.ReLU(),
            nn.Linear(6, 3),
        )
    else:
        net = nn.Sequential(
            nn.Conv2d(3, 6, 2, groups=3), nn.InstanceNorm2d(6, affine=True), nn.ReLU(inplace=True), nn.BatchNorm2d(6),
            nn.Flatten(2), nn.Linear(9, 4), nn.LayerNorm(4), nn.Flatten(), nn.Linear(24, 3),
        )  # fmt: skip
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=draw) / 2)
        for name, b in net.named_buffers():
            if "running" in name:
                b.copy_(torch.rand(b.shape, generator=draw) + 0.5)
    return net


def samples(n=9, seed=0):
    draw = child(seed, "samples")
    return torch.randn(n, 3, 4, 4, generator=draw), torch.randint(3, (n,), generator=draw)


def rows(net, x, y, loss="cross_entropy", views=None, base=None, batch_size=4):
    net = evaluation_copy(net)
    layers = read_layers(net, x[:1])
    return layers, rows_of(Samples(net, x, y, loss, batch_size, views), list(layers.values()), base)


def explicit(net, x, y, keys, loss="cross_entropy"):
    """Gradients of <c, f(x)>, one sample at a time, with torch.func."""
    net = copy.deepcopy(net).eval()
    params = {k: p.detach() for k, p in net.named_parameters()}
    direction = unit_cotangents(net(x).detach(), y, loss)

    def value(chosen, sample, c):
        return (functional_call(net, {**params, **chosen}, (sample[None],))[0] * c).sum()

    each = [grad(value)({k: params[k] for k in keys}, s, c) for s, c in zip(x, direction, strict=True)]
    return torch.stack([torch.cat([g[k].reshape(-1) for k in keys]) for g in each])


def same(found, g, w):
    torch.testing.assert_close(found.gram(), g @ g.T, atol=1e-10, rtol=1e-10)
    some = torch.tensor([4, 0, 2])
    torch.testing.assert_close(found.gram(some), g @ g[some].T, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(found.times(w), g @ w, atol=1e-10, rtol=1e-10)
    v = torch.linspace(-1, 1, len(g))
    torch.testing.assert_close(found.through(v), g @ (g.T @ v), atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(found.squares(), g.square().sum(1), atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(found.matrix(), g, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(found.take(torch.tensor([3, 1])).matrix(), g[[3, 1]], atol=1e-10, rtol=1e-10)
    unit = found.unit()
    torch.testing.assert_close(unit.matrix(), g / g.norm(dim=1, keepdim=True), atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(unit.take(some).gram(), unit.gram()[some][:, some], atol=1e-10, rtol=1e-10)


def with_bias(net, layer, g):
    """(n, weights then bias) as (n, channel, feature and bias)."""
    module = net.get_submodule(layer)
    w = g[:, : module.weight.numel()].reshape(len(g), module.weight.shape[0], -1)
    return torch.cat([w, g[:, module.weight.numel() :, None]], 2).flatten(1) if module.bias is not None else g


@pytest.mark.parametrize("kind", ["dense", "convolutional", "other"])
def test_every_layer_equals_explicit_gradients(kind):
    net, (x, y) = network(kind), samples()
    layers, found = rows(net, x, y)
    assert {"dense": 3, "convolutional": 4, "other": 6}[kind] == len(found)
    for name, layer in layers.items():
        if layer.norm is None:
            keys = [f"{name}.{k}" for k, _ in net.get_submodule(name).named_parameters()]
            g = explicit(net, x, y, keys)
            same(found[name], with_bias(net, name, g) if layer.factored else g, found[name].weights)


def test_a_frozen_part_of_a_layer_has_no_columns():
    net, (x, y) = network("dense"), samples()
    net[1].bias.requires_grad_(False)
    layers, found = rows(net, x, y)
    assert not layers["1"].factored and layers["3"].factored
    same(found["1"], explicit(net, x, y, ["1.weight"]), net[1].weight.detach().flatten())


def test_a_weight_that_two_layers_share_has_the_gradients_of_both():
    net, (x, y) = nn.Sequential(nn.Flatten(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 48)), samples(6)
    net[3].weight = net[1].weight
    layers, found = rows(net, x, y)
    assert not any(layer.factored for layer in layers.values())
    same(found["1"], explicit(net, x, y, ["1.weight", "1.bias"]), found["1"].weights)


def test_rows_that_need_several_blocks_are_those_of_one(monkeypatch):
    net, (x, y) = network("convolutional"), samples()
    _, found = rows(net, x, y)
    g = found["3"].matrix()
    monkeypatch.setattr("vestige.membership.rows.ROWS_BUDGET", 8 * len(g) * 17)
    assert len(list(found["3"].blocks())) == 5 and found["3"].unit().lengths is not None
    same(found["3"], g, found["3"].weights)


def test_a_row_that_its_own_precision_cannot_square_has_length_one():
    tiny = torch.full((1, 2, 3), 1e-25, dtype=torch.float32)
    found = Dense(tiny, torch.ones(1, 2, 4, dtype=torch.float32), torch.ones(12)).unit()
    torch.testing.assert_close(found.squares(), torch.ones(2))


def test_a_layer_that_sees_several_views_of_a_sample_is_not_taken_for_one_row_each():
    base = nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.ReLU(), nn.Linear(5, 3))
    net, draw = InvariantNetwork(base, Rotations()).double(), child(3, "views")
    x, y = torch.randn(6, 1, 4, 4, generator=draw), torch.randint(3, (6,), generator=draw)
    layers, found = rows(net, x, y)
    assert list(layers) == ["base.1", "base.3"] and not any(layer.factored for layer in layers.values())
    for name in layers:
        same(found[name], explicit(net, x, y, [f"{name}.weight", f"{name}.bias"]), found[name].weights)


def test_a_batch_norm_behind_a_layer_is_folded_into_it():
    net, (x, y) = network("convolutional"), samples()
    layers, found = rows(net, x, y)
    assert layers["0"].norm == "1" and layers["6"].norm == "7" and layers["3"].norm is None
    plain = copy.deepcopy(net).eval()
    for layer, norm in (("0", "1"), ("6", "7")):
        module = plain.get_submodule(layer)
        matrix = weight_of(plain, layers[layer])
        with torch.no_grad():
            module.weight.copy_(matrix[:, :-1].reshape(module.weight.shape))
            module.bias.copy_(matrix[:, -1])
        plain[int(norm)] = nn.Identity()
    torch.testing.assert_close(plain(x), net.eval()(x))
    for layer in ("0", "6"):
        g = explicit(plain, x, y, [f"{layer}.weight", f"{layer}.bias"])
        same(found[layer], with_bias(plain, layer, g), found[layer].weights)


def test_an_in_place_relu_between_layer_and_norm_is_not_overlooked():
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(inplace=True), nn.BatchNorm1d(3), nn.Linear(3, 2)).eval()
    assert [layer.norm for layer in read_layers(net, torch.ones(1, 4)).values()] == [None, None, None]


def test_it_is_the_gram_system_of_core():
    net, (x, y) = network("dense"), samples()
    _, found = rows(net, x, y)
    system = gram_system(net, x, unit_cotangents(net(x).detach(), y, "cross_entropy"))
    for name, each in found.items():
        torch.testing.assert_close(each.gram(), system.per_layer[name].gram, atol=1e-10, rtol=1e-10)
        torch.testing.assert_close(each.times(each.weights), system.per_layer[name].target, atol=1e-10, rtol=1e-10)


def test_copies_of_a_sample_are_summed():
    net, (x, y) = network("dense"), samples()
    _, found = rows(net, x, y, views=lambda x: [x, x.flip(3), x.roll(1, 2)])
    parts = [rows(net, each, y)[1] for each in (x, x.flip(3), x.roll(1, 2))]
    for name, each in found.items():
        g = sum(part[name].matrix() for part in parts)
        same(each, g, each.weights)


def test_weights_are_measured_from_the_base():
    net, base, (x, y) = network("convolutional"), network("convolutional", 1), samples()
    layers, found = rows(net, x, y, base=base.eval())
    for name, layer in layers.items():
        torch.testing.assert_close(found[name].weights, (weight_of(net, layer) - weight_of(base, layer)).flatten())


def stationary_point(n, features=12, width=6, seed=0):
    """Rows in general position, weights that are their sum with known coefficients."""
    draw = child(seed, "point")
    delta, a = torch.randn(1, n, width, generator=draw), torch.randn(1, n, features, generator=draw)
    truth = torch.rand(n, generator=draw) * (torch.arange(n) % 2)
    made = Dense(delta, a, torch.zeros(width * features))
    size = made.squares().sqrt()
    return Dense(delta, a, made.combine(truth / size)), truth


@given(n=st.integers(2, 40), seed=st.integers(0, 9))
def test_coefficients_of_a_stationary_point_are_found_exactly(n, seed):
    rows, truth = stationary_point(n, seed=seed)
    torch.testing.assert_close(coefficients(rows, 1e-12).multipliers, truth, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("n", [30, 120, 200])  # the 72 weights are more, a few less, and far less
def test_the_three_ways_to_solve_agree(n):
    rows, _ = stationary_point(n)
    g = rows.matrix() / rows.squares().sqrt()[:, None]
    inverse = torch.linalg.inv(g @ g.T + 0.1 * torch.eye(n))
    exact = coefficients(rows, 0.1)
    lam = inverse @ (g @ rows.weights)
    torch.testing.assert_close(exact.multipliers, lam)
    torch.testing.assert_close(exact.scores, lam / inverse.diagonal().sqrt())
    large = coefficients(rows, 0.1, exact=0)
    torch.testing.assert_close(large.multipliers, lam, atol=2e-3 * float(lam.norm()), rtol=0)
    torch.testing.assert_close(large.scores, exact.scores, atol=1e-2 * float(exact.scores.norm()), rtol=0)
    assert large.outcome is Outcome.CONVERGED


def test_parts_are_drawn_from_the_whole_pool(monkeypatch):
    """Parts in the pool's order would hold candidates or reference alone, whose variances do not compare."""
    monkeypatch.setattr("vestige.membership.coefficients.PART", 30)
    rows, _ = stationary_point(30)
    twice = Dense(rows.delta.repeat(1, 2, 1), rows.a.repeat(1, 2, 1), rows.weights)
    found = coefficients(twice, 0.1, exact=0)
    spread = (found.multipliers / found.scores).square()
    alone = (coefficients(rows, 0.1).multipliers / coefficients(rows, 0.1).scores).square().repeat(2)
    assert ((spread / alone).log().abs() > 0.1).double().mean() > 0.25


@pytest.mark.parametrize(("ridge", "enough"), [(0.03, True), (3e-6, False)])
def test_single_precision_is_used_only_where_its_rounding_is_far_below_the_ridge(monkeypatch, ridge, enough):
    rows, _ = stationary_point(120)
    single = Dense((rows.delta + 3).float(), (rows.a + 3).float(), rows.weights)
    found = coefficients(single, ridge).multipliers
    monkeypatch.setattr("vestige.membership.coefficients.ROUNDING", 0.0)
    double = coefficients(single, ridge).multipliers
    assert found.equal(double) is not enough
    torch.testing.assert_close(found, double, atol=1e-4 * float(double.norm()), rtol=0)


def test_some_rows_precondition_the_others(monkeypatch):
    """Rows that lie near a few directions: without the preconditioner 60 iterations reach nothing."""
    draw = child(0, "alike")
    delta, a = (torch.randn(1, 600, k, generator=draw) @ torch.randn(1, k, k, generator=draw) for k in (20, 40))
    rows = Dense(delta + 3, a + 3, torch.randn(800, generator=draw))
    g = rows.matrix() / rows.squares().sqrt()[:, None]
    lam = torch.linalg.solve(g @ g.T + 0.01 * torch.eye(600), g @ rows.weights)
    monkeypatch.setattr("vestige.membership.coefficients.LONGEST", 60)
    outcomes = []
    for landmarks in (300, 1):
        monkeypatch.setattr("vestige.membership.coefficients.LANDMARKS", landmarks)
        found = coefficients(rows, 0.01, exact=0)
        outcomes.append(found.outcome)
        if landmarks == 300:
            torch.testing.assert_close(found.multipliers, lam, atol=1e-3 * float(lam.norm()), rtol=0)
    assert outcomes == [Outcome.CONVERGED, Outcome.BUDGET_SPENT]


def test_a_pool_of_rows_that_vanish_is_answered():
    rows, _ = stationary_point(20)
    found = coefficients(Dense(0 * rows.delta, rows.a, rows.weights), 0.1, exact=0)
    assert (found.scores == 0).all() and found.outcome is Outcome.CONVERGED


def test_a_budget_that_is_spent_is_said(monkeypatch):
    monkeypatch.setattr("vestige.membership.coefficients.LONGEST", 1)
    monkeypatch.setattr("vestige.membership.coefficients.LANDMARKS", 5)
    assert coefficients(stationary_point(30)[0], 0.1, exact=0).outcome is Outcome.BUDGET_SPENT


def test_weights_that_are_not_finite_are_said():
    rows, _ = stationary_point(10)
    assert coefficients(Dense(rows.delta, rows.a, rows.weights * torch.nan), 0.1).outcome is Outcome.NOT_FINITE


def test_a_row_of_zeros_has_score_zero():
    rows, _ = stationary_point(10)
    delta = rows.delta.clone()
    delta[:, 4] = 0
    scores = coefficients(Dense(delta, rows.a, rows.weights), 0.1).scores
    assert scores[4] == 0 and bool(torch.isfinite(scores).all()) and int((scores == 0).sum()) == 1


@pytest.mark.parametrize("loss", ["cross_entropy", "mse", "huber"])
def test_cotangents_have_length_one_and_the_direction_of_the_loss(loss):
    draw = child(0, "outputs")
    outputs, y = torch.randn(20, 4, generator=draw).requires_grad_(), torch.arange(20) % 4
    from vestige.core.margins import loss_value

    (slope,) = torch.autograd.grad(loss_value(outputs, y, loss), outputs)
    torch.testing.assert_close(unit_cotangents(outputs.detach(), y, loss), -slope / slope.norm(dim=1, keepdim=True))


def test_cotangents_survive_perfect_confidence():
    outputs = torch.tensor([[1e4, 0.0, 0.0], [1e4, 0.0, -1e4]])
    found = unit_cotangents(outputs, torch.tensor([0, 0]), "cross_entropy")
    torch.testing.assert_close(found[0], torch.tensor([2.0, -1.0, -1.0]) / 6**0.5)
    torch.testing.assert_close(found[1], torch.tensor([1.0, -1.0, 0.0]) / 2**0.5)
