"""Is a graph connected: by squaring reachability, and by walking along a cycle (arXiv 2503.01805)."""

import torch
from torch import Tensor

from vestige.construct.construction import Construction
from vestige.construct.transformer.blocks import Layer, Transformer, mlp
from vestige.construct.transformer.computes import constructed
from vestige.construct.transformer.gadgets import gated, snapped_bit, snapped_zero
from vestige.construct.transformer.graphs.powers import (
    PAPER,
    graph_embedding,
    graph_specification,
    neighbor_sum,
    node_mean,
)
from vestige.construct.transformer.graphs.samples import cycle_graphs, permuted_graphs, random_graphs
from vestige.construct.transformer.stream import Stream
from vestige.construct.transformer.tasks import Task
from vestige.construct.transformer.wires import Wire, relu, total
from vestige.core.cite import paper
from vestige.core.rng import spawn

CHECKED = 8


def build_connectivity(
    n: int,
    *,
    layers: int | None = None,
    dtype: torch.dtype = torch.float32,
    generator: torch.Generator | None = None,
) -> Construction:
    """A transformer of ceil(log2 (n - 1)) layers that says whether a graph is connected.

    R = min(1, A + I) says what is reached in one step; each layer squares it, R <- min(1, R^2), so that after t layers
    R says what is reached in 2^t steps.

    Args:
        n: nodes, exactly; at least 2.
        layers: None for enough; with fewer, long paths are taken for disconnected, and the certificate fails.
        dtype: in which every answer must come out right.
        generator: of the graphs that are checked; None for seed 0.

    Returns:
        A `Construction`: `network(graph_tokens(a))` is (batch, 1), 1 where connected.

    Raises:
        ValueError: fewer nodes, or no layer.

    Source: arXiv 2503.01805, Section 4; the weights are ours, of width O(n) without sketches, at a depth of log n.

    >>> from vestige.construct.transformer.graphs.samples import graph_tokens
    >>> pair = torch.tensor([[[0, 1, 0], [1, 0, 0], [0, 0, 0]]])
    >>> build_connectivity(3).network(graph_tokens(pair)).round().item()
    0.0
    """
    enough = max(1, (n - 2).bit_length()) if n > 2 else 1
    layers = enough if layers is None else layers
    if n < 2 or layers < 1:
        raise ValueError(f"n={n}, layers={layers} given; at least 2 nodes and 1 layer are needed.")
    stream = Stream({"id": n, "sink": 1, "reached": n, "sum": n, "connected": 1})
    embedding = graph_embedding(stream, n, rows=("reached",), loops="reached")
    made = [_squaring(stream, n, last=k == layers - 1) for k in range(layers)]
    network = Transformer(stream, embedding, made, [stream.wire("connected")], read=0)
    specification = graph_specification(Task.CONNECTED, (_graphs(n, generator),), dtype)
    bounds = {
        "layers": enough,
        "heads in a layer": 1,
        "stream width": 3 * n + 2,
        "neurons of an MLP layer": 6 * n,
    }
    return constructed(network, specification, bounds=bounds, numbers={"nodes": n}, source=(paper(PAPER),))


def _squaring(stream: Stream, n: int, *, last: bool) -> Layer:
    head = neighbor_sum(stream, "reached", "reached", "sum", 16 * n**2)
    bits = [snapped_bit(s) for s in stream.wires("sum")]
    if last:
        return Layer([head], mlp(stream, {"connected": [relu(total(bits) - (n - 1))]}))
    return Layer([head], mlp(stream, {"reached": bits}, clear=["reached", "sum"]))


def _graphs(n: int, generator: torch.Generator | None) -> Tensor:
    """Sparse ones near the threshold, trees among them, paths, and one or two cycles; in a random order."""
    draw = spawn(generator, "connectivity")
    density = min(1.0, float(torch.tensor(float(n)).log()) / n)
    found = [random_graphs(n, CHECKED, density=density, generator=draw)]
    path = torch.diag(torch.ones(n - 1, dtype=torch.long), 1)
    cut = path.clone()
    cut[(n - 1) // 2, (n - 1) // 2 + 1] = 0
    found.append(torch.stack([path + path.T, cut + cut.T, torch.zeros_like(path), 1 - torch.eye(n, dtype=torch.long)]))
    if n >= 6:
        found.append(cycle_graphs(n, CHECKED, generator=draw)[0])
    from_an_end = (path + path.T)[None]  # the node that is read is as far as can be from the last
    return torch.cat([permuted_graphs(torch.cat(found), generator=draw), from_an_end])


def build_cycle_walk(
    n: int, *, dtype: torch.dtype = torch.float32, generator: torch.Generator | None = None
) -> Construction:
    """A transformer of two layers that tells one cycle of n nodes from two: its MLP walks along the cycle.

    The first MLP writes s_i, the sum of i's two neighbors; one head brings all s_i to every token; the second MLP walks
    prev, cur <- cur, s_cur - prev from node 0 and asks whether it comes back early. Two layers are enough only since
    the walk is in the MLP, which has about 3 n ReLU layers.

    Args:
        n: nodes, exactly; at least 6.
        dtype: in which every answer must come out right.
        generator: of the graphs that are checked; None for seed 0.

    Returns:
        A `Construction`: `network(graph_tokens(a))` is (batch, 1), 1 for one cycle; other graphs have no meaning.

    Raises:
        ValueError: fewer nodes.

    Source: arXiv 2503.01805, Theorem 4.1; the weights are ours.
    """
    if n < 6:
        raise ValueError(f"n={n} given; two cycles take at least 6 nodes.")
    stream = Stream({"row": n, "id": n, "sink": 1, "own": n, "sums": n, "one cycle": 1})
    row, own = stream.wires("row"), stream.wires("id")
    neighbors = total((j + 1) * edge for j, edge in enumerate(row))
    first = Layer([], mlp(stream, {"own": [gated(bit, neighbors, 2 * n) for bit in own]}))
    head = node_mean(stream, [(n + 1) * w for w in stream.wires("own")], "sums")
    walk = Layer([head], mlp(stream, {"one cycle": [_walk(stream, n)]}))
    embedding = graph_embedding(stream, n)
    network = Transformer(stream, embedding, [first, walk], [stream.wire("one cycle")], read=0)
    x = cycle_graphs(n, 4 * CHECKED, generator=generator)[0]
    specification = graph_specification(Task.CONNECTED, (x,), dtype)
    bounds = {"layers": 2, "heads in a layer": 1, "stream width": 4 * n + 2, "neurons of an MLP layer": 6 * n + 8}
    return constructed(network, specification, bounds=bounds, numbers={"nodes": n}, source=(paper(PAPER),))


def _walk(stream: Stream, n: int) -> Wire:
    """1 if the walk from node 1 meets node 1 not before n steps; nodes are 1..n here."""
    row, sums = stream.wires("row"), stream.wires("sums")
    earlier = Wire({})
    parts = []
    for j, edge in enumerate(row):
        parts.append((j + 1) * relu(edge - earlier))
        earlier = earlier + edge
    before, here, returned = Wire({}, 1.0), relu(total(parts)), Wire({})
    for _ in range(n - 2):
        look = total(relu(s - 2 * n * (1 - snapped_zero(here - (j + 1)))) for j, s in enumerate(sums))
        before, here = here, relu(look - before)  # one neuron each, though nothing is cut off
        returned = relu(returned + snapped_zero(here - 1))
    return relu(1 - returned)
