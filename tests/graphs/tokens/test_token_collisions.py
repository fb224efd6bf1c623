"""Pairs of graphs with equal tokens, checked by other means."""

import networkx as nx
import pytest
import torch

import vestige as vg

G = vg.graphs


def other(graph):
    found = nx.empty_graph(graph.n)
    found.add_edges_from(graph.edges.T.tolist())
    return found


def test_the_planarity_pair():
    pair = G.witness("planarity")
    found = G.collides(pair.first, pair.second, pair.how)
    assert found.same and found.exact
    assert [nx.check_planarity(other(g))[0] for g in (pair.first, pair.second)] == list(pair.values) == [True, False]
    assert torch.equal(pair.first.degrees, pair.second.degrees) and pair.first.edges.shape[1] == 2 * 24
    walks = G.tokenize([pair.first, pair.second], G.Tokenization(kind="random_walk", t=60)).values
    torch.testing.assert_close(walks[0], walks[1], rtol=0, atol=1e-15)
    torch.testing.assert_close(walks[0, 0, [1, 3, 5, 7]], torch.tensor([1 / 4, 1 / 6, 5 / 36, 7 / 54]))
    torch.testing.assert_close(walks[0, 4, [1, 3, 5, 7]], torch.tensor([1 / 3, 2 / 9, 5 / 27, 14 / 81]))
    assert not G.collides(pair.first, pair.second, "spectral").same
    for graph in (pair.first, pair.second):
        assert (G.reconstruct_adjacency(G.tokenize(graph)) - graph.adjacency()).abs().max() <= 1e-12
    # message passing does not tell them apart either
    one, two = (G.d_patterns(g, 6).ids.sort().values for g in (pair.first, pair.second))
    assert torch.equal(one, two)


def test_dodecahedron_and_desargues_graph_part_at_five_steps():
    pair = G.witness("return_time")
    assert nx.is_isomorphic(other(pair.first), nx.dodecahedral_graph())
    assert nx.is_isomorphic(other(pair.second), nx.desargues_graph())
    assert G.collides(pair.first, pair.second, pair.how).same
    found = G.collides(pair.first, pair.second, G.Tokenization(kind="random_walk", t=9))
    assert not found.same and found.step == 5 and found.exact and abs(found.difference - 2 / 81) < 1e-15


@pytest.mark.parametrize("parts", range(2, 11))
@pytest.mark.parametrize("name", ["smallest_eigenvectors", "largest_eigenvectors"])
def test_triangles_that_few_eigenvectors_do_not_show(name, parts):
    pair = G.witness(name, parts=parts)
    assert G.collides(pair.first, pair.second, pair.how).same
    assert not G.collides(pair.first, pair.second, "spectral").same
    assert pair.values == tuple(sum(nx.triangles(other(g)).values()) // 3 for g in (pair.first, pair.second))
    if name == "smallest_eigenvectors":
        assert pair.values == (parts, 0)
    elif parts == 4:
        assert pair.values == (108, 144)


def test_no_other_small_connected_pair_collides():
    """Graphs of up to six nodes: walks tell all of them apart."""
    seen = {}
    for graph in nx.graph_atlas_g()[1:209]:
        if nx.is_connected(graph):
            walks = G.tokenize(graph, G.Tokenization(kind="random_walk", t=14)).of(0)
            key = (len(walks), tuple(sorted(tuple(round(p, 9) for p in row) for row in walks.tolist())))
            assert key not in seen
            seen[key] = graph


def test_collisions_of_other_tokens_and_sizes():
    path, star = nx.path_graph(4), nx.star_graph(3)
    assert G.collides(path, path, "adjacency").same and not G.collides(path, star, "adjacency").same
    assert not G.collides(path, nx.path_graph(5)).same
    assert not G.collides(path, star, "combined").same
    long = [nx.cycle_graph(50), nx.cycle_graph(50)]
    assert G.collides(*long).same and not G.collides(long[0], nx.path_graph(50)).same


def test_an_unknown_witness_is_refused():
    for arguments, message in ((("moon",), "'planarity'"), (("return_time",), "at least 2")):
        with pytest.raises(ValueError, match=message):
            G.witness(*arguments, parts=1)
