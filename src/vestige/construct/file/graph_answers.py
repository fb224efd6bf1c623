"""The answers of tasks about graphs, counted out from lists of neighbors in plain Python."""

from itertools import combinations, permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def _heads(x: Array) -> list[set[int]]:
    """Of each node; a graph is the last n features of n tokens."""
    graph = x[:, -len(x) :]
    if graph.shape != (len(x), len(x)) or not np.isin(graph, (0, 1)).all():
        raise ValueError("n tokens end with n features of 0 and 1 each")
    return [set(np.flatnonzero(row).tolist()) for row in graph]


def matrix_power(x: Array, given: Array | None) -> list[list[int]]:
    """Walks of that length, start by start, one step after the other."""
    if given is None or given.shape != (1,) or not 1 <= int(given[0]) <= 64:
        raise ValueError("a power is needed")
    heads, rows = _heads(x), []
    for start in range(len(x)):
        walks = [int(node == start) for node in range(len(x))]
        for _ in range(int(given[0])):
            after = [0] * len(x)
            for node, many in enumerate(walks):
                for head in heads[node] if many else ():
                    after[head] += many
            walks = after
        rows.append(walks)
    return rows


def triangles(x: Array, given: Array | None) -> list[int]:
    """Edges with a common neighbor, three of them a triangle."""
    heads = _heads(x)
    return [sum(len(heads[i] & heads[j]) for i in range(len(x)) for j in heads[i] if i < j) // 3]


def four_cycles(x: Array, given: Array | None) -> list[int]:
    """Pairs of common neighbors of two opposite nodes, two of them a cycle."""
    heads = _heads(x)
    common = [len(a & b) for a, b in combinations(heads, 2)]
    return [sum(many * (many - 1) // 2 for many in common) // 2]


def connected(x: Array, given: Array | None) -> list[int]:
    """A search from node 0."""
    heads, seen, waiting = _heads(x), {0}, [0]
    while waiting:
        new = heads[waiting.pop()] - seen
        seen |= new
        waiting += new
    return [int(len(seen) == len(x))]


def in_two_cycle(x: Array, given: Array | None) -> list[list[int]]:
    """Whether one of a node's heads has it as a head."""
    heads = _heads(x)
    return [[int(any(node in heads[head] for head in heads[node]))] for node in range(len(x))]


def subgraphs(x: Array, given: Array | None) -> list[int]:
    """Every choice of nodes one after the other, and how many choices are the same copy."""
    if given is None or given.ndim != 2 or given.shape[0] != given.shape[1] or not 2 <= len(given) <= 6:
        raise ValueError("a small pattern is needed")
    heads, k = _heads(x), len(given)
    before = [[b for b in range(a) if given[a, b]] for a in range(k)]
    chosen: list[list[int]] = [[]]
    for a in range(k):
        chosen = [
            [*some, node]
            for some in chosen
            for node in range(len(x))
            if node not in some and all(node in heads[some[b]] for b in before[a])
        ]
    same = sum((given[np.ix_(p, p)] == given).all() for p in permutations(range(k)))
    return [len(chosen) // int(same)]
