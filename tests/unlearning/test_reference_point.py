"""The nearest network with a given pattern: a projection that can be written down for one sample."""

import pytest
import torch
from torch import nn

from vestige.core.rng import child
from vestige.nets.fully_connected import mlp
from vestige.unlearning import reference_point as module
from vestige.unlearning.reference_point import reference_point


def two_layers(bias="none", width=6, size=8, seed=0):
    return mlp([size, width, 1], bias=bias, generator=child(seed, "reference"), dtype=torch.float64)


def test_a_network_with_its_own_pattern_is_left_as_it_is():
    net, x = two_layers(), torch.randn(4, 8, generator=child(0, "x"))
    found = reference_point(net, net[1], net[1], x, 0.0)
    assert torch.equal(found.model[1].weight, net[1].weight) and (found.repaired, found.wrong) == (0, 0)
    assert found.model is not net


@pytest.mark.parametrize("bias", ["none", "first"])
def test_one_sample_at_a_kink_is_projected_out(bias):
    net, x = two_layers(bias), torch.randn(1, 8, generator=child(1, "x"))
    pattern = nn.Linear(8, 6, bias=bias == "first")
    pattern.weight.data = net[1].weight.detach().clone()
    pattern.weight.data[2] -= pattern.weight.data[2] @ x[0] * x[0] / (x[0] @ x[0])
    if pattern.bias is not None:
        pattern.bias.data = net[1].bias.detach().clone()
        pattern.bias.data[2] = 0
    found = reference_point(net, net[1], pattern, x, 1e-9)
    row = x[0] if bias == "none" else torch.cat([x[0], torch.ones(1)])
    before = net[1](x)[0, 2].detach()
    change = net[1].weight[2].detach() - found.model[1].weight[2].detach()
    torch.testing.assert_close(change, before * x[0] / (row @ row))
    assert abs(found.model[1](x)[0, 2].item()) < 1e-12 < abs(before.item())
    others = torch.arange(6) != 2
    assert torch.equal(found.model[1].weight[others], net[1].weight[others]) and found.repaired == found.wrong == 0


def test_signs_that_turned_are_brought_to_zero_and_counted():
    net, x = two_layers(), torch.randn(3, 8, generator=child(2, "x"))
    pattern = nn.Linear(8, 6, bias=False)
    pattern.weight.data = net[1].weight.detach().clone()
    pattern.weight.data[[0, 4]] *= -1  # every pair of these neurons has the wrong sign
    found = reference_point(net, net[1], pattern, x, 0.0)
    assert found.repaired == pytest.approx(2 / 6) and found.wrong == 0
    assert found.model[1](x)[:, [0, 4]].abs().max() < 1e-9
    keep = [1, 2, 3, 5]
    assert torch.equal(found.model[1].weight[keep], net[1].weight[keep])


def test_without_repair_the_wrong_pairs_are_said(monkeypatch):
    monkeypatch.setattr(module, "ROUNDS", 0)
    net, x = two_layers(), torch.randn(3, 8, generator=child(2, "x"))
    pattern = nn.Linear(8, 6, bias=False)
    pattern.weight.data = -net[1].weight.detach()
    assert reference_point(net, net[1], pattern, x, 0.0).wrong == 1


def test_systems_solved_in_parts_are_those_solved_at_once(monkeypatch):
    net, other = two_layers(), two_layers(seed=3)
    x = torch.randn(5, 8, generator=child(4, "x"))
    whole = reference_point(net, net[1], other[1], x, 1e-2)
    monkeypatch.setattr(module, "CHUNK", 1)
    parts = reference_point(net, net[1], other[1], x, 1e-2)
    torch.testing.assert_close(whole.model[1].weight, parts.model[1].weight)
    assert (whole.repaired, whole.wrong) == (parts.repaired, parts.wrong) and whole.repaired > 0
