"""Sums over neighbors that come out of a softmax: matrix powers, triangles and 4-cycles (arXiv 2503.01805).

A head gives means. With a sink of value 0 whose logit C is far above all others it gives sums: with logits c A_ij,

    e^(C - c) sum_j softmax_ij v_j  =  (sum_j A_ij v_j + e^-c sum_j (1 - A_ij) v_j) / (1 + d_i e^(c-C) + (n - d_i) e^-C)

which at C = 2 c and c = ln(16 n^2 K) is off by less than n v / (8 n K) for values up to v.
"""

import math

import torch
from torch import Tensor

from vestige.construct.construction import Construction
from vestige.construct.transformer.blocks import Embedding, Head, Layer, Transformer, attention_head, mlp
from vestige.construct.transformer.computes import Computes, constructed
from vestige.construct.transformer.graphs.samples import random_graphs
from vestige.construct.transformer.stream import Stream
from vestige.construct.transformer.tasks import Task
from vestige.construct.transformer.wires import Wire, relu, total
from vestige.core.cite import paper
from vestige.core.rng import spawn

PAPER, CHECKED, TOLERANCE = "2503.01805", 24, 0.25
ALONE = 800.0  # logit at which the sink looks at itself only: e^-800 is 0, and so stay its sums


def graph_embedding(stream: Stream, n: int, *, rows: tuple[str, ...] = ("row",), loops: str | None = None) -> Embedding:
    """Token i is row i of the adjacency matrix, in these blocks, beside the one-hot id of i and a sink token.

    Args:
        stream: with blocks "id" and "sink".
        n: nodes, exactly.
        rows: blocks that hold the row.
        loops: one of them to which 1 is added at i.
    """
    table, position = (torch.zeros(n, stream.width, dtype=torch.float64) for _ in range(2))
    for name in rows:
        table[:, list(stream.places(name))] = torch.eye(n, dtype=torch.float64)
    for name in ("id", *(() if loops is None else (loops,))):
        position[:, list(stream.places(name))] = torch.eye(n, dtype=torch.float64)
    sink = torch.zeros(stream.width, dtype=torch.float64)
    sink[stream.places("sink")[0]] = 1.0
    return Embedding(table, (n, n), ids=False, position=position, sink=sink)


def neighbor_sum(stream: Stream, weights: str, values: str, to: str, factor: float | int) -> Head:
    """A head that writes sum_j w_ij v_j, with w_ij in {0, 1} in block `weights` of token i.

    Args:
        stream: with blocks "id" and "sink".
        weights: block of the query.
        values: block of the keys' tokens.
        to: block that the sums are added to.
        factor: e^c.
    """
    c = math.log(factor)
    return attention_head(
        stream,
        query=[*(c * w for w in stream.wires(weights)), 2 * c + ALONE * stream.wire("sink")],
        key=[*stream.wires("id"), stream.wire("sink")],
        value=[factor * w for w in stream.wires(values)],
        to=list(stream.places(to)),
    )


def node_mean(stream: Stream, values: list[Wire], to: str) -> Head:
    """A head that writes the mean of all tokens, the sink's 0 among them."""
    return attention_head(stream, query=[Wire({})], key=[Wire({})], value=values, to=list(stream.places(to)))


def build_matrix_power(
    n: int, power: int, *, dtype: torch.dtype = torch.float32, generator: torch.Generator | None = None
) -> Construction:
    """A transformer of power - 1 layers whose token i outputs row i of A^power.

    Args:
        n: nodes, exactly; at least 2.
        power: at least 2.
        dtype: in which every entry must come out right, after rounding.
        generator: of the graphs that are checked; None for seed 0.

    Returns:
        A `Construction`: `network(graph_tokens(a))` is (batch, n, n).

    Raises:
        ValueError: sizes below 2, or entries beyond what the dtype counts.

    Source: arXiv 2503.01805, Theorem 4.3; the weights are ours.

    >>> from vestige.construct.transformer.graphs.samples import graph_tokens
    >>> path = torch.tensor([[[0, 1, 0], [1, 0, 1], [0, 1, 0]]])
    >>> build_matrix_power(3, 2).network(graph_tokens(path)).round()[0].tolist()
    [[1.0, 0.0, 1.0], [0.0, 2.0, 0.0], [1.0, 0.0, 1.0]]
    """
    if n < 2 or power < 2:
        raise ValueError(f"n={n}, power={power} given; both must be at least 2.")
    most = 1 / torch.finfo(dtype).eps
    if (n - 1.0) ** (power - 1) > most / 8:
        raise ValueError(
            f"n={n}, power={power} given for {dtype}: entries up to {(n - 1.0) ** (power - 1):.3g} can occur, and it "
            f"counts to {most:.3g}: take a wider dtype, or a smaller power."
        )
    stream = Stream({"row": n, "id": n, "sink": 1, "power": n, "sum": n})
    layers = []
    for k in range(power - 1):
        largest, later = float(max(1, n - 1)) ** k, float(n) ** (power - 2 - k)
        head = neighbor_sum(stream, "row", "power", "sum", 16 * n**2 * largest * later)
        layers.append(Layer([head], mlp(stream, {"power": stream.wires("sum")}, clear=["power", "sum"])))
    embedding = graph_embedding(stream, n, rows=("row", "power"))
    network = Transformer(stream, embedding, layers, stream.wires("power"), read=None)
    x = random_graphs(n, CHECKED, density=_density(n, power, most), generator=generator)
    bounds = {"layers": power - 1, "heads in a layer": 1, "stream width": 4 * n + 1}
    specification = graph_specification(Task.MATRIX_POWER, (x,), dtype, given=torch.tensor([power]))
    return constructed(network, specification, bounds=bounds, numbers={"nodes": n}, source=(paper(PAPER),))


def _density(n: int, power: int, most: float) -> float:
    """A third, or where that gives entries beyond the dtype, less."""
    return min(1 / 3, (most / 64) ** (1 / power) / n)


def graph_specification(
    task: Task, points: tuple[Tensor, ...], dtype: torch.dtype, *, given: Tensor | None = None
) -> Computes:
    """The answer of a task about graphs, to be rounded."""
    return Computes(
        task=task,
        points=tuple(x.to(torch.int8 if not x.is_floating_point() else x.dtype).numpy() for x in points),
        given=None if given is None else given.numpy(),
        tolerance=TOLERANCE,
        dtype=str(dtype).removeprefix("torch."),
        source=f"arXiv {PAPER}",
    )


def _mixed_graphs(n: int, generator: torch.Generator | None) -> Tensor:
    """From sparse to complete."""
    densities = torch.linspace(0.1, 1, CHECKED).tolist()
    drawn = [
        random_graphs(n, 1, density=p, generator=spawn(generator, "density", str(k))) for k, p in enumerate(densities)
    ]
    return torch.cat(drawn)


def build_triangle_counter(
    n: int, *, dtype: torch.dtype = torch.float32, generator: torch.Generator | None = None
) -> Construction:
    """A transformer of two layers that counts triangles: sum_ij A_ij (A^2)_ij / 6.

    Args:
        n: nodes, exactly; at least 3.
        dtype: in which every count must come out right, after rounding.
        generator: of the graphs that are checked; None for seed 0.

    Returns:
        A `Construction`: `network(graph_tokens(a))` is (batch, 1).

    Raises:
        ValueError: fewer nodes.

    Source: arXiv 2503.01805, Section 4; the weights are ours.

    >>> from vestige.construct.transformer.graphs.samples import graph_tokens
    >>> build_triangle_counter(4).network(graph_tokens(1 - torch.eye(4)[None])).round().item()
    4.0
    """
    _check(n, 3)
    stream = Stream({"row": n, "id": n, "sink": 1, "square": n, "closed": 1, "count": 1})
    head = neighbor_sum(stream, "row", "row", "square", 16 * n**4)
    pairs = zip(stream.wires("square"), stream.wires("row"), strict=True)
    closed = total(relu(s - n * (1 - edge)) for s, edge in pairs)
    layer = Layer([head], mlp(stream, {"closed": [closed]}))
    return _counter(n, Task.TRIANGLES, stream, layer, (6, n), dtype, generator)


def build_four_cycle_counter(
    n: int, *, dtype: torch.dtype = torch.float32, generator: torch.Generator | None = None
) -> Construction:
    """A transformer of two layers that counts 4-cycles: sum over i < j of C((A^2)_ij, 2) / 2.

    Args:
        n: nodes, exactly; at least 4.
        dtype: in which every count must come out right, after rounding.
        generator: of the graphs that are checked; None for seed 0.

    Returns:
        A `Construction`: `network(graph_tokens(a))` is (batch, 1).

    Raises:
        ValueError: fewer nodes.

    Source: arXiv 2503.01805, Section 4; the weights are ours.

    >>> from vestige.construct.transformer.graphs.samples import graph_tokens
    >>> build_four_cycle_counter(4).network(graph_tokens(1 - torch.eye(4)[None])).round().item()
    3.0
    """
    _check(n, 4)
    stream = Stream({"row": n, "id": n, "sink": 1, "square": n, "closed": 1, "count": 1})
    head = neighbor_sum(stream, "row", "row", "square", 16 * n**2)
    pairs = list(zip(stream.wires("square"), stream.wires("id"), strict=True))
    # k more pairs from s = k on to k + 1, by a step within 1/4 of the integers: no error of the sums goes on
    steps = [
        k * (relu(2 * s - (2 * k + 0.5) - 4 * n * own) - relu(2 * s - (2 * k + 1.5) - 4 * n * own))
        for s, own in pairs
        for k in range(1, n - 2)
    ]
    layer = Layer([head], mlp(stream, {"closed": [total(steps)]}))
    return _counter(n, Task.FOUR_CYCLES, stream, layer, (4, n * (n - 3) * 2), dtype, generator)


def _check(n: int, least: int) -> None:
    if n < least:
        raise ValueError(f"n={n} given; it must be at least {least}.")


def _counter(
    n: int,
    task: Task,
    stream: Stream,
    first: Layer,
    sizes: tuple[int, int],
    dtype: torch.dtype,
    generator: torch.Generator | None,
) -> Construction:
    """The mean of what the nodes counted, times their number."""
    often, neurons = sizes
    last = Layer([node_mean(stream, [((n + 1) / often) * stream.wire("closed")], "count")])
    network = Transformer(stream, graph_embedding(stream, n), [first, last], [stream.wire("count")])
    specification = graph_specification(task, (_mixed_graphs(n, generator),), dtype)
    bounds = {"layers": 2, "heads in a layer": 1, "stream width": 3 * n + 3, "neurons of an MLP layer": neurons}
    return constructed(network, specification, bounds=bounds, numbers={"nodes": n}, source=(paper(PAPER),))
