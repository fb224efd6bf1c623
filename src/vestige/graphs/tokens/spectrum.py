"""Eigenpairs of Laplacians: of many small graphs at once, and a few of a large one."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from scipy.linalg import eigh
from scipy.sparse import csr_matrix, diags
from scipy.sparse.linalg import ArpackError, eigsh
from torch import Tensor

from vestige.graphs.graph import Graph
from vestige.graphs.tokens.kinds import Laplacian, Sign, Tokenization

ITERATIVE = 300  # nodes from which a few eigenpairs are found by Lanczos
TOLERANCE = 1e-6  # relative, of an eigenvalue; that of an eigenvector was 1e-9 and less at 1,000 and 10,000 nodes
EQUAL = 1e-8  # relative gap below which two eigenvalues count as one
Pairs = tuple[Float[Tensor, " _"], Float[Tensor, "_ _"]]  # eigenvalues (k,), eigenvectors (n, k)


def laplacian_of(graph: Graph, kind: Laplacian | str) -> Float[Tensor, "n n"]:
    """D - A, or I - D^-1/2 A D^-1/2 with 0 on the diagonal at isolated nodes."""
    a, degree = graph.adjacency(), graph.degrees.double()
    if kind == Laplacian.COMBINATORIAL:
        return degree.diag() - a
    root = degree.clamp(min=1).rsqrt()
    return (degree > 0).double().diag() - root[:, None] * a * root


def eigenpairs(graphs: Sequence[Graph], how: Tokenization) -> list[Pairs]:
    """The eigenvalues that the tokens hold, in increasing order, and their eigenvectors as columns."""
    found: dict[int, Pairs] = {}
    sizes: dict[int, list[int]] = {}
    for i, graph in enumerate(graphs):
        if how.k is not None and how.k + 1 < graph.n // 4 and graph.n >= ITERATIVE:
            found[i] = _few(graph, how, how.k + (not how.trivial))
        else:
            sizes.setdefault(graph.n, []).append(i)
    for places in sizes.values():
        values, vectors = torch.linalg.eigh(torch.stack([laplacian_of(graphs[i], how.laplacian) for i in places]))
        found |= {i: (values[j], vectors[j]) for j, i in enumerate(places)}
    return [_chosen(found[i], how) for i in range(len(graphs))]


def _few(graph: Graph, how: Tokenization, k: int) -> Pairs:
    """Lanczos for one end of the spectrum; what it does not reach in time is computed in full."""
    top, flipped = _flipped(graph, how.laplacian)
    try:
        values, vectors = eigsh(
            -flipped if how.largest else flipped,
            k=k,
            which="LA",
            v0=np.random.default_rng(0).standard_normal(graph.n),
            tol=TOLERANCE,  # pyright: ignore[reportArgumentType]
            ncv=max(20, 3 * k),
        )
        values = top + values if how.largest else top - values
    except ArpackError:
        ends = (graph.n - k, graph.n - 1) if how.largest else (0, k - 1)
        values, vectors = eigh(laplacian_of(graph, how.laplacian).numpy(), subset_by_index=ends)
    order = np.argsort(values)
    return torch.from_numpy(values[order].copy()), torch.from_numpy(vectors[:, order].copy())


def _flipped(graph: Graph, kind: Laplacian | str) -> tuple[float, csr_matrix]:
    """top, and top I - L, whose largest eigenvalues, where Lanczos looks first, are the smallest of L."""
    degree = graph.degrees.numpy().astype(float)
    if kind == Laplacian.COMBINATORIAL:
        top = 2 * max(1.0, float(degree.max()))
        return top, csr_matrix(graph.sparse + diags(top - degree))
    if degree.all():
        return 1.0, graph.normalized
    return 1.0, csr_matrix(graph.normalized + diags((degree == 0).astype(float)))


def _chosen(pairs: Pairs, how: Tokenization) -> Pairs:
    values, vectors = pairs
    if how.sign == Sign.INVARIANT:
        vectors = _without_basis(values, vectors)
    else:
        rows = vectors.abs().argmax(0)
        vectors = vectors * torch.where(vectors.gather(0, rows[None]) < 0, -1.0, 1.0)
    if not how.trivial:
        values, vectors = values[1:], vectors[:, 1:]
    if how.k is None:
        return values, vectors
    part = slice(max(0, len(values) - how.k), None) if how.largest else slice(how.k)
    return values[part], vectors[:, part]


def eigenspaces(values: Float[Tensor, " k"]) -> list[tuple[int, int]]:
    """First and last place, the latter excluded, of equal eigenvalues.

    >>> eigenspaces(torch.tensor([0.0, 1.0, 1.0, 3.0]))
    [(0, 1), (1, 3), (3, 4)]
    """
    scale = max(1.0, float(values.abs().max()))
    breaks = (values.diff() > EQUAL * scale).nonzero().flatten().add(1).tolist()
    return list(zip([0, *breaks], [*breaks, len(values)], strict=True))


def _without_basis(values: Tensor, vectors: Tensor) -> Tensor:
    found = torch.empty_like(vectors)
    for first, last in eigenspaces(values):
        found[:, first:last] = vectors[:, first:last].square().mean(1, keepdim=True)
    return found
