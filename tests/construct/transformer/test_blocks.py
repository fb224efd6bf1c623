"""The transformer is the one that torch and a plain loop compute, and it says what it is."""

import pytest
import torch
from torch import nn

import vestige as vg
from vestige.construct.transformer.blocks import Embedding, Layer, Transformer, attention_head, mlp
from vestige.construct.transformer.stream import Stream
from vestige.construct.transformer.wires import Wire, relu

STREAM = Stream({"token": 4, "sum": 2, "out": 1})


def transformer(*, mask="none", read=-1, sink=True, heads=2, seed=0):
    draw = torch.Generator().manual_seed(seed)

    def some(*shape):
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    def mixed(count):
        return [Wire({k: float(some(1)) for k in range(STREAM.width)}, float(some(1))) for _ in range(count)]

    made = [attention_head(STREAM, query=mixed(3), key=mixed(3), value=mixed(2), to=[4, 5]) for _ in range(heads)]
    token = STREAM.wires("token")
    layers = [Layer(made, mlp(STREAM, {"out": [relu(token[0] - token[1])]})), Layer(made[:1])]
    embedding = Embedding(
        some(5, STREAM.width),
        (1, 6),
        ids=True,
        position=some(6, STREAM.width),
        last=some(STREAM.width),
        sink=some(STREAM.width) if sink else None,
    )
    return Transformer(STREAM, embedding, layers, mixed(2), read=read, mask=mask)


X = torch.tensor([[0, 3, 1, 4], [2, 2, 0, 1]])


def by_hand(network, x):
    """One token after the other, in plain loops."""
    embedding, outputs = network.embedding, []
    for ids in x.tolist():
        stream = [embedding.table[token] + embedding.position[k] for k, token in enumerate(ids)]
        stream[-1] = stream[-1] + embedding.last
        if embedding.sink is not None:
            stream = [embedding.sink, *stream]
        for layer in network.layers:
            after = []
            for i, own in enumerate(stream):
                allowed = [
                    j
                    for j in range(len(stream))
                    if network.mask == "none" or (j <= i if network.mask == "causal" else j != i)
                ]
                new = own
                for head in layer.heads:
                    scores = torch.stack([head.query(own) @ head.key(stream[j]) for j in allowed]).softmax(0)
                    mean = sum(s * head.value(stream[j]) for s, j in zip(scores, allowed, strict=True))
                    new = new + head.out.weight @ mean
                after.append(new if layer.mlp is None else new + layer.mlp(new))
            stream = after
        first = int(embedding.sink is not None)
        chosen = stream[first:] if network.read is None else [stream[network.read if network.read < 0 else first]]
        outputs.append(torch.stack([network.readout(token) for token in chosen]))
    found = torch.stack(outputs)
    return found if network.read is None else found[:, 0]


@pytest.mark.parametrize("mask", ["none", "causal", "others"])
@pytest.mark.parametrize(("read", "sink"), [(-1, True), (0, True), (0, False), (None, True), (None, False)])
def test_it_is_what_a_loop_over_tokens_computes(mask, read, sink):
    network = transformer(mask=mask, read=read, sink=sink)
    torch.testing.assert_close(network(X), by_hand(network, X), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mask", ["none", "causal", "others"])
@pytest.mark.parametrize("read", [-1, 0, None])
def test_torchs_encoder_computes_the_same(mask, read):
    network = transformer(mask=mask, read=read)
    exported = vg.construct.to_torch_encoder(network)
    assert isinstance(exported.encoder, nn.TransformerEncoder)
    torch.testing.assert_close(exported(X), network(X), rtol=1e-12, atol=1e-12)


def test_an_mlp_of_another_depth_is_not_exported():
    network = transformer()
    token = STREAM.wires("token")
    network.layers[0].mlp = mlp(STREAM, {"out": [relu(relu(token[0]) - 1)]})
    with pytest.raises(ValueError, match=r"\[3, 0\] linear layers"):
        vg.construct.to_torch_encoder(network)


def test_the_trace_names_everything_and_changes_nothing():
    network = transformer()
    trace = network.trace(X)
    torch.testing.assert_close(trace["output"], network(X), rtol=1e-12, atol=1e-12)
    assert trace["layer.0.head.1.pattern"].shape == (2, 5, 5)
    torch.testing.assert_close(trace["layer.0.head.1.pattern"].sum(-1), torch.ones(2, 5))
    torch.testing.assert_close(trace["block.sum"], trace["layer.1.after"][..., 4:6])
    assert {"embedding", "layer.0.between", "layer.1.head.0.logits", "block.token"} <= set(trace)


def test_the_description_says_who_reads_and_writes():
    head, _, tops, last = vg.construct.describe_stream(transformer(), X)
    assert head.writes == ("sum",) and head.reads["value"] == ("token", "sum", "out") and head.sizes == (3, 2)
    assert tops.reads == {"reads": ("token",)} and tops.writes == ("out",) and tops.logits is None
    low, high = head.logits
    assert low < high and "logits" in str(head) and "logits" not in str(tops)
    assert last.name == "layer 1, head 0"
    assert vg.construct.describe_stream(transformer())[0].logits is None


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (torch.tensor([[5, 0]]), "ids 0 to 5 given; ids from 0 to 4 are known"),
        (torch.tensor([[-1, 0]]), "ids -1 to 0"),
        (torch.zeros(1, 7).long(), "7 tokens given; this network is certified for 1 to 6"),
        (torch.zeros(4).long(), "batch, n"),
        (torch.zeros(1, 3, 5), "batch, n"),
    ],
)
def test_inputs_that_it_was_not_made_for(x, said):
    with pytest.raises(ValueError, match=said):
        transformer()(x)


def test_the_stream_names_its_blocks():
    assert STREAM.named({4, 6}) == ("sum", "out")
    with pytest.raises(ValueError, match="block 'id' given; the stream has 'token'"):
        STREAM.places("id")
