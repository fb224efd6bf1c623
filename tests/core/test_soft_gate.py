"""The soft gate: the ReLU forwards, sigmoid(sharpness z) backwards, and the sigmoid's derivative behind it."""

import pytest
import torch
import torch.nn.functional as F
from core_reference import mlp
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.func import grad, vmap

from vestige.core.rng import child
from vestige.core.soft_gate import SmoothedReLU, smoothed, soft_relu


def by_autograd(z, sharpness):
    """A second implementation, from torch's own operations alone: relu(z) plus a softplus that cancels itself."""
    soft = -F.logsigmoid(-sharpness * z) / sharpness
    return soft - soft.detach() + z.relu().detach()


@given(sharpness=st.floats(0.5, 500.0), seed=st.integers(0, 9))
def test_values_and_two_derivatives_are_the_closed_form(sharpness, seed):
    z = torch.cat(
        [torch.randn(20, generator=child(seed)), torch.zeros(1), torch.tensor([-50.0, 50.0])]
    ).requires_grad_()
    gate = torch.sigmoid(sharpness * z.detach())
    for function in (soft_relu, by_autograd):
        value = function(z, sharpness)
        (first,) = torch.autograd.grad(value.sum(), z, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), z)
        assert torch.equal(value, z.relu())
        torch.testing.assert_close(first, gate)
        torch.testing.assert_close(second, sharpness * gate * (1 - gate), atol=1e-9, rtol=1e-9)


def test_it_is_differentiated_sample_by_sample_too():
    z = torch.randn(4, 3, generator=child(0))
    each = vmap(grad(lambda row: soft_relu(row, 7.0).square().sum()))(z)
    torch.testing.assert_close(each, 2 * z.relu() * torch.sigmoid(7.0 * z))


def test_a_sharp_gate_is_the_relu():
    z = torch.tensor([-1.0, -0.01, 0.01, 1.0], requires_grad=True)
    (sharp,) = torch.autograd.grad(soft_relu(z, 1e5).sum(), z)
    (soft,) = torch.autograd.grad(soft_relu(z, 1.0).sum(), z)
    torch.testing.assert_close(sharp, torch.tensor([0.0, 0.0, 1.0, 1.0]))
    assert not torch.allclose(soft, sharp, atol=0.2), "the null: a soft gate is none"


def test_smoothing_changes_only_the_derivative():
    shared = nn.ReLU()
    model = nn.Sequential(nn.Linear(3, 3), shared, nn.Linear(3, 3), shared).double()
    net = smoothed(model, 30.0)
    assert sum(isinstance(m, SmoothedReLU) for m in net) == 2 and not any(isinstance(m, SmoothedReLU) for m in model)
    x = torch.randn(70, 3, generator=child(0))
    assert torch.equal(net(x), model(x))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: smoothed(mlp(3, 2, 1), 0.0), "positive"),
        (lambda: smoothed(mlp(3, 2, 1, activation=nn.GELU), 5.0), "no nn.ReLU"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
