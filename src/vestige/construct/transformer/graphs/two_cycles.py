"""One layer that finds edges which go both ways in a directed graph, from rows or from sketches (arXiv 2503.01805)."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vestige.construct.construction import Construction
from vestige.construct.transformer.blocks import Embedding, Layer, Transformer, attention_head
from vestige.construct.transformer.computes import constructed
from vestige.construct.transformer.graphs.powers import PAPER, graph_specification
from vestige.construct.transformer.graphs.samples import graph_tokens, random_graphs
from vestige.construct.transformer.stream import Stream
from vestige.construct.transformer.tasks import Task
from vestige.construct.transformer.wires import Wire
from vestige.core.cite import paper
from vestige.core.rng import spawn

CHECKED, SHARP, SINK = 12, 60.0, 7 / 4


def degree_bounded_graphs(
    n: int, samples: int, degree: int, *, generator: torch.Generator | None = None
) -> Int[Tensor, "{samples} {n} {n}"]:
    """Directed graphs whose nodes have exactly `degree` heads, some of the edges both ways.

    Args:
        n: nodes, more than `degree`.
        samples: how many.
        degree: at least 1.
        generator: None for seed 0.

    Raises:
        ValueError: a degree that n nodes do not have.
    """
    if not 1 <= degree < n:
        raise ValueError(f"degree={degree} given; from 1 to {n - 1} there are at n={n}.")
    scores = torch.rand(samples, n, n, generator=spawn(generator, "degrees"))
    scores.diagonal(dim1=1, dim2=2).fill_(-1.0)
    chosen = scores.topk(degree, dim=2).indices
    return torch.zeros(samples, n, n, dtype=torch.long).scatter_(2, chosen, 1)


def sketch_tokens(
    adjacency: Int[Tensor, "batch n n"], size: int, *, generator: torch.Generator | None = None
) -> Float[Tensor, "batch n features"]:
    """Tokens of 2 size + n features: a sketch of the row, a random code of the node, and the row, which is not read.

    Codes y_i are random signs of length 1. The sketch of a row with heads S is the shortest vector phi with
    <phi, y_j> = 1 for all j in S; it is not linear in the row, and is computed before the network.

    Args:
        adjacency: directed graphs without self-loops.
        size: of a code; more than the largest degree.
        generator: of the codes, which must be those of the detector; None for seed 0.

    Raises:
        ValueError: no graph, or a degree that is not below the size.
    """
    x = graph_tokens(adjacency, directed=True)
    n, most = x.shape[1], int(x.sum(2).max())
    if most >= size:
        raise ValueError(f"size={size} given for nodes with {most} edges; more than that is needed, about 8 d ln n.")
    codes = _codes(n, size, generator)
    there, heads = x.topk(max(1, most), dim=2)  # each node's heads, and others where it has fewer
    inner = (codes @ codes.T)[heads[..., None], heads[..., None, :]] * there[..., None] * there[..., None, :]
    weights = torch.linalg.solve(inner + torch.diag_embed(1 - there), there[..., None])[..., 0]
    sketches = torch.einsum("bnk,bnks->bns", weights * there, codes[heads])
    return torch.cat([sketches, codes.expand(len(x), n, size), x], 2)


def _codes(n: int, size: int, generator: torch.Generator | None) -> Tensor:
    signs = torch.randint(0, 2, (n, size), generator=spawn(generator, "codes"))
    return (2.0 * signs.double() - 1) / math.sqrt(size)


def build_two_cycle_detector(
    n: int,
    *,
    degree: int | None = None,
    size: int | None = None,
    dtype: torch.dtype = torch.float32,
    generator: torch.Generator | None = None,
) -> Construction:
    """A transformer of one layer that marks each node of a directed graph which has an edge both ways.

    logits c (A_ij + A_ji) against a sink's 7 c / 4, by <row_i, e_j> + <row_j, e_i>, or by the same of sketches.

    Args:
        n: nodes, exactly; at least 2.
        degree: edges from a node, at most; None reads whole rows, at a width of 2 n + 3.
        size: of the sketches; None for 8 degree ln n, enough with high probability.
        dtype: in which every answer must come out right.
        generator: of the codes and of the graphs that are checked; None for seed 0.

    Returns:
        A `Construction`: `network(graph_tokens(a, directed=True))`, or of `sketch_tokens(a, size)` with the same
        generator, is (batch, n, 1).

    Raises:
        ValueError: fewer nodes, or a size without a degree.

    Source: arXiv 2503.01805, Theorem 4.4; the sketch by least norm is ours.

    >>> pair = torch.tensor([[[0, 1, 0], [1, 0, 1], [0, 0, 0]]])
    >>> build_two_cycle_detector(3).network(graph_tokens(pair, directed=True)).round()[0, :, 0].tolist()
    [1.0, 1.0, 0.0]
    """
    if n < 2 or (size is not None and degree is None):
        raise ValueError(f"n={n}, degree={degree}, size={size} given; at least 2 nodes, and a degree with a size.")
    if degree is None:
        table, position, width = torch.eye(n, 2 * n + 3).double(), torch.zeros(n, 2 * n + 3).double(), n
        position[:, n : 2 * n] = torch.eye(n).double()
        x = random_graphs(n, 2 * CHECKED, density=min(0.5, 2 / n), directed=True, generator=generator)
    else:
        graphs = degree_bounded_graphs(n, CHECKED, degree, generator=generator)
        width = math.ceil(8 * degree * math.log(n)) if size is None else size
        x = sketch_tokens(graphs, width, generator=generator)
        table, position = torch.eye(2 * width + n, 2 * width + 3).double(), torch.zeros(n, 2 * width + 3).double()
        table[2 * width :] = 0  # rows stay unread
    network = _network(n, width, table, position)
    specification = graph_specification(Task.IN_TWO_CYCLE, (x,), dtype)
    bounds = {"layers": 1, "heads in a layer": 1, "stream width": 2 * width + 3}
    return constructed(network, specification, bounds=bounds, numbers={"nodes": n}, source=(paper(PAPER),))


def _network(n: int, width: int, table: Tensor, position: Tensor) -> Transformer:
    stream = Stream({"row": width, "code": width, "sink": 1, "node": 1, "marked": 1})
    row, code = stream.wires("row"), stream.wires("code")
    position[:, stream.places("node")[0]] = 1.0
    sink = torch.zeros(stream.width, dtype=torch.float64)
    sink[stream.places("sink")[0]] = 1.0
    head = attention_head(
        stream,
        query=[*(SHARP * w for w in row), *(SHARP * w for w in code), Wire({}, SINK * SHARP)],
        key=[*code, *row, stream.wire("sink")],
        value=[stream.wire("node")],
        to=list(stream.places("marked")),
    )
    embedding = Embedding(table, (n, n), ids=False, position=position, sink=sink)
    return Transformer(stream, embedding, [Layer([head])], [stream.wire("marked")], read=None)


def two_cycle_lower_bound(n: int) -> int:
    """Least product of width, bits, heads and layers of a transformer that finds a 2-cycle from rows, up to a constant.

    Two players hold the rows of half of the nodes each, and of the edges between the halves, one for each direction:
    a 2-cycle is a place where their sets meet among (n / 2)^2, and telling that takes as many bits. Each of n tokens
    sends width x bits numbers a head and layer, so that width bits heads layers >= n / 4.

    Args:
        n: nodes, at least 2.

    >>> two_cycle_lower_bound(400)
    100
    """
    if n < 2:
        raise ValueError(f"n={n} given; it must be at least 2.")
    return (n // 2) ** 2 // n
