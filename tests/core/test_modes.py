"""A model's modes, submodule by submodule, are as before: after success and after an error."""

import itertools

import pytest
import torch
from torch import nn

from vestige.core.modes import evaluating


def network(modes):
    net = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2)))
    for module, training in zip(net.modules(), modes, strict=True):
        module.training = training
    return net


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_every_mix_of_modes_comes_back(error):
    for modes in itertools.product([False, True], repeat=5):
        net = network(modes)
        try:
            with evaluating(net):
                assert not any(module.training for module in net.modules())
                if error is not None:
                    raise error
        except (ValueError, KeyboardInterrupt) as raised:
            assert error is not None and isinstance(raised, error)
        assert tuple(module.training for module in net.modules()) == modes


def test_inside_dropout_is_off_and_statistics_stand_still():
    net, x = network([True] * 5), torch.randn(4, 2)
    with evaluating(net):
        assert torch.equal(net(x), net(x))
    assert int(net[1][1].num_batches_tracked) == 0
    net(x)
    assert int(net[1][1].num_batches_tracked) == 1
