"""Transformers that give the count of the most frequent token, in one layer and in two (arXiv 2407.15160)."""

import math
from collections.abc import Mapping

import torch

from vestige.construct.construction import Construction
from vestige.construct.transformer.blocks import Embedding, Layer, Transformer, attention_head, mlp
from vestige.construct.transformer.computes import Computes, constructed
from vestige.construct.transformer.counting.capacity import (
    INVERSE_ERROR,
    LEFT_OVER,
    NO_ERROR,
    check_sizes,
    coherence,
    most_frequent_lower_bound,
    unit_embeddings,
)
from vestige.construct.transformer.counting.counter import PAPER, check_dtype
from vestige.construct.transformer.counting.sequences import count_sequences
from vestige.construct.transformer.gadgets import inverse, largest_of, lookup_temperature
from vestige.construct.transformer.stream import Stream
from vestige.construct.transformer.tasks import Task
from vestige.construct.transformer.wires import Wire
from vestige.core.cite import paper


def build_most_frequent(
    vocab: int,
    length: int,
    *,
    layers: int = 2,
    dim: int | None = None,
    dtype: torch.dtype = torch.float32,
    generator: torch.Generator | None = None,
) -> Construction:
    """A transformer whose output is how often the most frequent token occurs.

    One layer: the histogram of `build_counter`, and the maximum by a tournament; it takes vocab dimensions, and no one
    layer does with few bits (`most_frequent_lower_bound`). Two layers: every token attends to its equals and to a sink,
    so that the sink gets 1 / (count + 1), which an MLP inverts; then one token attends to the largest count.

    Args:
        vocab: different tokens, at least 2; ids run from 0.
        length: tokens at most, at least 2; one layer takes exactly so many.
        layers: 1 or 2.
        dim: of the embeddings with two layers; None for 8 ln vocab.
        dtype: in which every count must come out right.
        generator: of the embeddings and of the sequences that are checked; None for seed 0.

    Returns:
        A `Construction`: `network(x)` for ids x (batch, n) is (batch, 1), to be rounded.

    Raises:
        ValueError: sizes below 2, another number of layers, or a dtype that does not hold such counts.

    >>> built = build_most_frequent(6, 9, dim=4)
    >>> built.network(torch.tensor([[5, 2, 5, 0, 2, 5]])).round().item()
    3.0
    """
    check_sizes(vocab, 2 if dim is None else dim, length)
    check_dtype(length + 1, dtype)
    if layers not in (1, 2):
        raise ValueError(f"layers={layers} given; 1 and 2 are known.")
    if layers == 1 and dim not in (None, vocab):
        raise ValueError(f"dim={dim} given; one layer takes vocab={vocab} dimensions. layers=2 takes any number.")
    built = _one_layer(vocab, length) if layers == 1 else _two_layers(vocab, length, dim, generator)
    network, bounds, tolerance = built
    specification = Computes(
        task=Task.LARGEST_COUNT,
        points=count_sequences(vocab, network.embedding.lengths, generator=generator),
        tolerance=tolerance,
        dtype=str(dtype).removeprefix("torch."),
        source=f"arXiv {PAPER}, most frequent element in {layers} layer{'s' * (layers - 1)}",
    )
    numbers = {"vocabulary": vocab, "length": length}
    if layers == 1:
        numbers["bits that one layer needs"] = most_frequent_lower_bound(vocab, length)
        numbers["bits that its heads carry"] = (vocab + 1) * (torch.finfo(dtype).bits)
    return constructed(network, specification, bounds=bounds, numbers=numbers, source=(paper(PAPER),))


def _one_layer(vocab: int, length: int) -> tuple[Transformer, Mapping[str, float | int], float]:
    stream = Stream({"token": vocab, "histogram": vocab, "count": 1})
    table = torch.eye(vocab, stream.width, dtype=torch.float64)
    places = list(stream.places("histogram"))
    head = attention_head(stream, query=[Wire({})], key=[Wire({})], value=stream.wires("token"), to=places)
    count = length * largest_of(stream.wires("histogram"))
    layer = Layer([head], mlp(stream, {"count": [count]}))
    network = Transformer(stream, Embedding(table, (length, length), ids=True), [layer], [stream.wire("count")])
    return network, {"layers": 1, "heads in a layer": 1, "stream width": 2 * vocab + 1}, NO_ERROR


def _two_layers(
    vocab: int, length: int, dim: int | None, generator: torch.Generator | None
) -> tuple[Transformer, Mapping[str, float | int], float]:
    dim = max(2, min(vocab, math.ceil(8 * math.log(vocab)))) if dim is None else dim
    stream = Stream({"token": dim, "sink": 1, "weight": 1, "count": 1, "largest": 1})
    embeddings = unit_embeddings(vocab, dim, generator=generator)
    temperature = lookup_temperature(1 - coherence(embeddings), length, LEFT_OVER)
    table = torch.zeros(vocab, stream.width, dtype=torch.float64)
    table[:, :dim] = embeddings
    sink = torch.zeros(stream.width, dtype=torch.float64)
    sink[stream.places("sink")[0]] = 1.0
    is_sink = stream.wire("sink")
    equals = attention_head(
        stream,
        query=[*(temperature * w for w in stream.wires("token")), Wire({}, temperature)],
        key=[*stream.wires("token"), is_sink],
        value=[is_sink],
        to=list(stream.places("weight")),
    )
    # the sink's own count is read as 0: it attends to itself alone
    count = inverse(stream.wire("weight"), length + 1, INVERSE_ERROR) - 1
    apart = 1 - 2 * INVERSE_ERROR - LEFT_OVER  # what is left of the distance of two counts
    sharp = lookup_temperature(apart, length + 1, LEFT_OVER / (8 * length + 8))
    largest = attention_head(
        stream,
        query=[Wire({}, sharp)],
        key=[stream.wire("count")],
        value=[stream.wire("count")],
        to=list(stream.places("largest")),
    )
    embedding = Embedding(table, (1, length), ids=True, sink=sink)
    network = Transformer(
        stream,
        embedding,
        [Layer([equals], mlp(stream, {"count": [count]})), Layer([largest])],
        [stream.wire("largest")],
    )
    bounds = {"layers": 2, "heads in a layer": 1, "stream width": dim + 4, "rank of a head": dim + 1}
    return network, bounds, INVERSE_ERROR + LEFT_OVER + LEFT_OVER / 8
