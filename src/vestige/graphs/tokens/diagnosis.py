"""What a graph's tokens ask of a transformer, before training (arXiv 2605.22471)."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch

from vestige.core.cite import Paper
from vestige.graphs.graph import as_graph
from vestige.graphs.tokens.kinds import Tokenization, TokenKind, as_tokenization
from vestige.graphs.tokens.spectrum import eigenspaces, laplacian_of
from vestige.graphs.tokens.tokenizer import SOURCE, is_lossless, tokenize


@dataclass(frozen=True, kw_only=True)
class TokenDiagnosis:
    """Numbers of one graph and its tokens.

    Attributes:
        n: nodes.
        components: parts that no edge joins.
        lossless: whether the adjacency matrix comes back from the tokens.
        norm_squared: |X|_2^2 of the tokens X, with which the attention of theorem 5 grows.
        gap: second smallest eigenvalue of L = D - A; 0 for a disconnected graph.
        smallest_gap: between two different eigenvalues of L; 1 over it says how ill-conditioned eigenvectors are.
        multiplicities: of the eigenvalues of L, in increasing order.
        largest_degree: d_max.
        connectivity_depth: ceil(log2 n), the order of the depth that adjacency tokens need for connectivity; 1 for
            spectral ones.
        warnings: of the tokens.
        source: the paper.
    """

    n: int
    components: int
    lossless: bool
    norm_squared: float
    gap: float
    smallest_gap: float
    multiplicities: tuple[int, ...]
    largest_degree: int
    connectivity_depth: int
    warnings: tuple[str, ...]
    source: tuple[Paper, ...] = field(default=SOURCE, repr=False)

    def walk_depth(self, k: int) -> int:
        """ceil(log2 k): the order of the depth that adjacency tokens need for closed walks of k steps; walk tokens
        with t >= k need one layer.
        """
        return math.ceil(math.log2(max(k, 2)))

    def lipschitz(self, depth: int = 1) -> float:
        """d_max^(1 / depth): what each layer's Lip(MLP) |W_V| (1 + |W_QK| |X|_2^2) must reach, up to a constant for
        more layers than one, so that spectral tokens give the edges (theorem 5).
        """
        return self.largest_degree ** (1 / depth)


def diagnose_tokens(graph: Any, how: Tokenization | TokenKind | str = TokenKind.SPECTRAL) -> TokenDiagnosis:
    """Norms, gaps, multiplicities and hints at the depth for one graph.

    Args:
        graph: as `as_graph` takes it.
        how: the kind by its name, or all of a `Tokenization`.

    Raises:
        ValueError: a directed graph, or as `tokenize`.

    >>> found = diagnose_tokens(torch.ones(8, 8) - torch.eye(8))
    >>> found.multiplicities, round(found.gap), found.lipschitz(), found.connectivity_depth
    ((1, 7), 8, 7.0, 1)
    """
    one, chosen = as_graph(graph), as_tokenization(how)
    if one.directed:
        raise ValueError("a directed graph given; its Laplacian is not symmetric. Add each edge's way back.")
    tokens = tokenize(one, chosen)
    values = torch.linalg.eigvalsh(laplacian_of(one, "combinatorial"))
    spaces = eigenspaces(values)
    levels = values[[first for first, _ in spaces]]
    return TokenDiagnosis(
        n=one.n,
        components=one.components,
        lossless=is_lossless(one, chosen),
        norm_squared=float(torch.linalg.matrix_norm(tokens.of(0), 2)) ** 2,
        gap=float(values[1].clamp(min=0)) if one.n > 1 and one.components == 1 else 0.0,
        smallest_gap=float(levels.diff().min()) if len(levels) > 1 else math.inf,
        multiplicities=tuple(last - first for first, last in spaces),
        largest_degree=int(one.degrees.max()),
        connectivity_depth=1 if chosen.spectral else math.ceil(math.log2(max(one.n, 2))),
        warnings=tokens.warnings,
    )
