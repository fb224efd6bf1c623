"""A trained and a constructed network on the same samples."""

import copy
import math

import pytest
import torch
from torch import nn

from vestige.audit.gap import robustness_gap
from vestige.core.rng import child
from vestige.nets.fully_connected import mlp
from vestige.nets.training import train_to_margin


def sphere(d, n, seed=0):
    x = torch.randn((n, d), generator=child(seed, "sphere"))
    return x * math.sqrt(d) / x.norm(dim=1, keepdim=True), torch.arange(n) % 2


def trained(x, y, first_init=1e-4):
    start = mlp([x.shape[1], 100, 1], first_init=first_init, init_scale=0.1, generator=child(0, "net"))
    return start, train_to_margin(start, x, y, tol_loss=1e-8).model


def test_orthogonal_samples_have_a_closed_form():
    """A linear network at its KKT point falls at R / sqrt(n); the constructed one is robust up to R / 2."""
    linear = nn.Linear(4, 1, bias=False)
    x, y = 2.0 * torch.eye(4), torch.tensor([1, 0, 1, 0])
    linear.weight.data = (2 * y - 1)[None].double()
    both = robustness_gap(linear, x, y)
    assert (both.dimension, both.samples, both.flipped) == (4, 4, 0)
    assert both.trained.radius == pytest.approx(2 / math.sqrt(4))
    assert both.constructed.numbers["eps"] == pytest.approx(1.0)
    assert both.gap == pytest.approx(1.0)


def test_a_perturbation_that_is_longer_than_the_certified_radius_can_flip_the_constructed_network():
    linear = nn.Linear(2, 1, bias=False)
    linear.weight.data = torch.tensor([[1.0, -0.1]])  # margins 2 and 0.2: both are counted as the margin set
    both = robustness_gap(linear, 2.0 * torch.eye(2), torch.tensor([1, 0]), margin_tol=10.0)
    assert both.trained.radius == pytest.approx(2 * math.sqrt(2) / 1.1) and both.flipped == 2
    assert both.gap == pytest.approx(1 / both.trained.radius)


def test_the_users_model_and_the_global_generator_are_left_alone():
    x, y = sphere(40, 6)
    net = trained(x, y)[1].train()
    before, state = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    robustness_gap(net, x, y)
    assert torch.equal(state, torch.get_rng_state()) and net.training
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
