"""Small classifiers with boundaries worth attacking."""

import pytest
import torch
from torch import nn

from vestige.core.rng import child


def random_net(classes=4, size=12, seed=0):
    model = nn.Sequential(nn.Linear(size, 24), nn.Tanh(), nn.Linear(24, classes)).eval()
    draw = child(seed, "net")
    for p in model.parameters():
        p.data = torch.randn(p.shape, generator=draw) / p.shape[-1] ** 0.5
    x = torch.rand((40, size), generator=draw)
    model[2].bias.data -= model(x).mean(0).detach()  # so that every class occurs
    return model, x, model(x).argmax(1).detach()


@pytest.fixture(params=[2, 3, 4, 10])
def net(request):
    return random_net(request.param)


@pytest.fixture
def make_net():
    return random_net


@pytest.fixture
def one_net():
    return random_net()
