"""Graphs as plain tensors, from what a user has: networkx, PyTorch Geometric, an adjacency matrix."""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from scipy.sparse import csr_matrix
from torch import Tensor

LARGEST = 2**31  # nodes squared must fit 64 bits


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes 0..n-1 and the pairs between them, an undirected edge in both directions, each pair once and in order.

    Attributes:
        n: nodes, at least one.
        edges: from node `edges[0, i]` to node `edges[1, i]`.
        x: features of the nodes, or None.

    Raises:
        ValueError: no node, a node outside 0..n-1, or an edge from a node to itself.

    >>> path = Graph(3, torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]))
    >>> path.degrees.tolist(), path.components, path.directed
    ([1, 2, 1], 1, False)
    """

    n: int
    edges: Int[Tensor, "2 m"]
    x: Shaped[Tensor, "nodes f"] | None = None

    def __post_init__(self):
        if not 1 <= self.n < LARGEST:
            raise ValueError(f"a graph of {self.n} nodes given; at least one node is needed, and at most 2^31.")
        if self.edges.numel() and not (0 <= int(self.edges.min()) and int(self.edges.max()) < self.n):
            raise ValueError(f"edges between nodes outside 0..{self.n - 1} given.")
        if bool((self.edges[0] == self.edges[1]).any()):
            raise ValueError(
                "an edge from a node to itself given; L = D - A forgets it and a walk may stay there. Remove it, or "
                "say it as a feature of the node."
            )
        if self.x is not None and len(self.x) != self.n:
            raise ValueError(f"features of {len(self.x)} nodes for {self.n} nodes given.")
        keys = (self.edges[0] * self.n + self.edges[1]).unique()
        object.__setattr__(self, "edges", torch.stack([keys // self.n, keys % self.n]))

    @functools.cached_property
    def directed(self) -> bool:
        """Whether some edge has no way back."""
        back = (self.edges[1] * self.n + self.edges[0]).sort().values
        return not torch.equal(back, self.edges[0] * self.n + self.edges[1])

    @functools.cached_property
    def degrees(self) -> Int[Tensor, " nodes"]:
        """Edges that leave each node."""
        return torch.bincount(self.edges[0], minlength=self.n)

    @functools.cached_property
    def components(self) -> int:
        """Parts that no edge joins."""
        from scipy.sparse.csgraph import connected_components

        return int(connected_components(self.sparse, directed=False, return_labels=False))

    @functools.cached_property
    def sparse(self) -> csr_matrix:
        """The adjacency matrix for scipy."""
        ends = np.concatenate([[0], np.cumsum(self.degrees.numpy())])
        return csr_matrix((np.ones(self.edges.shape[1]), self.edges[1].numpy(), ends), shape=(self.n, self.n))

    @functools.cached_property
    def normalized(self) -> csr_matrix:
        """D^-1/2 A D^-1/2 for scipy; 0 at isolated nodes."""
        root = np.maximum(self.degrees.numpy(), 1) ** -0.5
        values = root[self.edges[0].numpy()] * root[self.edges[1].numpy()]
        return csr_matrix((values, self.sparse.indices, self.sparse.indptr), shape=(self.n, self.n))

    def adjacency(self) -> Float[Tensor, "nodes nodes"]:
        """The adjacency matrix, 0 and 1."""
        a = torch.zeros(self.n, self.n, dtype=torch.float64)
        a[self.edges[0], self.edges[1]] = 1
        return a


def as_graph(thing: Any) -> Graph:
    """A graph from what other libraries call one.

    Args:
        thing: a `Graph`, an adjacency matrix of 0 and 1 (tensor or array), a networkx graph (nodes in its order), or
            an object with `edge_index` and `num_nodes` as PyTorch Geometric has, whose `x` becomes the features.

    Raises:
        ValueError: none of these, weights, loops, or no node.

    >>> as_graph(torch.tensor([[0, 1], [1, 0]])).edges.tolist()
    [[0, 1], [1, 0]]
    """
    if isinstance(thing, Graph):
        return thing
    if isinstance(thing, Tensor | np.ndarray):
        return _from_matrix(torch.as_tensor(thing))
    if hasattr(thing, "edge_index"):
        edges = thing.edge_index
        edges = torch.zeros(2, 0, dtype=torch.long) if edges is None else edges.detach().cpu()
        return Graph(int(thing.num_nodes), edges, getattr(thing, "x", None))
    if hasattr(thing, "is_directed") and hasattr(thing, "edges") and hasattr(thing, "nodes"):
        place = {node: i for i, node in enumerate(thing.nodes)}
        pairs = [(place[u], place[v]) for u, v in thing.edges()]
        pairs += [] if thing.is_directed() else [(v, u) for u, v in pairs]
        return Graph(len(place), torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T)
    raise ValueError(
        f"a {type(thing).__name__} given; allowed are vestige's Graph, an adjacency matrix, a networkx graph, or an "
        "object with edge_index and num_nodes."
    )


def _from_matrix(a: Tensor) -> Graph:
    if a.ndim != 2 or a.shape[0] != a.shape[1] or not bool(((a == 0) | (a == 1)).all()):
        raise ValueError(
            f"a matrix of shape {tuple(a.shape)} given; an adjacency matrix is square, of 0 and 1. Weights of edges "
            "are not read."
        )
    return Graph(len(a), a.nonzero().T.contiguous())


def as_graphs(things: Any) -> list[Graph]:
    """A list of graphs from one or several.

    Raises:
        ValueError: as `as_graph`, or none at all.
    """
    several = isinstance(things, Sequence) or (isinstance(things, Iterable) and not _is_one(things))
    graphs = [as_graph(thing) for thing in things] if several else [as_graph(things)]
    if not graphs:
        raise ValueError("no graph given; at least one is needed.")
    return graphs


def _is_one(thing: Any) -> bool:
    """Tensors, networkx's graphs and PyTorch Geometric's can all be iterated over."""
    return isinstance(thing, Tensor | np.ndarray) or hasattr(thing, "edge_index") or hasattr(thing, "is_directed")


@dataclass(frozen=True, eq=False)
class GraphBatch:
    """Several graphs side by side as one that falls into parts.

    Attributes:
        edges: of all graphs, nodes counted through.
        owner: the graph of each node, in order.
        count: graphs.
        x: features of all nodes, or None.
    """

    edges: Int[Tensor, "2 m"]
    owner: Int[Tensor, " nodes"]
    count: int
    x: Shaped[Tensor, "nodes f"] | None = None

    @property
    def n(self) -> int:
        """Nodes of all graphs."""
        return len(self.owner)


def join(graphs: Sequence[Graph]) -> GraphBatch:
    """The graphs of a list as one batch; features only where all have them.

    Raises:
        ValueError: features of different widths, or of some graphs only.

    >>> pair = as_graph(torch.tensor([[0, 1], [1, 0]]))
    >>> join([pair, pair]).edges.tolist()
    [[0, 1, 2, 3], [1, 0, 3, 2]]
    """
    widths = {None if g.x is None else g.x.shape[1] for g in graphs}
    if len(widths) != 1:
        raise ValueError(f"graphs with {widths} features for each node given; all need as many, or none has any.")
    if len(graphs) == 1:
        return GraphBatch(graphs[0].edges, torch.zeros(graphs[0].n, dtype=torch.long), 1, graphs[0].x)
    sizes = torch.tensor([g.n for g in graphs])
    first = sizes.cumsum(0) - sizes
    counts = torch.tensor([g.edges.shape[1] for g in graphs])
    edges = torch.cat([g.edges for g in graphs], 1) + first.repeat_interleave(counts)
    features = [g.x for g in graphs if g.x is not None]
    owner = torch.arange(len(graphs)).repeat_interleave(sizes)
    return GraphBatch(edges, owner, len(graphs), torch.cat(features) if features else None)
