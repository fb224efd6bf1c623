"""What must fail where balls are claimed: trained networks, changed ones, and options without meaning."""

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
import torch

from vestige.construct.exact.layers import Layer, layer
from vestige.construct.exact.network import ExactNetwork
from vestige.construct.robust.balls import Balls
from vestige.construct.robust.memorizer import memorize_robustly
from vestige.construct.robust.radius import max_robust_radius
from vestige.nets.fully_connected import mlp

EXACT: dict[str, Any] = {"projection": "identity"}


def gaussian(n=7, d=5, classes=3, seed=0):
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=draw)
    x[classes] = x[0] + 1e-3  # a point of the same label nearly on top of another: their balls overlap
    return x, torch.arange(n) % classes


def labels_at(network, points):
    return [Fraction(v) for v in network(points)[:, 0]]


def test_overlapping_balls_of_one_label_do_not_add_up():
    x = torch.tensor([[0.0, 0.0], [0.1, 0.0], [0.2, 0.0], [3.0, 0.0]])
    made = memorize_robustly(x, torch.tensor([5, 5, 5, 7]), norm="inf", eps=1.2, **EXACT)
    assert labels_at(made.network, x) == [5, 5, 5, 7]
    assert labels_at(made.network, [[0.1, 1.0], [-1.0, -1.0], [2.0, 1.1]]) == [5, 5, 7]


def as_exact(model):
    layers = []
    for linear in (m for m in model if isinstance(m, torch.nn.Linear)):
        rows = [(dict(enumerate(w)), b) for w, b in zip(linear.weight.tolist(), linear.bias.tolist(), strict=True)]
        layers.append(layer(linear.in_features, rows))
    return ExactNetwork(tuple(layers))


def trained(x, y, width):
    model = mlp([x.shape[1], width, width, 1], bias="all", generator=torch.Generator().manual_seed(0), dtype=x.dtype)
    adam = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(1000):
        loss = (model(x)[:, 0] - y).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    return model


def test_a_trained_network_of_the_same_width_is_right_at_the_points_and_wrong_in_the_balls():
    x, y = gaussian(n=16, d=12, classes=2)
    made = memorize_robustly(x, y, width=9, projection="optimized", layout="parallel")
    null = as_exact(trained(x, y, 9))
    assert isinstance(made.specification, Balls)
    probes, owners = made.specification.probes()

    def wrong(network, points, targets):
        return sum(abs(v - t) >= 0.5 for v, t in zip(labels_at(network, points), targets, strict=True))

    assert wrong(null, x, y.tolist()) == 0  # it memorized
    assert wrong(null, probes, y[owners].tolist()) > 0
    assert wrong(made.network, probes, y[owners].tolist()) == 0
    assert not any(claim.holds for claim in made.specification.check(null)[2:])


def test_networks_that_do_nothing_and_changed_ones_fail():
    x, y = gaussian()
    made = memorize_robustly(x, y, width=5)
    zero = ExactNetwork((layer(5, [({}, 0)]),))
    assert not all(claim.holds for claim in made.specification.check(zero))
    last = made.network.layers[-1].neurons[0]
    changed = replace(last, bias=2 * last.bias + 1, weights=tuple(2 * w for w in last.weights), shift=last.shift + 1)
    network = ExactNetwork((*made.network.layers[:-1], Layer(made.network.layers[-1].inputs, (changed,))))
    assert not made.specification.check(network)[0].holds
    shuffled = Balls(x.numpy(), y.numpy()[::-1, None].copy(), made.numbers["eps"], 2.0, "")
    assert not shuffled.check(made.network)[0].holds


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.tensor([[0.0], [math.nan]])}, "x holds 1 NaN"),
        ({"y": torch.tensor([0.0, math.inf])}, "y holds 1 NaN"),
        ({"x": torch.zeros(2, 1)}, "points 0 and 1 are equal, with labels 0 and 1"),
        ({"y": torch.tensor([0, 1, 2])}, "one number a point"),
        ({"eps": 0.5}, r"below 0.5 is allowed for any function: points 0 and 1 have different labels"),
        ({"eps": 0}, "eps must be positive"),
        ({"eps": math.nan}, "eps must be positive"),
        ({"width": 3}, "4 to 4 are allowed in dimension 1"),
        ({"norm": 0}, "from 1 to inf"),
        ({"projection": "magic"}, "'magic' given for Projection; allowed are 'random', 'optimized' and 'identity'"),
        ({"layout": "magic"}, "'magic' given for Layout; allowed are 'narrow' and 'parallel'"),
    ],
)
def test_bad_input_is_named(change, message):
    given: dict[str, Any] = {"x": torch.tensor([[0.0], [1.0]]), "y": torch.tensor([0, 1]), **change}
    with pytest.raises(ValueError, match=message):
        memorize_robustly(given.pop("x"), given.pop("y"), **given)


def test_what_a_first_layer_does_not_allow_is_refused_with_what_would_work():
    x, y = gaussian()
    with pytest.raises(ValueError, match=r"below 1\.\d+ is allowed after this first layer of 2 rows.*optimized"):
        memorize_robustly(x, y, width=5, eps=0.95 * max_robust_radius(x, y))
    with pytest.raises(ValueError, match="8 is needed"):
        memorize_robustly(x, y, width=6, projection="identity")
    with pytest.raises(ValueError, match="layout='parallel'"):
        memorize_robustly(torch.randn(100, 200), torch.arange(100), projection="identity")
