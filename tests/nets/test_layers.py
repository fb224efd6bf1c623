"""Initial weights: their scales, the generator they come from, and what is refused."""

import math

import pytest
import torch
from torch import nn

from vestige.core.rng import child
from vestige.nets.layers import (
    Activation,
    Bias,
    activation_rule,
    bias_rule,
    check_sizes,
    empty_linear,
    has_bias,
    initialize,
)


def layers():
    return [nn.Linear(400, 300), nn.Linear(300, 200)]


@pytest.mark.parametrize(("rule", "carried"), [("first", [1, 0, 0]), ("all", [1, 1, 1]), ("none", [0, 0, 0])])
def test_which_layers_carry_a_bias(rule, carried):
    assert [has_bias(Bias(rule), index) for index in range(3)] == [bool(each) for each in carried]


def test_the_first_layer_is_gaussian_and_the_others_uniform():
    first, second = made = layers()
    initialize(made, first_init=0.5, init_scale=2.0, generator=child(0, "init"))
    # the standard error of a standard deviation from n draws is sd / sqrt(2 n): five of them, one in two million
    assert abs(first.weight.std().item() / 0.5 - 1) < 5 / math.sqrt(2 * first.weight.numel())
    assert first.weight.abs().max() > 1.5 and first.bias.std().item() == pytest.approx(0.5, rel=0.25)
    bound = 2 / math.sqrt(300)
    assert bound * 0.99 < second.weight.abs().max() <= bound and second.bias.abs().max() <= bound


def test_without_a_scale_of_its_own_the_first_layer_is_uniform_too():
    first, _ = made = layers()
    initialize(made, first_init=None, init_scale=1.0, generator=child(0, "init"))
    assert 0.99 / 20 < first.weight.abs().max() <= 1 / 20


def test_no_generator_means_always_the_same_and_never_the_global_one():
    state, drawn = torch.get_rng_state(), []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before, made = torch.get_rng_state(), layers()
        torch.set_rng_state(before)
        initialize(made, first_init=None, init_scale=1.0, generator=None)
        assert torch.equal(torch.get_rng_state(), before)
        drawn.append(made[0].weight)
    torch.set_rng_state(state)
    assert torch.equal(*drawn)


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.inf, math.nan])
def test_a_first_scale_is_positive_and_finite(wrong):
    with pytest.raises(ValueError, match="first_init"):
        initialize(layers(), first_init=wrong, init_scale=1.0, generator=None)


def test_layers_without_memory_are_left_empty():
    initialize([nn.Linear(3, 2, device="meta")], first_init=-1.0, init_scale=1.0, generator=None)


def test_an_empty_layer_draws_nothing():
    state = torch.get_rng_state()
    layer = empty_linear(3, 2, bias=False, dtype=torch.float32, device=None)
    assert torch.equal(torch.get_rng_state(), state) and layer.bias is None
    assert (layer.weight.shape, layer.weight.dtype, layer.weight.device.type) == ((2, 3), torch.float32, "cpu")


def test_names_and_sizes_are_checked():
    assert bias_rule("first") is Bias.FIRST and activation_rule("tanh") is Activation.TANH
    for call in (lambda: bias_rule("some"), lambda: activation_rule("step")):
        with pytest.raises(ValueError, match="must be one of"):
            call()
    check_sizes([1, 2], "widths")
    with pytest.raises(ValueError, match=r"widths must be positive integers; got 0 in \[3, 0\]"):
        check_sizes([3, 0], "widths")
