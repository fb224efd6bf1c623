"""What graph transformers compute, from adjacency matrices as the last n features of n tokens."""

from itertools import combinations, permutations

import numpy as np
import torch
from torch import Tensor

from vestige.construct.transformer.graphs.samples import reached_from_first


def adjacency_of(x: Tensor) -> Tensor:
    """(batch, n, n) in float64."""
    return x[..., -x.shape[1] :].double()


def matrix_power(x: Tensor, given: np.ndarray | None) -> Tensor:
    """Every row of A^power; `given` is [power]."""
    return adjacency_of(x).matrix_power(int(np.asarray(given)[0]))


def triangles(x: Tensor, given: np.ndarray | None) -> Tensor:
    """tr A^3 / 6."""
    return _trace(adjacency_of(x).matrix_power(3)) / 6


def four_cycles(x: Tensor, given: np.ndarray | None) -> Tensor:
    """(tr A^4 + tr A^2 - 2 sum A^2) / 8."""
    a = adjacency_of(x)
    square = a @ a
    return (_trace(square @ square) + _trace(square) - 2 * square.sum((1, 2))[:, None]) / 8


def connected(x: Tensor, given: np.ndarray | None) -> Tensor:
    """1 where node 0 reaches all."""
    return torch.stack([reached_from_first(a).all() for a in adjacency_of(x)])[:, None]


def in_two_cycle(x: Tensor, given: np.ndarray | None) -> Tensor:
    """For each node of a directed graph, 1 where an edge of it goes both ways."""
    a = adjacency_of(x)
    return (a * a.transpose(1, 2)).amax(2, keepdim=True)


def subgraphs(x: Tensor, given: np.ndarray | None) -> Tensor:
    """Copies, not necessarily induced, of the pattern whose adjacency matrix is given."""
    pattern = np.asarray(given)
    n, letters, operands = x.shape[1], "abcdefgh", []
    a, apart = adjacency_of(x), 1 - torch.eye(n, dtype=torch.float64)
    terms = []
    for i, j in combinations(range(len(pattern)), 2):
        terms.append(("z" if pattern[i, j] else "") + letters[i] + letters[j])
        operands.append(a if pattern[i, j] else apart)
    copies = torch.einsum(f"{','.join(terms)}->z", *operands)
    return copies[:, None] / automorphisms(pattern)


def automorphisms(pattern: np.ndarray) -> int:
    """Orders of its nodes that leave it as it is."""
    return sum(np.array_equal(pattern[np.ix_(p, p)], pattern) for p in permutations(range(len(pattern))))


def _trace(matrices: Tensor) -> Tensor:
    return matrices.diagonal(dim1=1, dim2=2).sum(1, keepdim=True)
