"""Count the copies of a small pattern by splitting the nodes into groups (arXiv 2503.01805)."""

import itertools

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from vestige.construct.construction import Construction
from vestige.construct.transformer.blocks import Embedding, Head, Layer, Transformer, attention_head, mlp
from vestige.construct.transformer.computes import constructed
from vestige.construct.transformer.gadgets import both, lookup_temperature
from vestige.construct.transformer.graphs.oracles import automorphisms
from vestige.construct.transformer.graphs.powers import PAPER, graph_specification
from vestige.construct.transformer.graphs.samples import random_graphs
from vestige.construct.transformer.stream import Stream
from vestige.construct.transformer.tasks import Task
from vestige.construct.transformer.wires import Wire, relu, total
from vestige.core.cite import paper

CHECKED, LEFT, MOST_NEURONS = 6, 1e-12, 200_000


def build_subgraph_counter(
    pattern: Int[Tensor, "k k"],
    n: int,
    *,
    dtype: torch.dtype = torch.float32,
    generator: torch.Generator | None = None,
) -> Construction:
    """A transformer of three layers that counts the copies of a pattern of k nodes, not necessarily induced.

    Nodes are split into g groups, n = g^k, so that each token stands for one of the n tuples of k groups. A token
    collects the rows of all nodes of its groups, n^(1 - 1/k) rows of n for each; its MLP checks every choice of one
    node from each group, and the mean over tokens adds up.

    Args:
        pattern: adjacency matrix of a graph of 2 to 5 nodes.
        n: nodes, exactly; a k-th power.
        dtype: in which every count must come out right, after rounding.
        generator: of the graphs that are checked; None for seed 0.

    Returns:
        A `Construction`: `network(graph_tokens(a))` is (batch, 1).

    Raises:
        ValueError: no such pattern, n no k-th power, or a network of too many neurons.

    Source: arXiv 2503.01805, Section 5; the weights are ours.
    """
    k = len(pattern)
    shape = pattern.double()
    if not 2 <= k <= 5 or ((shape != 0) & (shape != 1)).any() or (shape != shape.T).any() or shape.diagonal().any():
        raise ValueError("a pattern that is no graph of 2 to 5 nodes given; a symmetric 0/1 matrix, its diagonal 0.")
    groups = round(n ** (1 / k))
    if groups**k != n or groups < 2:
        near = [g**k for g in range(2, groups + 2)]
        raise ValueError(f"n={n} given for a pattern of {k} nodes; a {k}-th power is needed, such as {near}.")
    size = n // groups
    if size**k > MOST_NEURONS:
        raise ValueError(f"n={n} given for {k} nodes: {size**k:,} neurons; {MOST_NEURONS:,} is the most.")
    network = _network(pattern.numpy(), n, groups)
    density = min(1.0, 2 * n ** (-1 / 2))
    x = torch.cat([random_graphs(n, CHECKED, density=p, generator=generator) for p in (density, 2 * density)])
    specification = graph_specification(Task.SUBGRAPHS, (x,), dtype, given=pattern)
    edges = int(pattern.sum()) // 2
    bounds = {
        "layers": 3,
        "heads in a layer": k,
        "neurons of an MLP layer": max(size**k, edges * size * n, size * n) + k * (k - 1),
    }
    numbers = {"nodes": n, "groups": groups, "rows of a group": size}
    return constructed(network, specification, bounds=bounds, numbers=numbers, source=(paper(PAPER),))


def _network(pattern: np.ndarray, n: int, groups: int) -> Transformer:
    """Layers: put the row at the node's place in its group; collect k groups and check; add up."""
    k, size = len(pattern), n // groups
    names = [f"group {a}" for a in range(k)]
    pairs = list(itertools.combinations(range(k), 2))
    stream = Stream(
        {"row": n, "place": size, "group": groups, "placed": size * n, "count": 1, "all": 1}
        | {f"wants {a}": groups for a in range(k)}
        | {f"same {a} {b}": 1 for a, b in pairs}
        | dict.fromkeys(names, size * n)
    )
    placed = [both(edge, here) for here in stream.wires("place") for edge in stream.wires("row")]
    heads = [_collect(stream, a, groups, size) for a in range(k)]
    count = mlp(stream, {"count": [_copies(stream, pattern, groups)]})
    often = automorphisms(pattern)
    add = attention_head(
        stream,
        query=[Wire({})],
        key=[Wire({})],
        value=[(n / often) * stream.wire("count")],
        to=list(stream.places("all")),
    )
    layers = [Layer([], mlp(stream, {"placed": placed})), Layer(heads, count), Layer([add])]
    table = torch.eye(n, stream.width, dtype=torch.float64)
    embedding = Embedding(table, (n, n), ids=False, position=_positions(stream, n, groups, k))
    return Transformer(stream, embedding, layers, [stream.wire("all")])


def _positions(stream: Stream, n: int, groups: int, k: int) -> Tensor:
    """Node i is at place i mod size of group i // size; token i wants the groups that are its digits."""
    size = n // groups
    position = torch.zeros(n, stream.width, dtype=torch.float64)
    for i in range(n):
        position[i, stream.places("place")[i % size]] = 1
        position[i, stream.places("group")[i // size]] = 1
        digits = [i // groups**a % groups for a in range(k)]
        for a in range(k):
            position[i, stream.places(f"wants {a}")[digits[a]]] = 1
        for a, b in itertools.combinations(range(k), 2):
            position[i, stream.places(f"same {a} {b}")[0]] = float(digits[a] == digits[b])
    return position


def _collect(stream: Stream, a: int, groups: int, size: int) -> Head:
    """The mean over one group, times its size."""
    sharp = lookup_temperature(1.0, groups * size, LEFT)
    return attention_head(
        stream,
        query=[sharp * w for w in stream.wires(f"wants {a}")],
        key=stream.wires("group"),
        value=[size * w for w in stream.wires("placed")],
        to=list(stream.places(f"group {a}")),
    )


def _copies(stream: Stream, pattern: np.ndarray, groups: int) -> Wire:
    """How many choices of one node from each group are copies: all edges there, and no node twice."""
    k = len(pattern)
    pairs = list(itertools.combinations(range(k), 2))
    same = {(a, b): stream.wire(f"same {a} {b}") for a, b in pairs}
    edges = {(a, b): _edges(stream, a, b, groups) for a, b in pairs if pattern[a, b]}
    size = stream.sizes["place"]
    found = []
    for chosen in itertools.product(range(size), repeat=k):
        present = [block[chosen[a]][chosen[b]] for (a, b), block in edges.items()]
        twice = [same[a, b] for a, b in pairs if chosen[a] == chosen[b]]
        found.append(relu(total(present) - (len(present) - 1) - total(twice)))
    return total(found)


def _edges(stream: Stream, a: int, b: int, groups: int) -> list[list[Wire]]:
    """Whether the node at place i of the a-th group has an edge to the one at place j of the b-th."""
    size = stream.sizes["place"]
    rows, wanted = stream.wires(f"group {a}"), stream.wires(f"wants {b}")
    n = groups * size
    return [
        [total(both(rows[i * n + h * size + j], wanted[h]) for h in range(groups)) for j in range(size)]
        for i in range(size)
    ]
