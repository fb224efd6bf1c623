"""Where several sums of gradients explain the weights, the one of the samples at the margin is taken."""

import torch
from torch import nn

import vestige as vg
from vestige.unlearning.slackness import least_slack


def linear(weight):
    net = nn.Linear(len(weight), 1, bias=False).double().requires_grad_(True)
    net.weight.data = torch.tensor([weight], dtype=torch.float64)
    return net.eval()


def test_a_sample_far_behind_the_margin_gets_nothing():
    """w = x_1 + x_2 = x_3 / 2, and x_3 has four times the margin."""
    x, y = torch.tensor([[1.0, 0], [0, 1], [2, 2]], dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    net = linear([1.0, 1.0])
    point = vg.stationarity(net, x, y, loss="logistic", multipliers="nonnegative", competitors="all")
    found = least_slack(net, x, y, point, [""])
    torch.testing.assert_close(found.multipliers, torch.tensor([1.0, 1, 0], dtype=torch.float64), atol=1e-3, rtol=0)
    assert found.support.tolist() == [True, True, False]


def test_multipliers_that_are_unique_stay():
    x, y = torch.tensor([[1.0, 0], [1, 1]], dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    net = linear([2.0, 1.0])
    point = vg.stationarity(net, x, y, loss="logistic", multipliers="nonnegative", competitors="all")
    assert least_slack(net, x, y, point, [""]) is point
