"""Agreement with PyTorch Geometric's transforms, and where they differ."""

import warnings

import networkx as nx
import pytest
import torch

import vestige as vg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own notes on what torch will change
    pytest.importorskip("torch_geometric", reason="PyTorch Geometric is in the extra graphs")
    from torch_geometric.data import Data
    from torch_geometric.transforms import AddLaplacianEigenvectorPE, AddRandomWalkPE

G = vg.graphs


def sets():
    graphs = [
        nx.gnp_random_graph(12, 0.4, seed=1),
        nx.gnp_random_graph(30, 0.2, seed=2),
        nx.random_regular_graph(3, 20, 0),
    ]
    for graph in map(G.as_graph, graphs):
        assert graph.components == 1
        yield graph, Data(edge_index=graph.edges, num_nodes=graph.n)


def test_walks_agree():
    for graph, data in sets():
        theirs = AddRandomWalkPE(7)(data).random_walk_pe
        ours = G.tokenize(graph, G.Tokenization(kind="random_walk", t=7)).of(0)
        torch.testing.assert_close(ours, theirs.double(), rtol=0, atol=1e-6)


def test_eigenvectors_span_the_same_spaces():
    for graph, data in sets():
        k = graph.n - 1  # all that it gives; whole eigenspaces, whatever the basis
        theirs = AddLaplacianEigenvectorPE(k, is_undirected=True)(data).laplacian_eigenvector_pe.double()
        how = G.Tokenization(k=k, laplacian="symmetric", trivial=False)
        tokens = G.tokenize(graph, how)
        ours, values = tokens.of(0)[:, :k], tokens.of(0)[0, k:]
        for first, last in vg.graphs.tokens.spectrum.eigenspaces(values):
            a, b = ours[:, first:last], theirs[:, first:last]
            torch.testing.assert_close(a @ a.T, b @ b.T, rtol=0, atol=1e-5)


def test_a_graph_converts_by_itself():
    graph, data = next(sets())
    assert torch.equal(G.as_graph(data).edges, graph.edges)


def test_where_they_differ():
    """It fails for more eigenvectors than there are; ours are zeros there."""
    graph, data = next(sets())
    with pytest.raises(Exception):  # noqa: B017
        AddLaplacianEigenvectorPE(graph.n, is_undirected=True)(data)
    how = G.Tokenization(k=graph.n, laplacian="symmetric", trivial=False, eigenvalues=False)
    assert bool((G.tokenize(graph, how).of(0)[:, -1] == 0).all())
