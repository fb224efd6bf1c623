"""Initialization and homogeneity of the fully connected networks."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vestige.nets.fully_connected import mlp


@given(
    depth=st.integers(1, 4), bias=st.sampled_from(["first", "none"]), alpha=st.floats(0.1, 4), seed=st.integers(0, 5)
)
def test_homogeneous_of_degree_depth(depth, bias, alpha, seed):
    generator = torch.Generator().manual_seed(seed)
    model = mlp([5] + [4] * (depth - 1) + [3], bias=bias, generator=generator)
    x = torch.randn(6, 5, generator=generator)
    before = model(x)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(alpha)
    torch.testing.assert_close(model(x), alpha**depth * before)


def test_bias_in_every_layer_breaks_homogeneity():
    model, x = mlp([5, 4, 3], bias="all"), torch.ones(2, 5)
    before = model(x)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.0)
    assert not torch.allclose(model(x), 4 * before)


def test_computes_its_matrices():
    model, x = mlp([3, 4, 2]), torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    first, second = (layer for layer in model if isinstance(layer, nn.Linear))
    expected = torch.relu(x @ first.weight.T + first.bias) @ second.weight.T
    torch.testing.assert_close(model(x), expected)
    assert second.bias is None


def test_initial_scales():
    model = mlp([50, 400, 10], first_init=1e-3, init_scale=0.5, generator=torch.Generator().manual_seed(0))
    assert model[1].weight.std().item() == pytest.approx(1e-3, rel=0.05)  # 20,000 draws: one sigma is 0.5 %
    assert 0.9 * 0.5 / 20 < model[3].weight.abs().max().item() <= 0.5 / 20


def test_leaves_the_global_random_state_alone_and_repeats():
    state = torch.get_rng_state()
    a, b = mlp([4, 3, 2]), mlp([4, 3, 2])
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(a[1].weight, b[1].weight)
    other = mlp([4, 3, 2], generator=torch.Generator().manual_seed(3))
    assert not torch.equal(a[1].weight, other[1].weight)


@pytest.mark.parametrize(
    ("widths", "options", "said"),
    [
        ([5], {}, "input and an output"),
        ([5, 0, 1], {}, "positive integers"),
        ([5, 1], {"bias": "second"}, "first, all, none"),
        ([5, 1], {"activation": "relu6"}, "leaky_relu"),
        ([5, 1], {"first_init": 0.0}, "standard deviation"),
        ([5, 1], {"first_init": float("nan")}, "standard deviation"),
    ],
)
def test_bad_input_is_named(widths, options, said):
    with pytest.raises(ValueError, match=said):
        mlp(widths, **options)
