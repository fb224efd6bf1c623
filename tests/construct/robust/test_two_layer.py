"""The two-layer network that is written down: its margin, its certified radius, and what has none."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

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
