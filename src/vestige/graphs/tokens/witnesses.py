"""Pairs of graphs that some tokens cannot tell apart, although a property does (arXiv 2605.22471).

planarity: corners, edges and faces of the tetrahedron. Edge nodes are joined to the faces that hold them, and in the
first graph to their own two corners (the rhombic dodecahedron, planar), in the second to the two others (not planar).
For Q = J/2 - I on the corners, P' = Q P Q, and the rows of P^t between corners have one sum: all diagonals agree.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

import torch

from vestige.core.choices import ChoiceEnum
from vestige.graphs.graph import Graph
from vestige.graphs.tokens.kinds import Tokenization, TokenKind

PARTS = 4  # triangles or paths of the pairs that eigenvectors do not tell apart


class Witness(ChoiceEnum):
    """Which pair."""

    PLANARITY = "planarity"
    RETURN_TIME = "return_time"
    SMALLEST_EIGENVECTORS = "smallest_eigenvectors"
    LARGEST_EIGENVECTORS = "largest_eigenvectors"


@dataclass(frozen=True, eq=False)
class WitnessPair:
    """Two graphs with the same tokens.

    Attributes:
        first: one graph.
        second: the other.
        how: the tokens that are the same.
        differs: what tells the graphs apart, in words.
        values: of that property, for the first and the second.
    """

    first: Graph
    second: Graph
    how: Tokenization
    differs: str
    values: tuple[bool, bool] | tuple[int, int]


def witness(name: Witness | str, *, parts: int = PARTS) -> WitnessPair:
    """A pair of graphs with the same tokens.

    Args:
        name: "planarity": 14 nodes, walks of any length; "return_time": dodecahedron and Desargues graph, 20 nodes,
            walks of up to 4 steps; "smallest_eigenvectors": disjoint triangles and disjoint paths of 3 nodes, the first
            `parts` eigenvectors of L; "largest_eigenvectors": their complements, the last `parts` - 1.
        parts: triangles, at least 2, of the last two.

    Raises:
        ValueError: an unknown name, or fewer than 2 parts.

    >>> witness("largest_eigenvectors").values
    (108, 144)
    """
    chosen = Witness(name)
    if parts < 2:
        raise ValueError(f"parts={parts} given; at least 2 are needed.")
    if chosen is Witness.PLANARITY:
        how = Tokenization(kind=TokenKind.RANDOM_WALK, t=14)
        return WitnessPair(_tetrahedron(own=True), _tetrahedron(own=False), how, "planar", (True, False))
    if chosen is Witness.RETURN_TIME:
        how = Tokenization(kind=TokenKind.RANDOM_WALK, t=4)
        return WitnessPair(_lcf(DODECAHEDRON), _lcf(DESARGUES), how, "planar", (True, False))
    triangles = [(3 * i + a, 3 * i + b) for i in range(parts) for a, b in combinations(range(3), 2)]
    paths = [(3 * i + a, 3 * i + a + 1) for i in range(parts) for a in range(2)]
    if chosen is Witness.SMALLEST_EIGENVECTORS:
        pair, how = (triangles, paths), Tokenization(k=parts)
    else:
        pair, how = (
            (_complement(triangles, 3 * parts), _complement(paths, 3 * parts)),
            Tokenization(k=parts - 1, largest=True),
        )
    first, second = (_graph(3 * parts, edges) for edges in pair)
    return WitnessPair(first, second, how, "triangles", (count_triangles(first), count_triangles(second)))


def count_triangles(graph: Graph) -> int:
    """Sets of three nodes that are joined to each other: trace(A^3) / 6."""
    a = graph.sparse
    return round(float(a.multiply(a @ a).sum()) / 6)


# The jumps of a Hamiltonian cycle's chords (LCF notation).
DODECAHEDRON = (10, 7, 4, -4, -7, 10, -4, 7, -7, 4) * 2
DESARGUES = (5, -5, 9, -9) * 5


def _lcf(jumps: tuple[int, ...]) -> Graph:
    n = len(jumps)
    return _graph(n, [*((i, (i + 1) % n) for i in range(n)), *((i, (i + jump) % n) for i, jump in enumerate(jumps))])


def _tetrahedron(*, own: bool) -> Graph:
    corners = range(4)
    ridges, faces = list(combinations(corners, 2)), list(combinations(corners, 3))
    pairs = []
    for i, ridge in enumerate(ridges, 4):
        pairs += [(i, corner) for corner in corners if (corner in ridge) is own]
        pairs += [(i, 10 + j) for j, face in enumerate(faces) if set(ridge) <= set(face)]
    return _graph(14, pairs)


def _complement(pairs: Iterable[tuple[int, int]], n: int) -> list[tuple[int, int]]:
    there = set(pairs)
    return [pair for pair in combinations(range(n), 2) if pair not in there]


def _graph(n: int, pairs: Iterable[tuple[int, int]]) -> Graph:
    there = torch.tensor([*pairs]).T
    return Graph(n, torch.cat([there, there.flip(0)], 1))
