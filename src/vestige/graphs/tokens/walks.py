"""Return probabilities of random walks, for many graphs at once, and as exact fractions for one.

S = D^-1/2 A D^-1/2 has the diagonals of P = D^-1 A, and is symmetric: (S^(a+b))_vv = sum_u (S^a)_vu (S^b)_vu. So t
steps need the powers up to t/2 only.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse import csr_matrix
from torch import Tensor

from vestige.graphs.graph import Graph, join

SMALL = 400  # nodes up to which several graphs are handled at once, as dense matrices
DENSE = 1000  # nodes up to which powers of one graph are dense from the start
TINY, THIN = 40, 1 / 16  # nodes below which, and share of edges from which, the graph itself is dense too
SPREAD = 1.25  # how much larger than the smallest graph of a pack its largest is
CELLS = 4_000_000  # numbers in a pack: 32 MB
FILLED = 0.03  # share of a power's cells from which it is kept dense


def return_probabilities(graphs: Sequence[Graph], t: int) -> list[Float[Tensor, "n t"]]:
    """((P^1)_vv .. (P^t)_vv) for the nodes of each graph; 0 for an isolated node."""
    found: list[Tensor] = [torch.empty(0)] * len(graphs)
    order = sorted(range(len(graphs)), key=lambda i: graphs[i].n)
    while order:
        smallest = graphs[order[0]].n
        limit = min(SMALL, max(smallest + 1, int(SPREAD * smallest)))
        pack = [i for i in order if graphs[i].n <= limit][: max(1, CELLS // limit**2)] or order[:1]
        if len(pack) == 1:
            found[pack[0]] = _alone(graphs[pack[0]], t)
        else:
            for i, part in zip(pack, _together(_scaled([graphs[i] for i in pack]), t), strict=True):
                found[i] = part[: graphs[i].n]
        order = order[len(pack) :]
    return found


def _scaled(graphs: Sequence[Graph]) -> Float[Tensor, "b n n"]:
    """S of each, padded with zeros."""
    batch, size = join(graphs), max(g.n for g in graphs)
    first = torch.searchsorted(batch.owner, torch.arange(len(graphs)))
    u, v = (batch.edges[i] - first[batch.owner[batch.edges[i]]] for i in (0, 1))
    root = torch.bincount(batch.edges[0], minlength=batch.n).clamp(min=1).double().rsqrt()
    s = torch.zeros(len(graphs), size, size, dtype=torch.float64)
    s[batch.owner[batch.edges[0]], u, v] = root[batch.edges[0]] * root[batch.edges[1]]
    return s


def _together(s: Float[Tensor, "b n n"], t: int) -> Float[Tensor, "b n t"]:
    walks = torch.zeros(*s.shape[:2], t, dtype=torch.float64)
    power = s
    for step in range(2, t + 1, 2):
        walks[:, :, step - 1] = power.square().sum(2)
        if step < t:
            after = torch.bmm(power, s)
            walks[:, :, step] = (power * after).sum(2)
            power = after
    return walks


def _alone(graph: Graph, t: int) -> Float[Tensor, "n t"]:
    """As `_together`, by numpy and scipy, whose calls cost less than torch's on a graph of ten nodes."""
    s: Any = _matrix(graph) if graph.n < TINY or graph.edges.shape[1] > THIN * graph.n**2 else graph.normalized
    walks = np.zeros((graph.n, t))
    power: Any = s.toarray() if graph.n <= DENSE and isinstance(s, csr_matrix) else s
    for step in range(2, t + 1, 2):
        walks[:, step - 1] = _products(power, power)
        if step < t:
            after = s @ power
            if isinstance(after, csr_matrix) and after.nnz > FILLED * graph.n**2:
                power, after = power.toarray(), after.toarray()
            walks[:, step] = _products(power, after)
            power = after
    return torch.from_numpy(walks)


def _matrix(graph: Graph) -> np.ndarray:
    """S as a dense matrix."""
    u, v = graph.edges.numpy()
    root = np.maximum(np.bincount(u, minlength=graph.n), 1) ** -0.5
    s = np.zeros((graph.n, graph.n))
    s[u, v] = root[u] * root[v]
    return s


def _products(a: Any, b: Any) -> np.ndarray:
    if isinstance(a, np.ndarray):
        return np.einsum("ij,ij->i", a, b)
    return np.asarray(a.multiply(b).sum(1)).ravel()


def exact_return_probabilities(graph: Graph, t: int) -> list[list[Fraction]]:
    """The same as fractions, a list for each node."""
    neighbors: list[list[int]] = [[] for _ in range(graph.n)]
    for u, v in graph.edges.T.tolist():
        neighbors[u].append(v)
    found = []
    for start in range(graph.n):
        mass, row = {start: Fraction(1)}, []
        for _ in range(t):
            after: dict[int, Fraction] = {}
            for node, share in mass.items():
                for other in neighbors[node]:
                    after[other] = after.get(other, Fraction(0)) + share / len(neighbors[node])
            mass = after
            row.append(mass.get(start, Fraction(0)))
        found.append(row)
    return found
