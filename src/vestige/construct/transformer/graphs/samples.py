"""Graphs as tensors: rows of adjacency matrices as tokens, and random graphs to ask about."""

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from vestige.core.rng import spawn

DISCONNECTED = 2, 5  # blocks of a disconnected graph, one less than the second at most


def graph_tokens(adjacency: Num[Tensor, "batch n n"], *, directed: bool = False) -> Float[Tensor, "batch n n"]:
    """What the graph transformers read: token i is row i, after a check that these are graphs.

    Args:
        adjacency: 0 or 1, no self-loops; symmetric unless `directed`.
        directed: whether row i lists the heads of i's edges.

    Raises:
        ValueError: another number, a self-loop, or an edge in one direction only.
    """
    x = adjacency.double()
    other, loops = int(((x != 0) & (x != 1)).sum()), int((x.diagonal(dim1=1, dim2=2) != 0).sum())
    one_way = 0 if directed else int((x != x.transpose(1, 2)).sum()) // 2
    if other or loops or one_way:
        raise ValueError(
            f"an adjacency matrix with {other} entries other than 0 and 1, {loops} self-loops and {one_way} edges in "
            "one direction only given; 0/1 matrices without self-loops are read, symmetric ones unless directed=True."
        )
    return x


def random_graphs(
    n: int,
    samples: int,
    *,
    density: float = 0.3,
    directed: bool = False,
    generator: torch.Generator | None = None,
) -> Int[Tensor, "{samples} {n} {n}"]:
    """Graphs in which each edge is there with the same probability.

    Args:
        n: nodes.
        samples: how many.
        density: probability of an edge.
        directed: whether the two directions are drawn apart.
        generator: None for seed 0.
    """
    drawn = torch.rand(samples, n, n, generator=spawn(generator, "graphs")) < density
    upper = drawn.triu(1)
    found = drawn & ~torch.eye(n, dtype=torch.bool) if directed else upper | upper.transpose(1, 2)
    return found.long()


def permuted_graphs(
    adjacency: Num[Tensor, "batch n n"], *, generator: torch.Generator | None = None
) -> Num[Tensor, "batch n n"]:
    """The same graphs with their nodes in a random order, another one for each.

    Args:
        adjacency: of the graphs.
        generator: None for seed 0.
    """
    order = torch.rand(adjacency.shape[:2], generator=spawn(generator, "orders")).argsort(1)
    rows = torch.arange(len(adjacency))[:, None, None]
    return adjacency[rows, order[:, :, None], order[:, None, :]]


def cycle_graphs(
    n: int, samples: int, *, generator: torch.Generator | None = None
) -> tuple[Int[Tensor, "{samples} {n} {n}"], Int[Tensor, " {samples}"]]:
    """One cycle of n nodes, or two of at least 3 each, in a random order of nodes; the label is 1 for one cycle.

    Args:
        n: nodes, at least 6.
        samples: how many, half of each.
        generator: None for seed 0.

    Raises:
        ValueError: fewer nodes.
    """
    if n < 6:
        raise ValueError(f"n={n} given; two cycles take at least 6 nodes.")
    draw = spawn(generator, "cycles")
    found, one = torch.zeros(samples, n, n, dtype=torch.long), torch.arange(samples) % 2
    for graph, alone in zip(found, one, strict=True):
        first = n if alone else int(torch.randint(3, n - 2, (), generator=draw))
        for nodes in (range(first), range(first, n)):
            for k in range(len(nodes)):
                a, b = nodes[k], nodes[(k + 1) % len(nodes)]
                graph[a, b] = graph[b, a] = 1
    return permuted_graphs(found, generator=draw), one


def connectivity_graphs(
    n: int, samples: int, *, permute: bool = True, generator: torch.Generator | None = None
) -> tuple[Int[Tensor, "{samples} {n} {n}"], Int[Tensor, " {samples}"]]:
    """Connected graphs and disconnected ones as they are often benchmarked; the label is 1 for a connected one.

    Graphs are G(n, p), geometric, grown by attachment, or of a few communities; a disconnected one has 2 to 4 of them
    on *contiguous* node numbers. Unpermuted, a cut between two numbers therefore tells the label: see `leak_audit`.

    Args:
        n: nodes, at least 16.
        samples: how many, half of each.
        permute: whether nodes are put in a random order.
        generator: None for seed 0.

    Raises:
        ValueError: fewer nodes.
    """
    if n < 16:
        raise ValueError(f"n={n} given; four connected parts take at least 16 nodes.")
    draw = spawn(generator, "connectivity")
    found, label = torch.zeros(samples, n, n, dtype=torch.long), torch.arange(samples) % 2
    for graph, connected in zip(found, label, strict=True):
        parts = 1 if connected else int(torch.randint(*DISCONNECTED, (), generator=draw))
        for nodes in torch.arange(n).tensor_split(parts):
            graph[nodes[0] : nodes[-1] + 1, nodes[0] : nodes[-1] + 1] = _connected(len(nodes), draw)
    return (permuted_graphs(found, generator=draw) if permute else found), label


def _connected(n: int, draw: torch.Generator) -> Tensor:
    """One of four kinds, drawn until it hangs together."""
    while True:
        kind, scale = int(torch.randint(4, (), generator=draw)), float(torch.rand((), generator=draw))
        graph = (_uniform, _geometric, _attached, _communities)[kind](n, scale, draw)
        graph = (graph.triu(1) | graph.triu(1).T).long()
        if bool(reached_from_first(graph).all()):
            return graph


def reached_from_first(graph: Tensor) -> Tensor:
    """Nodes that node 0 is connected to, as a mask."""
    seen = torch.zeros(len(graph), dtype=torch.bool)
    seen[0] = True
    for _ in range(len(graph)):
        seen = seen | (graph[seen] > 0).any(0)
    return seen


def _uniform(n: int, scale: float, draw: torch.Generator) -> Tensor:
    return torch.rand(n, n, generator=draw) < 0.1 + 0.4 * scale


def _geometric(n: int, scale: float, draw: torch.Generator) -> Tensor:
    points = torch.rand(n, 2, generator=draw)
    return torch.cdist(points, points) < 0.2 + 0.3 * scale


def _attached(n: int, scale: float, draw: torch.Generator) -> Tensor:
    """Each new node takes 2 to 4 neighbors, in proportion to their degrees."""
    many = 2 + min(2, int(3 * scale))
    graph = torch.zeros(n, n, dtype=torch.bool)
    for node in range(1, n):
        weights = 1.0 + (graph[:node] | graph[:, :node].T).sum(1)
        chosen = torch.multinomial(weights, min(many, node), generator=draw)
        graph[chosen, node] = True
    return graph


def _communities(n: int, scale: float, draw: torch.Generator) -> Tensor:
    member = torch.randint(2 + min(2, int(3 * scale)), (n,), generator=draw)
    inside, across = (torch.rand((), generator=draw) for _ in range(2))
    chance = torch.where(member[:, None] == member, 0.3 + 0.3 * inside, 0.05 + 0.15 * across)
    return torch.rand(n, n, generator=draw) < chance
