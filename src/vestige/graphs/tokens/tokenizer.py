"""Graphs to tokens and, where nothing was lost, back to the adjacency matrix (arXiv 2605.22471)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vestige.core.cite import Paper, paper
from vestige.core.rng import spawn
from vestige.graphs.graph import Graph, as_graph, as_graphs
from vestige.graphs.tokens.kinds import Sign, Tokenization, TokenKind, as_tokenization
from vestige.graphs.tokens.spectrum import eigenpairs, eigenspaces
from vestige.graphs.tokens.walks import return_probabilities

SOURCE = (paper("2605.22471"),)
REPEATED = "graphs have repeated eigenvalues"
MOST = 2**29  # numbers of all tokens together: 4 GiB


@dataclass(frozen=True, eq=False)
class Tokens:
    """Tokens of several graphs, padded with zeros to the size of the largest.

    Attributes:
        values: one row for each node.
        mask: which rows are nodes.
        how: they were made.
        size: nodes that the columns have room for.
        warnings: what the graphs mean for the tokens.
        source: the paper.
    """

    values: Float[Tensor, "graphs nodes width"]
    mask: Bool[Tensor, "graphs nodes"]
    how: Tokenization
    size: int
    warnings: tuple[str, ...] = ()
    source: tuple[Paper, ...] = field(default=SOURCE, repr=False)

    @property
    def width(self) -> int:
        """Numbers in a token."""
        return self.values.shape[2]

    def of(self, i: int) -> Float[Tensor, "n width"]:
        """The tokens of one graph, without padding."""
        return self.values[i][self.mask[i]]


def tokenize(
    graphs: Any,
    how: Tokenization | TokenKind | str = TokenKind.SPECTRAL,
    *,
    size: int | None = None,
    generator: torch.Generator | None = None,
) -> Tokens:
    """Tokens of one graph or of a list of them.

    An isolated node never returns: its walk is 0. Padded eigenvectors and eigenvalues are 0. Node order is visible in
    adjacency tokens: the token of a permuted graph is not the permuted token.

    Args:
        graphs: one or a list; each a `Graph`, an adjacency matrix, a networkx graph, or an object with `edge_index`
            and `num_nodes`.
        how: the kind by its name, or all of a `Tokenization`.
        size: nodes that the columns have room for; None for those of the largest graph.
        generator: of random signs and of R; None for seed 0. Graphs that are compared need the same seed.

    Raises:
        ValueError: a graph larger than `size`, more than 4 GiB of tokens, or a directed graph for tokens that need an
            undirected one.

    >>> path = torch.tensor([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    >>> tokenize(path, Tokenization(kind="random_walk", t=2)).of(0).round(decimals=9).tolist()
    [[0.0, 0.5], [0.0, 1.0], [0.0, 0.5]]
    """
    chosen, given = as_tokenization(how), as_graphs(graphs)
    most = max(g.n for g in given)
    size = most if size is None else size
    if most > size:
        raise ValueError(f"a graph of {most} nodes given for tokens of graphs with up to {size}; give a larger size.")
    _check_directions(given, chosen)
    blocks = chosen.blocks(size)
    shape = (len(given), most, max(b.stop for b in blocks.values()))
    if math.prod(shape) > MOST:
        raise ValueError(
            f"{shape[0]} graphs of up to {most} nodes given; their tokens of {shape[2]} numbers would take "
            f"{math.prod(shape) / 2**27:.1f} GiB, and at most {MOST / 2**27:.0f} are taken at once. Take fewer graphs "
            "at a time, or a smaller k, t or width."
        )
    values = torch.zeros(shape, dtype=torch.float64)
    if chosen.spectral:
        _write_spectrum(values, given, chosen, blocks, generator)
    if chosen.walks:
        part = values[:, :, blocks["random_walk"]]
        for i, walks in enumerate(return_probabilities(given, part.shape[2])):
            part[i, : len(walks)] = walks
    if chosen.rows:
        _write_rows(values[:, :, blocks["adjacency"]], given, chosen, size, generator)
    mask = torch.arange(most) < torch.tensor([g.n for g in given])[:, None]
    return Tokens(values, mask, chosen, size, _notes(given, values, chosen, blocks))


def _check_directions(graphs: Sequence[Graph], how: Tokenization) -> None:
    directed = next((i for i, g in enumerate(graphs) if g.directed), None) if how.spectral or how.walks else None
    if directed is not None:
        raise ValueError(
            f"graph {directed} is directed; {how.kind} tokens are those of undirected graphs. Add each edge's way "
            "back, which forgets the directions, or take adjacency tokens."
        )


def _write_spectrum(
    values: Tensor,
    graphs: Sequence[Graph],
    how: Tokenization,
    blocks: dict[str, slice],
    generator: torch.Generator | None,
) -> None:
    if "eigenvectors" not in blocks:  # graphs of one node without the trivial one
        return
    draw = spawn(generator, "signs")
    for i, (found, vectors) in enumerate(eigenpairs(graphs, how)):
        if how.sign == Sign.FLIP:
            vectors = vectors * (2 * torch.randint(2, (vectors.shape[1],), generator=draw) - 1)
        values[i, : graphs[i].n, blocks["eigenvectors"]][:, : vectors.shape[1]] = vectors
        if how.eigenvalues:
            values[i, : graphs[i].n, blocks["eigenvalues"]][:, : len(found)] = found


def _write_rows(
    part: Tensor, graphs: Sequence[Graph], how: Tokenization, size: int, generator: torch.Generator | None
) -> None:
    shared = None
    if how.width is not None:
        shared = torch.randn(size, how.width, generator=spawn(generator, "projection"), dtype=torch.float64)
    for i, graph in enumerate(graphs):
        if shared is None:
            part[i, graph.edges[0], graph.edges[1]] = 1
        else:
            part[i, : graph.n] = torch.from_numpy(graph.sparse @ shared[: graph.n].numpy())


def _notes(graphs: Sequence[Graph], values: Tensor, how: Tokenization, blocks: dict[str, slice]) -> tuple[str, ...]:
    notes, count = [], len(graphs)
    alone = sum(bool((g.degrees == 0).any()) for g in graphs)
    if alone and (how.walks or how.spectral):
        notes.append(f"{alone} of {count} graphs have isolated nodes: their walk is 0, their Laplacian row is 0.")
    if how.spectral and how.sign != Sign.INVARIANT:
        split = sum(g.components > 1 for g in graphs)
        if split:
            notes.append(f"{split} of {count} graphs are disconnected: the basis of eigenvalue 0 is arbitrary.")
        repeated = 0
        if "eigenvalues" in blocks and split < count:
            rows = [values[i, 0, blocks["eigenvalues"]][: g.n] for i, g in enumerate(graphs) if g.components == 1]
            repeated = sum(len(eigenspaces(row)) < len(row) for row in rows)
        if repeated:
            notes.append(
                f"{repeated} of {count} {REPEATED}: their tokens depend on an arbitrary basis, "
                "and only U U^T of each eigenspace is a property of the graph. In Python, sign='invariant' does "
                "not depend on it."
            )
    return tuple(notes)


def reconstruct_adjacency(tokens: Tokens, i: int = 0) -> Float[Tensor, "n n"]:
    """The adjacency matrix of one graph from its tokens alone, not rounded.

    A_uv = -sum_i lambda_i u_i(u) u_i(v) for u != v, from all eigenpairs of L = D - A; rows of A as they are. Of the
    symmetric Laplacian the same sum has D^-1/2 A D^-1/2, whose entries other than 0 are the edges.

    Args:
        tokens: of `tokenize`.
        i: which graph.

    Raises:
        ValueError: tokens from which it does not follow: walks, fewer eigenpairs than nodes, no eigenvalues,
            invariant ones, projected rows.

    >>> path = torch.tensor([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    >>> reconstruct_adjacency(tokenize(path)).round().abs().tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
    """
    how, found = tokens.how, tokens.of(i)
    blocks, n = how.blocks(tokens.size), len(found)
    if how.rows and how.width is None:
        return found[:, blocks["adjacency"]][:, :n]
    whole = how.spectral and how.eigenvalues and how.trivial and (how.k is None or how.k >= n)
    if not whole or how.sign == Sign.INVARIANT:
        raise ValueError(
            f"{how.kind} tokens without all eigenpairs or whole rows given: several graphs have them, so that the "
            "adjacency matrix does not follow. Take spectral tokens with k=None, or adjacency tokens with width=None."
        )
    vectors, values = found[:, blocks["eigenvectors"]][:, :n], found[0, blocks["eigenvalues"]][:n]
    off = -(vectors * values) @ vectors.T
    off.fill_diagonal_(0)
    if how.laplacian == "symmetric":
        return (off.abs() > 1e-9).to(off)
    return off


def is_lossless(graph: Any, how: Tokenization | TokenKind | str = TokenKind.SPECTRAL) -> bool:
    """Whether this graph's adjacency matrix comes back from its tokens, tried out.

    Args:
        graph: as `as_graph` takes it.
        how: the kind by its name, or all of a `Tokenization`.

    Raises:
        ValueError: as `tokenize`.

    >>> triangle = torch.ones(3, 3) - torch.eye(3)
    >>> is_lossless(triangle), is_lossless(triangle, "random_walk")
    (True, False)
    """
    one = as_graph(graph)
    tokens = tokenize(one, how)
    try:
        return torch.equal(reconstruct_adjacency(tokens).round(), one.adjacency())
    except ValueError:
        return False
