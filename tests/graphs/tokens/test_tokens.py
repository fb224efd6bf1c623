"""Tokens: closed forms, a slow reference, permutations, and the way back to the adjacency matrix."""

import networkx as nx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import vestige as vg
from vestige.graphs.tokens import walks
from vestige.graphs.tokens.spectrum import eigenpairs
from vestige.graphs.tokens.walks import _alone, exact_return_probabilities, return_probabilities

G = vg.graphs


def random_graph(n, p=0.4, seed=0):
    return G.as_graph(nx.gnp_random_graph(n, p, seed=seed))


def permuted(graph, order):
    return G.as_graph(graph.adjacency()[order][:, order])


def slow_walks(graph, t):
    a = graph.adjacency()
    p, power, found = a / a.sum(1, keepdim=True).clamp(min=1), torch.eye(graph.n), []
    for _ in range(t):
        power = power @ p
        found.append(power.diag())
    return torch.stack(found, 1)


@given(n=st.integers(1, 12), t=st.integers(1, 9), seed=st.integers(0, 99))
def test_walks_are_diagonals_of_powers(n, t, seed):
    graph = random_graph(n, seed=seed)
    torch.testing.assert_close(return_probabilities([graph], t)[0], slow_walks(graph, t))
    torch.testing.assert_close(_alone(graph, t), slow_walks(graph, t))
    exact = torch.tensor([[float(p) for p in row] for row in exact_return_probabilities(graph, t)])
    torch.testing.assert_close(exact.reshape(n, t), slow_walks(graph, t))


def test_walks_of_many_graphs_are_those_of_each():
    graphs = [random_graph(n, seed=n) for n in (3, 30, 7, 7, 12, 1, 500)]
    for graph, found in zip(graphs, return_probabilities(graphs, 6), strict=True):
        torch.testing.assert_close(found, slow_walks(graph, 6))


@pytest.mark.parametrize(("n", "p"), [(60, 0.04), (150, 0.01), (90, 0.5)])
def test_walks_through_sparse_powers_that_fill_are_the_same(monkeypatch, n, p):
    graph = random_graph(n, p=p)
    dense = return_probabilities([graph], 7)[0]
    torch.testing.assert_close(dense, slow_walks(graph, 7))
    monkeypatch.setattr(walks, "DENSE", 0)
    torch.testing.assert_close(return_probabilities([graph], 7)[0], dense)


def test_a_complete_graph_has_known_tokens():
    tokens = G.tokenize(nx.complete_graph(5)).of(0)
    torch.testing.assert_close(tokens[:, 5:], torch.tensor([[0.0, 5, 5, 5, 5]]).expand(5, 5))
    torch.testing.assert_close(tokens[:, 0], torch.full((5,), 5**-0.5))
    invariant = G.tokenize(nx.complete_graph(5), G.Tokenization(sign="invariant", eigenvalues=False)).of(0)
    torch.testing.assert_close(invariant, torch.full((5, 5), 1 / 5))  # (4/5) / 4 of the eigenvalue 5


def test_the_largest_entry_of_an_eigenvector_is_positive():
    vectors = G.tokenize(random_graph(12), G.Tokenization(eigenvalues=False)).of(0)
    assert bool((vectors.max(0).values >= -vectors.min(0).values).all())


@given(n=st.integers(1, 14), seed=st.integers(0, 99), kind=st.sampled_from(["combinatorial", "symmetric"]))
def test_all_eigenpairs_give_the_graph_back(n, seed, kind):
    graph, how = random_graph(n, seed=seed), G.Tokenization(laplacian=kind)
    found = G.reconstruct_adjacency(G.tokenize([random_graph(16), graph], how), 1)
    assert (found - graph.adjacency()).abs().max() <= 1e-12
    assert G.is_lossless(graph, how) and G.is_lossless(graph, "adjacency") and G.is_lossless(graph, "combined")


def test_what_loses_something_says_so():
    graph = random_graph(9)
    for how in (
        "random_walk",
        G.Tokenization(k=4),
        G.Tokenization(eigenvalues=False),
        G.Tokenization(trivial=False),
        G.Tokenization(sign="invariant"),
        G.Tokenization(kind="adjacency", width=3),
    ):
        assert not G.is_lossless(graph, how)
        with pytest.raises(ValueError, match="does not follow"):
            G.reconstruct_adjacency(G.tokenize(graph, how))


def test_zeros_are_no_tokens():
    tokens = G.tokenize(random_graph(9))
    empty = G.Tokens(torch.zeros_like(tokens.values), tokens.mask, tokens.how, tokens.size)
    assert not torch.equal(G.reconstruct_adjacency(empty).round(), random_graph(9).adjacency())


@given(n=st.integers(3, 10), seed=st.integers(0, 99))
def test_permutations_go_through_walks_and_invariant_spectra_and_not_through_rows(n, seed):
    graph = random_graph(n, seed=seed)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    moved = permuted(graph, order)
    for how in ("random_walk", G.Tokenization(sign="invariant")):
        torch.testing.assert_close(G.tokenize(moved, how).of(0), G.tokenize(graph, how).of(0)[order])
    one, other = (eigenpairs([g], G.Tokenization())[0][1] for g in (graph, moved))
    for first, last in vg.graphs.tokens.spectrum.eigenspaces(eigenpairs([graph], G.Tokenization())[0][0]):
        projection, same = (u[:, first:last] @ u[:, first:last].T for u in (one, other))
        torch.testing.assert_close(same, projection[order][:, order])
    rows = G.tokenize(graph, "adjacency").of(0)
    assert torch.equal(G.tokenize(moved, "adjacency").of(0), rows[order][:, order])


def test_rows_depend_on_the_order_of_nodes():
    path, order = G.as_graph(nx.path_graph(3)), torch.tensor([1, 0, 2])
    rows = G.tokenize(path, "adjacency").of(0)
    assert not torch.equal(G.tokenize(permuted(path, order), "adjacency").of(0), rows[order])


def test_a_few_eigenpairs_of_a_large_graph_are_those_of_all():
    graph = random_graph(400, p=0.03)
    assert graph.components == 1
    for kind in ("combinatorial", "symmetric"):
        for largest in (False, True):
            few = eigenpairs([graph], G.Tokenization(k=5, laplacian=kind, largest=largest))[0]
            values, vectors = eigenpairs([graph], G.Tokenization(laplacian=kind))[0]
            part = slice(-5, None) if largest else slice(5)
            torch.testing.assert_close(few[0], values[part], rtol=1e-6, atol=1e-6)
            overlap = (few[1] * vectors[:, part]).sum(0).abs()
            torch.testing.assert_close(overlap, torch.ones(5), rtol=0, atol=1e-6)


def test_widths_are_those_of_the_paper():
    graphs, n = [nx.path_graph(5), nx.path_graph(9)], 9
    widths = {kind: G.tokenize(graphs, kind).width for kind in ("spectral", "random_walk", "adjacency", "combined")}
    assert widths == {"spectral": 2 * n, "random_walk": n, "adjacency": n, "combined": 3 * n - 1}
    short = G.Tokenization(kind="combined", k=4, t=3, width=2)
    assert G.tokenize(graphs, short).width == 9
    assert G.tokenize(graphs, "adjacency", size=12).width == 12


def test_more_eigenvectors_than_nodes_are_zeros():
    how = G.Tokenization(k=6, laplacian="symmetric", trivial=False, eigenvalues=False)
    tokens = G.tokenize(nx.path_graph(4), how).of(0)
    assert tokens.shape == (4, 6) and bool((tokens[:, 3:] == 0).all()) and bool((tokens[:, :3] != 0).any(0).all())


def test_random_signs_and_projections_come_from_the_generator():
    graph = random_graph(12)
    for how in (G.Tokenization(sign="flip"), G.Tokenization(kind="adjacency", width=4)):
        one, same, other = (
            G.tokenize(graph, how, generator=torch.Generator().manual_seed(s)).values for s in (1, 1, 2)
        )
        assert torch.equal(one, same) and not torch.equal(one, other)
    flipped = G.tokenize(graph, G.Tokenization(sign="flip"))
    torch.testing.assert_close(G.reconstruct_adjacency(flipped).round().abs(), graph.adjacency())


def test_what_a_graph_means_for_its_tokens_is_said():
    two = nx.disjoint_union(nx.path_graph(3), nx.empty_graph(1))
    said = " ".join(G.tokenize([two, nx.path_graph(4)]).warnings)
    assert "1 of 2 graphs have isolated nodes" in said and "1 of 2 graphs are disconnected" in said
    assert "repeated eigenvalues" in G.tokenize(nx.cycle_graph(6)).warnings[0]
    assert not G.tokenize(nx.path_graph(4)).warnings
    assert not G.tokenize(nx.cycle_graph(6), G.Tokenization(sign="invariant")).warnings
    assert not G.tokenize(two, "adjacency").warnings
    assert bool((G.tokenize(two, "random_walk").of(0)[3] == 0).all())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: G.tokenize(nx.DiGraph([(0, 1)])), "graph 0 is directed"),
        (lambda: G.tokenize(nx.DiGraph([(0, 1)]), "random_walk"), "is directed"),
        (lambda: G.tokenize(nx.path_graph(9), size=8), "up to 8"),
        (lambda: G.tokenize(G.Graph(30_000, torch.zeros(2, 0).long()), "adjacency"), "6.7 GiB, and at most 4"),
        (lambda: G.tokenize(nx.path_graph(9), "laplace"), "'spectral'"),
        (lambda: G.Tokenization(k=0), "at least 1"),
        (lambda: G.diagnose_tokens(nx.DiGraph([(0, 1)])), "directed"),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_directed_graphs_have_rows():
    assert G.tokenize(nx.DiGraph([(0, 1)]), "adjacency").of(0).tolist() == [[0.0, 1.0], [0.0, 0.0]]


def test_diagnosis_has_the_norm_of_a_known_random_graph():
    found = G.diagnose_tokens(nx.gnp_random_graph(64, 0.5, seed=0))
    assert abs(found.norm_squared / 4.2447e6 - 1) < 1e-3
    assert G.tokenize(nx.gnp_random_graph(64, 0.5, seed=0)).of(0)[0, -1].item() == pytest.approx(42.83, abs=5e-3)
    assert found.lossless and found.components == 1 and found.lipschitz(2) == found.largest_degree**0.5


def test_diagnosis_of_a_cycle():
    found = G.diagnose_tokens(nx.cycle_graph(8), "adjacency")
    assert found.multiplicities == (1, 2, 2, 2, 1) and abs(found.gap - (2 - 2**0.5)) < 1e-12
    assert found.connectivity_depth == 3 and found.walk_depth(8) == 3 and found.largest_degree == 2
    assert G.diagnose_tokens(nx.empty_graph(3)).gap == 0
    assert abs(G.diagnose_tokens(nx.star_graph(3)).smallest_gap - 1) < 1e-12  # of 0, 1, 1, 4
