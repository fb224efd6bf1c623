"""Gradients with given gates: autograd's with 0 and 1, a sum of two with a half, and the layers of a step."""

import pytest
import torch
from torch import nn

from vestige.core.rng import child
from vestige.nets.fully_connected import mlp
from vestige.unlearning.gates import changed_layers, gated_gradient, stacked


@pytest.fixture
def case():
    net, draw = mlp([5, 7, 4, 2], generator=child(0, "gates"), dtype=torch.float64), child(1, "gates")
    return net, torch.randn(6, 5, generator=draw), torch.randn(6, 2, generator=draw)


def gates_of(net, x):
    first = net[1](x)
    return {"1": (first > 0).to(x), "3": (net[3](first.relu()) > 0).to(x)}


def test_gates_of_0_and_1_give_autograd_s_gradient(case):
    net, x, coef = case
    expected = torch.autograd.grad((coef * net(x)).sum(), list(net.parameters()))
    for gates in ({}, gates_of(net, x)):
        found = gated_gradient(net, x, coef, gates)
        assert list(found) == [name for name, _ in net.named_parameters()]
        for value, wanted in zip(found.values(), expected, strict=True):
            torch.testing.assert_close(value, wanted)


def test_a_gate_of_a_half_lies_between_closed_and_open(case):
    net, x, coef = case
    found = []
    for value in (0.0, 0.5, 1.0):
        gates = gates_of(net, x)
        gates["3"][2, 1] = value
        found.append(gated_gradient(net, x, coef, gates)["1.weight"])
    torch.testing.assert_close(found[1], (found[0] + found[2]) / 2)
    assert not torch.equal(found[0], found[2])


def test_frozen_parameters_have_no_gradient(case):
    net, x, coef = case
    net[5].weight.requires_grad_(False)
    assert "5.weight" not in gated_gradient(net, x, coef, gates_of(net, x))
    assert "5.weight" not in gated_gradient(net, x, coef, {})


def test_a_step_is_about_the_first_trained_layer_where_none_is_named(case):
    net, *_ = case
    assert changed_layers(net, None) == ["1"] and changed_layers(net, ["1", "5"]) == ["1", "5"]
    net[1].requires_grad_(False)
    assert changed_layers(net, None) == ["3"]


def test_parameters_of_some_layers_are_one_vector():
    net = nn.Sequential(nn.Linear(2, 1), nn.Linear(1, 1))
    tensors = {"0.weight": torch.tensor([[1.0, 2.0]]), "0.bias": torch.tensor([3.0]), "1.weight": torch.tensor([[4.0]])}
    assert stacked(tensors, ["0"]).tolist() == [1, 2, 3] and stacked(tensors, ["1", "0"]).tolist() == [1, 2, 3, 4]
    assert not stacked(dict(net.named_parameters()), ["0"]).requires_grad
