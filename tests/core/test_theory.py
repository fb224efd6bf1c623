import pytest
import torch
from core_reference import cnn, mlp
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

from vestige.core.rng import child
from vestige.core.theory import check_theory

PROBES = torch.randn(8, 4, generator=child(0, "probes"), dtype=torch.float64)


@given(depth=st.integers(1, 4), width=st.integers(2, 6), seed=st.integers(0, 5))
def test_a_first_layer_bias_keeps_the_degree_at_the_depth(depth, width, seed):
    """A2."""
    model = mlp(4, *[width] * (depth - 1), 2, seed=seed)
    assume(bool(model(PROBES).any()))  # zero has every degree
    found = check_theory(model, PROBES)
    assert found.homogeneous
    assert found.degree == depth
    assert found.max_gap < 1e-12
    assert found.falls == () == found.warnings


def test_convolutions_are_covered():
    assert check_theory(cnn(), (3, 8, 8)).degree == 3
    assert check_theory(cnn(), torch.randn(2, 3, 8, 8)).degree == 3


def test_a_late_bias_is_found():
    """A2: by the numbers and by name."""
    found = check_theory(mlp(4, 5, 6, 2, bias="all"), (4,))
    assert not found.homogeneous
    assert found.degree is None
    assert found.max_gap > 1e-3
    assert [layer.name for layer in found.layers if not layer.covered] == ["3", "5"]
    assert found.falls == ("margin",)
    zero = mlp(4, 5, 2, bias="all")
    nn.init.zeros_(zero[3].bias)
    assert not check_theory(zero, (4,)).homogeneous


def net(*middle, head=()):
    return nn.Sequential(nn.Linear(4, 6), *middle, nn.Linear(6, 3, bias=False), *head)


class Skip(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4, bias=False)

    def forward(self, x):
        return x + self.inner(x)


@pytest.mark.parametrize(
    ("model", "kind", "falls"),
    [
        (net(nn.GELU()), "GELU", ("margin",)),
        (net(nn.Tanh()), "Tanh", ("margin",)),
        (net(nn.LayerNorm(6), nn.ReLU()), "LayerNorm", ("margin",)),
        (net(nn.BatchNorm1d(6), nn.ReLU()), "BatchNorm1d", ("margin", "weight_decay")),
        (net(nn.ReLU(), nn.Dropout(0.5)), "Dropout", ("margin", "weight_decay")),
        (net(nn.ReLU(), head=[nn.Softmax(1)]), "Softmax", ("margin", "weight_decay")),
        (net(nn.ReLU(), head=[nn.Sigmoid()]), "Sigmoid", ("margin", "weight_decay")),
        (Skip(), "Skip", ("margin",)),
    ],
)
def test_each_layer_outside_the_theory_has_its_reason(model, kind, falls):
    found = check_theory(model, (4,))
    assert not found.homogeneous
    (layer,) = (layer for layer in found.layers if not layer.covered)
    assert layer.kind == kind
    assert found.falls == falls
    assert kind in found.warnings[0]
    assert ("claims fall" in found.warnings[0]) == (len(falls) == 2)


def test_what_does_nothing_is_no_obstacle():
    assert check_theory(net(nn.ReLU(), nn.Dropout(0.0)), (4,)).homogeneous
    assert check_theory(net(nn.LeakyReLU(0.1), nn.Identity()), (4,)).degree == 2


@given(depth=st.integers(2, 4), layer=st.integers(0, 3), seed=st.integers(0, 5))
def test_a_dead_network_has_every_degree_and_is_called_dead(depth, layer, seed):
    dead = mlp(4, *[3] * (depth - 1), 2, seed=seed)
    linear = [m for m in dead if isinstance(m, nn.Linear)]
    for p in linear[layer % depth].parameters():
        nn.init.zeros_(p)
    found = check_theory(dead, PROBES)
    assert (found.homogeneous, found.degree, found.max_gap) == (True, None, 0.0)
    assert found.falls == ("margin",)
    (warning,) = found.warnings
    assert "zero at every probe" in warning and "skip" not in warning


class Threshold(nn.Module):
    """Zero at its weights and not at twice them."""

    def __init__(self):
        super().__init__()
        self.size = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return (self.size * torch.ones_like(x) - 1).relu()


def test_zero_here_and_not_there_is_no_dead_network():
    found = check_theory(Threshold(), PROBES)
    assert not found.homogeneous and found.degree is None
    assert "scaling the weights" in found.warnings[0]


def test_scaling_is_tried_in_both_directions():
    class Kinked(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(()))

        def forward(self, x):
            return x * torch.where(self.weight >= 1, self.weight, self.weight**2)

    found = check_theory(Kinked(), (3,))
    assert not found.homogeneous and found.degree is None and found.max_gap == pytest.approx(0.25)


def test_nan_weights_are_refused():
    broken = mlp(4, 5, 2)
    nn.init.constant_(broken[3].weight, torch.nan)
    with pytest.raises(ValueError, match="NaN"):
        check_theory(broken, (4,))
