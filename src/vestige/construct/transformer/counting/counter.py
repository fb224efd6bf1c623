"""Transformers that count how often the last token occurs (arXiv 2407.15160), by a histogram or by attending to it."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from vestige.construct.construction import Construction
from vestige.construct.transformer.blocks import Embedding, Layer, Transformer, attention_head, mlp
from vestige.construct.transformer.computes import Computes, constructed
from vestige.construct.transformer.counting.capacity import (
    INVERSE_ERROR,
    LEFT_OVER,
    NO_ERROR,
    check_sizes,
    coherence,
    unit_embeddings,
)
from vestige.construct.transformer.counting.sequences import count_sequences
from vestige.construct.transformer.gadgets import inverse, inverse_hinges, lookup_temperature
from vestige.construct.transformer.stream import Stream
from vestige.construct.transformer.tasks import Task
from vestige.construct.transformer.wires import Wire, relu, total
from vestige.core.choices import ChoiceEnum
from vestige.core.cite import paper

PAPER = "2407.15160"


class CountMethod(ChoiceEnum):
    """How a transformer counts.

    HISTOGRAM averages one-hot tokens, at least as many dimensions as tokens; ATTEND reads the count off the weight of
    the last token among its equals, at any dimension.
    """

    HISTOGRAM = "histogram"
    ATTEND = "attend"


def build_counter(
    vocab: int,
    length: int,
    *,
    dim: int | None = None,
    method: CountMethod | str | None = None,
    inclusive: bool = True,
    any_length: bool = True,
    dtype: torch.dtype = torch.float32,
    generator: torch.Generator | None = None,
) -> Construction:
    """A one-layer transformer whose output at the last token is how often that token occurs.

    HISTOGRAM: uniform attention writes h = counts / n, and the MLP computes n sum_j relu(h_j + [token is j] - 1), in
    which only the last token's h_j is left. ATTEND: the last token attends to its equals, gets weight 1 / count, and an
    MLP of about sqrt(n / (2 tolerance)) pieces inverts that.

    Args:
        vocab: different tokens, at least 2; ids run from 0.
        length: tokens at most, at least 2.
        dim: of the tokens' embeddings; None for vocab with HISTOGRAM, which needs that many, and for 8 ln vocab with
            ATTEND, vocab at most.
        method: None for HISTOGRAM where dim is given and at least vocab, ATTEND else.
        inclusive: whether the last token counts itself.
        any_length: whether sequences may be shorter than `length`; for HISTOGRAM that takes as many dimensions more.
            ATTEND takes any length.
        dtype: in which every count must come out right.
        generator: of the embeddings and of the sequences that are checked; None for seed 0.

    Returns:
        A `Construction`: `network(x)` for ids x (batch, n) is (batch, 1), to be rounded.

    Raises:
        ValueError: sizes below 2, dim below vocab for HISTOGRAM, two embeddings that agree, or a dtype that does not
            hold such counts.

    Source: arXiv 2407.15160; the number of pieces is that of the optimal inverse, see `inverse_hinges`.

    >>> built = build_counter(5, 8, dim=5)
    >>> built.network(torch.tensor([[1, 3, 1, 1]])).round().item(), built.certificate.holds
    (3.0, True)
    """
    if method is None:
        method = CountMethod.HISTOGRAM if dim is not None and dim >= vocab else CountMethod.ATTEND
    method = CountMethod(method)
    check_sizes(vocab, 2 if dim is None else dim, length)
    check_dtype(length, dtype)
    if method is CountMethod.HISTOGRAM:
        network, bounds, tolerance = _histogram(vocab, length, dim, inclusive, any_length, generator)
    else:
        network, bounds, tolerance = _attend(vocab, length, dim, inclusive, generator)
    specification = Computes(
        task=Task.COUNT if inclusive else Task.COUNT_BEFORE,
        points=count_sequences(vocab, network.embedding.lengths, generator=generator),
        tolerance=tolerance,
        dtype=str(dtype).removeprefix("torch."),
        proved=method is CountMethod.ATTEND,
        source=f"arXiv {PAPER}, {method}",
    )
    numbers = {"vocabulary": vocab, "length": length}
    return constructed(network, specification, bounds=bounds, numbers=numbers, source=(paper(PAPER),))


def check_dtype(length: int, dtype: torch.dtype) -> None:
    """Refuse a dtype that does not tell such counts apart.

    Raises:
        ValueError: with the bits that are needed.
    """
    most = round(1 / torch.finfo(dtype).eps)
    if length > most:
        raise ValueError(
            f"length={length:,} given for {dtype}, which resolves counts up to about {most:,} to less than 1/2; "
            f"{-math.floor(-math.log2(length)) + 1} bits of mantissa are needed: take torch.float32 or torch.float64."
        )


def _histogram(
    vocab: int, length: int, dim: int | None, inclusive: bool, any_length: bool, generator: torch.Generator | None
) -> tuple[Transformer, Mapping[str, float | int], float]:
    dim = vocab if dim is None else dim
    if dim < vocab:
        raise ValueError(
            f"dim={dim} given for {vocab} tokens; a histogram needs dim >= {vocab}. method='attend' takes any dim."
        )
    sizes = {"token": dim, "histogram": dim, "count": 1}
    stream = Stream(sizes | {"length": length} if any_length else sizes)
    embeddings = unit_embeddings(vocab, dim, generator=generator) if dim > vocab else torch.eye(vocab).double()
    table = torch.zeros(vocab, stream.width, dtype=torch.float64)
    table[:, : stream.sizes["token"]] = embeddings
    position = None
    if any_length:
        position = torch.zeros(length, stream.width, dtype=torch.float64)
        position[:, list(stream.places("length"))] = torch.eye(length).double()
    head = attention_head(
        stream,
        query=[Wire({})],
        key=[Wire({})],
        value=stream.wires("token"),
        to=list(stream.places("histogram")),
    )
    shares, present = (_products(embeddings, stream.wires(name)) for name in ("histogram", "token"))
    share = total(relu(h + is_it - 1) for h, is_it in zip(shares, present, strict=True))
    count = length * share
    if any_length:
        count = total((k + 1) * relu(share + here - 1) for k, here in enumerate(stream.wires("length")))
    layer = Layer([head], mlp(stream, {"count": [count]}))
    embedding = Embedding(table, (1 if any_length else length, length), ids=True, position=position)
    network = Transformer(stream, embedding, [layer], [stream.wire("count") - float(not inclusive)])
    neurons = vocab + 2 * length if any_length else vocab  # a length is carried as a difference
    return network, _bounds(2 * dim + 1 + any_length * length, neurons, length), NO_ERROR


def _products(embeddings: Tensor, wires: list[Wire]) -> list[Wire]:
    return [total(float(e) * w for e, w in zip(row, wires, strict=True) if e) for row in embeddings]


def _attend(
    vocab: int, length: int, dim: int | None, inclusive: bool, generator: torch.Generator | None
) -> tuple[Transformer, Mapping[str, float | int], float]:
    dim = min(vocab, math.ceil(8 * math.log(vocab))) if dim is None else dim
    stream = Stream({"token": dim, "is query": 1, "weight": 1, "count": 1})
    embeddings = unit_embeddings(vocab, dim, generator=generator)
    temperature = lookup_temperature(1 - coherence(embeddings), length, LEFT_OVER)
    table = torch.zeros(vocab, stream.width, dtype=torch.float64)
    table[:, : stream.sizes["token"]] = embeddings
    last = torch.zeros(stream.width, dtype=torch.float64)
    last[stream.places("is query")[0]] = 1.0
    head = attention_head(
        stream,
        query=[temperature * w for w in stream.wires("token")],
        key=stream.wires("token"),
        value=stream.wires("is query"),
        to=list(stream.places("weight")),
    )
    count = inverse(stream.wire("weight"), length, INVERSE_ERROR)
    layer = Layer([head], mlp(stream, {"count": [count]}))
    embedding = Embedding(table, (1, length), ids=True, last=last)
    network = Transformer(stream, embedding, [layer], [stream.wire("count") - float(not inclusive)])
    _, weights, _ = inverse_hinges(length, INVERSE_ERROR)
    largest = max(temperature, *weights)
    return network, _bounds(dim + 3, len(weights), largest), INVERSE_ERROR + LEFT_OVER


def _bounds(width: int, neurons: int, largest: float | int) -> dict[str, float | int]:
    return {
        "layers": 1,
        "heads in a layer": 1,
        "stream width": width,
        "neurons of an MLP layer": neurons,
        "largest weight": largest,
    }
