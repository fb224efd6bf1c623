"""d-patterns: what d layers of message passing can see of a node, as one number (arXiv 2010.08853, definition 4.1).

p_v^0 is the node's feature, p_v^d = (p_v^(d-1), the multiset of p_u^(d-1) over its neighbors u): the color after d
rounds of Weisfeiler and Leman. The number of a pattern depends on the pattern alone, in every process and on every
machine. A multiset is a sum of mixed 64-bit numbers. Two patterns get one number with a chance of about 2^-64: among
10^5 patterns it happens once in 10^9 runs.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from vestige.core.cite import Paper, paper
from vestige.graphs.graph import as_graphs, join

SOURCE = (paper("2010.08853"),)
FEATURE, OWN = (np.uint64(k) for k in (0x9E3779B97F4A7C15, 0xD1B54A32D192ED03))
START = np.uint64(0x243F6A8885A308D3)  # digits of pi
_SHIFTS = tuple(np.uint64(k) for k in (30, 27, 31))
_FACTORS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
Words = NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class Patterns:
    """The patterns of all nodes of some graphs.

    Attributes:
        ids: the number of each node's pattern.
        owner: the graph of each node.
        depth: d.
        count: graphs.
        source: the paper.
    """

    ids: Int[Tensor, " nodes"]
    owner: Int[Tensor, " nodes"]
    depth: int
    count: int
    source: tuple[Paper, ...] = field(default=SOURCE, repr=False)


def d_patterns(graphs: Any, depth: int, *, features: bool = True) -> Patterns:
    """The number of the d-pattern of each node.

    Args:
        graphs: one or a list, as `as_graph` takes them.
        depth: d; the layers of the network that is meant.
        features: whether the pattern of depth 0 is the node's feature, where there are features; else it is the same
            for all nodes, so that depth 1 is the degree.

    Raises:
        ValueError: a negative depth, a directed graph, or features that are not integers: almost every pattern would
            occur once.

    >>> path = torch.tensor([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    >>> ends, middle, other = d_patterns(path, 1).ids.tolist()
    >>> ends == other, ends == middle
    (True, False)
    """
    given = as_graphs(graphs)
    if depth < 0:
        raise ValueError(f"depth={depth} given; at least 0 is needed.")
    if any(g.directed for g in given):
        raise ValueError("a directed graph given; patterns are those of undirected ones. Add each edge's way back.")
    batch = join(given)
    ids = _rounds(batch.edges.numpy(), batch.n, batch.x if features else None, depth)
    return Patterns(torch.from_numpy(ids.view(np.int64)), batch.owner, depth, batch.count)


def _rounds(edges: NDArray[np.int64], n: int, x: Tensor | None, depth: int) -> Words:
    words = np.full(n, START)
    if x is not None:
        for column in _integers(x).T:
            words = _mix(words * FEATURE ^ np.ascontiguousarray(column).view(np.uint64))
    ends, sums = np.zeros(n + 1, dtype=np.int64), np.zeros(edges.shape[1] + 1, dtype=np.uint64)
    np.bincount(edges[0], minlength=n).cumsum(out=ends[1:])
    for _ in range(depth):
        words[edges[1]].cumsum(out=sums[1:])  # edges stand in order; modulo 2^64
        reached = sums[ends]
        words = _mix(words * OWN + (reached[1:] - reached[:-1]))
    return words


def _integers(x: Tensor) -> NDArray[np.int64]:
    whole = x.long()
    if not bool((whole == x).all()):
        raise ValueError(
            "features that are not integers given; patterns of continuous features are all different. Round them into "
            "classes first, or take features=False."
        )
    return np.ascontiguousarray(whole.numpy(force=True))


def _mix(words: Words) -> Words:
    """The finalizer of splitmix64: a permutation of 64-bit numbers."""
    words = words ^ (words >> _SHIFTS[0])
    words *= _FACTORS[0]
    words ^= words >> _SHIFTS[1]
    words *= _FACTORS[1]
    words ^= words >> _SHIFTS[2]
    return words


@dataclass(frozen=True, eq=False)
class PatternDistribution:
    """Which patterns occur, and how often.

    Attributes:
        ids: of the patterns, increasing.
        mass: share of each; they sum to 1.
        nodes: that were counted.
    """

    ids: Int[Tensor, " patterns"]
    mass: Tensor
    nodes: int

    def total_variation(self, other: "PatternDistribution") -> float:
        """Half the sum of |p - q|: 0 for equal distributions, 1 for disjoint ones."""
        both = torch.cat([self.ids, other.ids])
        _, place = both.unique(return_inverse=True)
        gap = torch.zeros(int(place.max()) + 1, dtype=torch.float64)
        gap.index_add_(0, place, torch.cat([self.mass, -other.mass]))
        return float(gap.abs().sum() / 2)

    def unseen(self, other: "PatternDistribution") -> float:
        """Mass of `other` on patterns that have none here."""
        return float(other.mass[~torch.isin(other.ids, self.ids)].sum())


def pattern_distribution(patterns: Patterns) -> PatternDistribution:
    """The distribution of patterns over all nodes of all graphs.

    >>> star = torch.zeros(4, 4)
    >>> star[0, 1:] = star[1:, 0] = 1
    >>> pattern_distribution(d_patterns(star, 1)).mass.sort().values.tolist()
    [0.25, 0.75]
    """
    ids, counts = patterns.ids.unique(return_counts=True)
    return PatternDistribution(ids, counts.double() / len(patterns.ids), len(patterns.ids))


def pattern_tv(source: Any, target: Any, depth: int, *, features: bool = True) -> float:
    """Total variation between the d-patterns of two sets of graphs.

    Args:
        source: graphs.
        target: others.
        depth: d.
        features: as `d_patterns`.

    Raises:
        ValueError: as `d_patterns`.
    """
    one, other = (pattern_distribution(d_patterns(graphs, depth, features=features)) for graphs in (source, target))
    return one.total_variation(other)
