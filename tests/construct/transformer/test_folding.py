"""A folded forward pass gives what the modules give, and follows weights that are changed."""

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import vestige as vg
from vestige.construct.transformer import blocks
from vestige.construct.transformer.blocks import Embedding, Layer, Transformer, attention_head, mlp
from vestige.construct.transformer.folding import Folded
from vestige.construct.transformer.stream import Stream
from vestige.construct.transformer.wires import Wire, relu

STREAM = Stream({"token": 4, "id": 5, "sum": 2, "out": 2})


def some_network(draw, *, mask, read, ids, sink, fixed):
    """Heads whose keys or values may depend on no input, MLPs that carry numbers, of any depth."""
    number = torch.Generator().manual_seed(draw)

    def some(*shape):
        return torch.randn(*shape, generator=number, dtype=torch.float64)

    def mixed(count, names):
        places = [p for name in names for p in STREAM.places(name)]
        return [Wire({p: float(some(1)) for p in places}, float(some(1))) for _ in range(count)]

    def head(size, key, value):
        return attention_head(
            STREAM, query=mixed(size, STREAM.sizes), key=mixed(size, key), value=mixed(2, value), to=[9, 10]
        )

    free = tuple(STREAM.sizes)
    names = {"key": ("id",), "value": ("id",), "both": ("id",)}.get(fixed, free)
    heads = [
        head(
            6 if fixed == "key" else 2, names if fixed in ("key", "both") else free, names if fixed == "value" else free
        ),
        head(3, free, ("token",)),
    ]
    offset = attention_head(
        STREAM, query=mixed(2, STREAM.sizes), key=mixed(2, free), value=mixed(5, ("token",)), to=[9, 10, 9, 10, 9]
    )
    if fixed == "both":  # the pattern is the same for every input
        heads[1].query.weight.zero_()
        heads[1].key.weight.zero_()
    own, total = STREAM.wires("token"), STREAM.wires("sum")
    deep = relu(1 - relu(own[0] - own[1])) + total[1]
    layers = [
        Layer(
            [*heads, offset],
            mlp(
                STREAM,
                {"out": [relu(own[0] - total[0]), total[1] + relu(own[2]) + relu(own[2])]},
                clear=["sum", "token"],
            ),
        ),
        Layer(heads[:1], mlp(STREAM, {"out": [deep, relu(total[0])]}, clear=["sum"])),
        Layer([], mlp(STREAM, {"token": mixed(4, free)})),
        Layer(heads[1:]),
    ]
    table, position = torch.zeros(5, STREAM.width).double(), torch.zeros(6, STREAM.width).double()
    table[:, :4], position[:, 4:9] = some(5, 4), some(6, 5)
    embedding = Embedding(
        table, (1, 6), ids=ids, position=position, last=some(STREAM.width), sink=some(STREAM.width) if sink else None
    )
    return Transformer(STREAM, embedding, layers, mixed(2, free), read=read, mask=mask)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 999),
    mask=st.sampled_from(["none", "causal", "others"]),
    read=st.sampled_from([None, 0, -1]),
    ids=st.booleans(),
    sink=st.booleans(),
    fixed=st.sampled_from(["", "key", "value", "both"]),
    n=st.integers(2, 6),
)
def test_folding_changes_nothing(seed, mask, read, ids, sink, fixed, n):
    network = some_network(seed, mask=mask, read=read, ids=ids, sink=sink, fixed=fixed)
    draw = torch.Generator().manual_seed(seed)
    x = torch.randint(5, (3, n), generator=draw) if ids else torch.randn(3, n, 5, generator=draw).double()
    plain, folded = network(x), Folded(network, n)(x)
    folded = folded[:, int(sink) :] if read is None else folded[:, 0]
    assert folded.shape == plain.shape
    torch.testing.assert_close(folded, plain, rtol=1e-9, atol=1e-9 * float(1 + plain.abs().max()))


@pytest.mark.parametrize("build", [vg.construct.build_triangle_counter, vg.construct.build_connectivity])
def test_large_batches_are_many_small_ones(build):
    network = build(20).network.float()
    x = vg.construct.graph_tokens(vg.construct.random_graphs(20, 700, density=0.2)).float()
    together = network(x)
    assert network._folded is not None
    assert torch.equal(together.round(), torch.cat([network(part) for part in x.split(1)]).round())
    assert network(x[:0]).shape == (0, 1)
    folded = network._folded[2]
    done = [folded.enter(x[:2])]
    for step in folded.steps:
        done.append(step(done))
    assert max(made.shape[2] for made in done) <= 40  # two neurons a node: what is only carried is not computed


@pytest.mark.parametrize("change", ["in place", "data", "another", "dtype", "tokens"])
def test_weights_that_are_changed_are_folded_anew(monkeypatch, change):
    network = some_network(3, mask="none", read=-1, ids=True, sink=True, fixed="")
    x = torch.tensor([[0, 1, 2, 3]])
    monkeypatch.setattr(blocks, "SMALL", 0)
    before = network(x)
    query = network.layers[0].heads[0].query
    if change == "in place":
        query.weight[0, 3] += 2.0
    elif change == "data":
        query.weight.data[1, 1] = -7.0
    elif change == "another":
        query.weight = torch.nn.Parameter(2 * query.weight, requires_grad=False)
    elif change == "dtype":
        network = copy.deepcopy(network).float()
    else:
        x = x[:, :3]
    found = network(x)
    monkeypatch.setattr(blocks, "SMALL", 1 << 40)
    torch.testing.assert_close(found, network(x))
    assert found.dtype == network.readout.weight.dtype and (change == "dtype" or not torch.equal(found, before))


@pytest.mark.parametrize("kind", ["half", "weights", "inputs"])
def test_what_is_trained_or_halved_is_not_folded(monkeypatch, kind):
    """Gradients go through the modules, and half precisions round as they do."""
    monkeypatch.setattr(blocks, "SMALL", 0)
    network = vg.construct.build_triangle_counter(6).network
    x = vg.construct.graph_tokens(vg.construct.random_graphs(6, 2)).double()
    if kind == "half":
        assert network.bfloat16()(x).dtype == torch.bfloat16
    elif kind == "weights":
        network.readout.weight.requires_grad_()
        network(x).sum().backward()
        assert network.readout.weight.grad is not None
    else:
        x.requires_grad_()
        network(x).sum().backward()
        assert x.grad is not None and x.grad.abs().sum() > 0
    assert network._folded is None


def test_a_network_that_was_folded_can_be_copied_and_pickled(monkeypatch):
    monkeypatch.setattr(blocks, "SMALL", 0)
    network = vg.construct.build_triangle_counter(6).network
    x = vg.construct.graph_tokens(vg.construct.random_graphs(6, 2)).double()
    found = network(x)
    assert network._folded is not None
    for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert other._folded is None and torch.equal(other(x), found)
