"""Do two graphs have the same tokens? (arXiv 2605.22471)"""

from dataclasses import dataclass, field, replace
from typing import Any

from jaxtyping import Float
from torch import Tensor

from vestige.core.cite import Paper
from vestige.graphs.graph import Graph, as_graph
from vestige.graphs.tokens.kinds import Sign, Tokenization, TokenKind, as_tokenization
from vestige.graphs.tokens.spectrum import eigenpairs, eigenspaces
from vestige.graphs.tokens.tokenizer import SOURCE, tokenize
from vestige.graphs.tokens.walks import exact_return_probabilities

EQUAL = 1e-9
EXACT = 40  # nodes and steps up to which walks are compared as fractions


@dataclass(frozen=True)
class Collision:
    """Whether two graphs have the same tokens.

    Attributes:
        same: no model on these tokens tells the graphs apart. False for spectral and adjacency tokens means: not with
            the nodes in the given order.
        difference: between two tokens, the largest; of a walk, at its first step that differs.
        step: of the walk, the first at which tokens differ; None where none does, or for other tokens.
        exact: whether fractions were compared.
        source: the paper.
    """

    same: bool
    difference: float
    step: int | None = None
    exact: bool = False
    source: tuple[Paper, ...] = field(default=SOURCE, repr=False)


def collides(first: Any, second: Any, how: Tokenization | TokenKind | str = TokenKind.RANDOM_WALK) -> Collision:
    """Whether two graphs have equal tokens.

    Walks are compared as multisets over the nodes, exactly up to 40 nodes. Of eigenvectors the projections U U^T onto
    each eigenspace are compared, which no choice of sign or basis changes, node by node in the given order; so are
    rows of the adjacency matrix.

    Args:
        first: a graph, as `as_graph` takes it.
        second: another.
        how: the kind by its name, or all of a `Tokenization`.

    Raises:
        ValueError: as `tokenize`.

    >>> import torch
    >>> star, path = (torch.zeros(4, 4) for _ in range(2))
    >>> star[0, 1:] = star[1:, 0] = 1
    >>> path[[0, 1, 2], [1, 2, 3]] = path[[1, 2, 3], [0, 1, 2]] = 1
    >>> collides(star, path).step
    2
    """
    one, other, chosen = as_graph(first), as_graph(second), as_tokenization(how)
    if one.n != other.n:
        return Collision(False, float("inf"))
    tokens = tokenize([one, other], chosen)
    if chosen.kind is TokenKind.RANDOM_WALK:
        return _compared_walks((one, other), tokens.values)
    gap = _subspace_gap(one, other, chosen) if chosen.spectral else 0.0
    for name, part in chosen.blocks(tokens.size).items():
        if name in ("random_walk", "adjacency"):
            gap = max(gap, float((tokens.values[0, :, part] - tokens.values[1, :, part]).abs().max()))
    return Collision(gap <= EQUAL, gap)


def _compared_walks(graphs: tuple[Graph, Graph], values: Float[Tensor, "2 n t"]) -> Collision:
    exact = values.shape[1] <= EXACT and values.shape[2] <= EXACT
    if exact:
        rows = [exact_return_probabilities(graph, values.shape[2]) for graph in graphs]
    else:
        rows = [[[round(p, 9) for p in row] for row in part] for part in values.tolist()]
    for step in range(1, values.shape[2] + 1):
        one, other = (sorted(row[:step] for row in part) for part in rows)
        gap = max(abs(a[-1] - b[-1]) for a, b in zip(one, other, strict=True))
        if one != other and gap > (0 if exact else EQUAL):
            return Collision(False, float(gap), step, exact)
    return Collision(True, 0.0, None, exact)


def _subspace_gap(one: Graph, other: Graph, how: Tokenization) -> float:
    """Of the whole eigenspaces that the tokens take vectors from: a basis of one is arbitrary."""
    whole = replace(how, k=None, sign=Sign.CANONICAL)
    (values, vectors), (others, images) = eigenpairs([one, other], whole)
    count = len(values)
    k = count if how.k is None else min(how.k, count)
    taken = range(count - k, count) if how.largest else range(k)
    spaces = eigenspaces(others)
    gap = float((values - others)[taken.start : taken.stop].abs().max()) if how.eigenvalues else 0.0
    for space in eigenspaces(values):
        if space[0] < taken.stop and space[1] > taken.start:
            u, v = (x[:, space[0] : space[1]] for x in (vectors, images))
            gap = max(gap, float((u @ u.T - v @ v.T).abs().max()) if space in spaces else 1.0)
    return gap
