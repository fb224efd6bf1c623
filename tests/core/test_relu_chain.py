"""What is read as a chain, and what is refused with which repair."""

import pytest
import torch
from torch import nn

from vestige.core.relu_chain import find_relu_chain, first_linear, read_relu_chain
from vestige.nets.fully_connected import mlp

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
        (nn.Sequential(), "no layers"),
        (nn.Sequential(nn.Flatten(2), *TWO), "layer '0' is a Flatten"),
        (nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(4, 1)), "layer '0' has 3 outputs and layer '2' reads 4"),
        (nn.Sequential(TWO[0], nn.Sequential(nn.GELU()), TWO[2]), r"layer '1\.0' is a GELU"),
        (
            nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)),
            "layer '1' is a Tanh; an nn.Sequential of nn.Linear",
        ),
        (nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.ReLU(), TWO[2]), "BatchNorm1d.*fold it into the linear"),
        (nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), TWO[2]), "Conv2d.*write it out as a linear layer"),
        (nn.Sequential(TWO[0], TWO[2]), "Linear behind another Linear; multiply"),
        (nn.Sequential(*TWO, nn.ReLU()), "ends with a ReLU"),
        (nn.Sequential(nn.ReLU(), *TWO), "comes before any linear layer"),
        (nn.Sequential(TWO[0], nn.ReLU(), nn.ReLU(), TWO[2]), "follows another ReLU"),
        (nn.MultiheadAttention(2, 1), "the network is a MultiheadAttention"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_refuses(model, message):
    with pytest.raises(ValueError, match=message):
        read_relu_chain(model)


class Wrapper(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x)


class Backwards(nn.Sequential):
    def forward(self, input):
        for module in reversed(self):
            input = module(input)
        return input


def test_code_of_the_user_s_own_is_not_guessed():
    with pytest.raises(ValueError, match=r"the network is a Wrapper.*run its part 'net', give that part"):
        read_relu_chain(Wrapper(nn.Sequential(*TWO)))
    with pytest.raises(ValueError, match="the network is a Backwards"):
        read_relu_chain(Backwards(*TWO))
    assert read_relu_chain(type("Plain", (nn.Sequential,), {})(*TWO)).depth == 2


def test_every_way_to_write_the_same_network_reads_the_same():
    a, b, c, relu = nn.Linear(3, 5), nn.Linear(5, 4, bias=False), nn.Linear(4, 2), nn.ReLU()
    ways = {
        ("0", "2", "4"): nn.Sequential(a, relu, b, relu, c),  # one ReLU used twice
        ("1", "3", "6"): nn.Sequential(nn.Flatten(), a, nn.ReLU(inplace=True), b, nn.Dropout(), nn.ReLU(), c),
        ("0.0", "0.2.0", "1"): nn.Sequential(nn.Sequential(a, relu, nn.Sequential(b, relu)), c),
        ("1.0", "1.2", "2"): nn.Sequential(nn.Identity(), nn.Sequential(a, relu, b, relu), c),
    }
    x = torch.randn(7, 3)
    for names, model in ways.items():
        chain = read_relu_chain(model)
        assert (chain.names, chain.layers) == (names, (a, b, c))
        assert all(model.get_submodule(name) is layer for name, layer in zip(names, chain.layers, strict=True))
        torch.testing.assert_close(chain.module()(x), model.eval()(x), rtol=0, atol=0)
        assert [affine.bias is None for affine in chain.affine()] == [False, True, False]
        assert find_relu_chain(model) is not None


def test_one_layer_is_a_chain_of_depth_one():
    for model, name in ((nn.Linear(2, 1), ""), (nn.Sequential(nn.Flatten(), nn.Linear(2, 1)), "1")):
        chain = read_relu_chain(model)
        assert (chain.names, chain.depth, chain.hidden) == ((name,), 1, ())


def test_shared_weights_are_read_but_not_found():
    """They have no gradient of their own; as a function the chain is what it is."""
    same = nn.Linear(3, 3)
    model = nn.Sequential(same, nn.ReLU(), same)
    x = torch.randn(4, 3)
    torch.testing.assert_close(read_relu_chain(model).module()(x), model(x), rtol=0, atol=0)
    assert find_relu_chain(model) is None and first_linear(model) is None
    other = nn.Linear(3, 3)
    other.weight = same.weight
    assert find_relu_chain(nn.Sequential(same, nn.ReLU(), other)) is None


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (nn.Linear(3, 1), ""),
        (nn.Sequential(nn.Flatten(), nn.Linear(3, 2), nn.LayerNorm(2), nn.Tanh()), "1"),
        (nn.Sequential(nn.Sequential(nn.Identity(), nn.Flatten()), nn.Sequential(nn.Linear(3, 2))), "1.0"),
        (nn.Sequential(nn.Dropout(), nn.Linear(3, 1)), None),  # training does not see the input itself
        (nn.Sequential(nn.ReLU(), nn.Linear(3, 1)), None),
        (nn.Sequential(nn.Flatten(0), nn.Linear(3, 1)), None),
        (nn.Sequential(nn.Conv1d(1, 1, 1), nn.Linear(3, 1)), None),
        (nn.Sequential(), None),
    ],
)
def test_the_layer_that_reads_the_input(model, name):
    found = first_linear(model)
    assert (found and found[0]) == name
    if found is not None:
        assert model.get_submodule(found[0]) is found[1]


def test_refuses_complex_weights():
    with pytest.raises(ValueError, match=r"0.weight is torch.complex64; real weights"):
        read_relu_chain(nn.Sequential(nn.Linear(2, 3, dtype=torch.complex64), nn.ReLU(), nn.Linear(3, 1)))


def test_refuses_weights_that_are_not_finite():
    model = mlp([2, 3, 1], bias="all")[1:]
    model[0].weight.data[1, 1] = float("nan")
    with pytest.raises(ValueError, match=r"weight holds 1 NaN or infinite values of 6"):
        read_relu_chain(model)
