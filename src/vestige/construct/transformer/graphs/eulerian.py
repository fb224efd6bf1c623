"""Is a list of edges with a successor for each one closed trail, or several (arXiv 2503.01805)?"""

import torch
from jaxtyping import Int
from torch import Tensor

from vestige.core.rng import spawn


def eulerian_instances(
    n: int, edges: int, samples: int, *, generator: torch.Generator | None = None
) -> tuple[Int[Tensor, "{samples} {edges} 2"], Int[Tensor, "{samples} {edges}"], Int[Tensor, " {samples}"]]:
    """Closed trails through random multigraphs with self-loops, every other one cut into two over the same edges.

    A trail that visits a node twice is cut there by exchanging two successors: every edge still starts where the edge
    before it ends, so that only going around tells the two apart. The paper conjectures that this takes n^2 slots, or a
    depth of log n.

    Args:
        n: nodes, at least 1.
        edges: more than n, so that some node is visited twice.
        samples: how many.
        generator: None for seed 0.

    Returns:
        Edges (tail, head) in a random order, the successor of each, and labels: 1 for one trail.

    Raises:
        ValueError: too few edges.
    """
    if n < 1 or edges <= n:
        raise ValueError(f"n={n}, edges={edges} given; more edges than nodes are needed, so that a node comes twice.")
    draw = spawn(generator, "trails")
    labels = 1 - torch.arange(samples) % 2
    found = [_instance(n, edges, bool(label), draw) for label in labels]
    return torch.stack([pair[0] for pair in found]), torch.stack([pair[1] for pair in found]), labels


def _instance(n: int, edges: int, whole: bool, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    visits = torch.randint(n, (edges,), generator=draw)
    after = (torch.arange(edges) + 1) % edges
    if not whole:
        same = (visits[:, None] == visits).triu(1).nonzero()  # by the pigeonhole there is one
        first, second = same[int(torch.randint(len(same), (), generator=draw))].tolist()
        after[first - 1], after[second - 1] = after[second - 1].clone(), after[first - 1].clone()
    trail = torch.stack([visits, visits.roll(-1)], 1)
    order = torch.randperm(edges, generator=draw)
    return trail[order], order.argsort()[after[order]]


def is_one_trail(edges: Int[Tensor, "edges 2"], successor: Int[Tensor, " edges"]) -> bool:
    """Whether going from successor to successor passes every edge once, each starting where the last one ended.

    Args:
        edges: (tail, head) of each.
        successor: of each.

    >>> is_one_trail(torch.tensor([[0, 1], [1, 0]]), torch.tensor([1, 0]))
    True
    """
    seen, here = set(), 0
    while here not in seen:
        seen.add(here)
        after = int(successor[here])
        if int(edges[after, 0]) != int(edges[here, 1]):
            return False
        here = after
    return len(seen) == len(edges) and here == 0
