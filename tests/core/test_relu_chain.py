"""What is read as a chain, and what is refused with which repair."""

import pytest
import torch
from torch import nn

from vestige.core.relu_chain import read_relu_chain
from vestige.nets.mlp import mlp

TWO = (nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))


def test_reads_what_torch_computes():
    model = mlp([3, 5, 4, 2], bias="all")[1:]
    chain = read_relu_chain(
        nn.Sequential(nn.Flatten(), nn.Sequential(*model[:3]), nn.Dropout(), nn.Identity(), *model[3:])
    )
    assert (chain.inputs, chain.outputs, chain.depth, chain.hidden) == (3, 2, 3, (5, 4))
    x = torch.randn(9, 3)
    torch.testing.assert_close(chain.module()(x), model(x), rtol=0, atol=0)


def test_narrow_floats_and_missing_biases_are_exact():
    model = mlp([2, 3, 1], dtype=torch.float32)
    chain = read_relu_chain(model)
    assert torch.equal(torch.from_numpy(chain.weights[0]), model[1].weight.double())
    assert chain.biases[1].tolist() == [0.0]
    chain.weights[0][:] = 0
    assert bool(model[1].weight.detach().all())  # a copy


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Linear(2, 1), "1 linear layer; at least 2"),
        (nn.Sequential(nn.Linear(2, 1)), "1 linear layer; at least 2"),
        (
            nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)),
            "layer '1' is a Tanh; an nn.Sequential of nn.Linear",
        ),
        (nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.ReLU(), TWO[2]), "BatchNorm1d.*fold it into the linear"),
        (nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), TWO[2]), "Conv2d.*write it out as a linear layer"),
        (nn.Sequential(TWO[0], TWO[2]), "Linear behind another Linear; multiply"),
        (nn.Sequential(*TWO, nn.ReLU()), "ends with a ReLU"),
        (nn.Sequential(nn.ReLU(), *TWO), "before any linear layer"),
        (nn.Sequential(TWO[0], nn.ReLU(), nn.ReLU(), TWO[2]), "follows another ReLU"),
        (nn.MultiheadAttention(2, 1), "the network is a MultiheadAttention"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_refuses(model, message):
    with pytest.raises(ValueError, match=message):
        read_relu_chain(model)


def test_refuses_weights_that_are_not_finite():
    model = mlp([2, 3, 1], bias="all")[1:]
    model[0].weight.data[1, 1] = float("nan")
    with pytest.raises(ValueError, match=r"weight holds 1 NaN or infinite values of 6"):
        read_relu_chain(model)
