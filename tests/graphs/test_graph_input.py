"""Graphs from every format, and what is refused at the door."""

import networkx as nx
import pytest
import torch

import vestige as vg
from vestige.graphs.graph import as_graphs

G = vg.graphs


def test_every_format_gives_the_same_graph():
    other = nx.karate_club_graph()
    matrix = torch.tensor(nx.to_numpy_array(other, weight=None))
    both = torch.tensor([*other.edges]).T

    class Data:  # as PyTorch Geometric has it
        edge_index, num_nodes, x = torch.cat([both, both.flip(0)], 1), 34, torch.ones(34, 2)

    graphs = [G.as_graph(thing) for thing in (other, matrix, matrix.numpy(), Data, matrix.bool())]
    assert all(torch.equal(g.edges, graphs[0].edges) and g.n == 34 for g in graphs)
    assert graphs[3].x.shape == (34, 2)
    assert torch.equal(graphs[0].adjacency(), matrix) and torch.equal(graphs[0].degrees, matrix.sum(1).long())
    assert [len(as_graphs(thing)) for thing in (other, matrix, Data, [other, matrix], (g for g in graphs))] == [
        1,
        1,
        1,
        2,
        5,
    ]


def test_parts_and_directions():
    lonely = G.Graph(3, torch.tensor([[0, 1], [1, 0]]))
    assert lonely.components == 2 and not lonely.directed
    assert G.as_graph(nx.DiGraph([(0, 1), (1, 2)])).directed
    assert G.Graph(2, torch.zeros(2, 0, dtype=torch.long)).components == 2


def test_edges_that_are_said_twice_count_once():
    assert G.Graph(2, torch.tensor([[0, 0, 1, 1], [1, 1, 0, 0]])).edges.tolist() == [[0, 1], [1, 0]]


def test_a_batch_is_its_graphs_side_by_side():
    graphs = [G.as_graph(nx.path_graph(n)) for n in (3, 1, 4)]
    batch = G.join(graphs)
    whole = torch.zeros(8, 8)
    whole[batch.edges[0], batch.edges[1]] = 1
    assert torch.equal(whole, torch.block_diag(*(g.adjacency() for g in graphs)))
    assert batch.owner.tolist() == [0, 0, 0, 1, 2, 2, 2, 2]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: G.as_graph(nx.Graph()), "at least one node"),
        (lambda: G.as_graph(torch.eye(3)), "from a node to itself"),
        (lambda: G.as_graph(torch.ones(2, 3)), "square"),
        (lambda: G.as_graph(torch.full((2, 2), 0.5)), "Weights of edges"),
        (lambda: G.as_graph("karate"), "networkx"),
        (lambda: G.Graph(2, torch.tensor([[0], [2]])), "outside 0..1"),
        (lambda: G.Graph(2, torch.zeros(2, 0, dtype=torch.long), torch.zeros(3, 1)), "features of 3 nodes"),
        (lambda: as_graphs([]), "no graph"),
        (
            lambda: G.join([G.Graph(1, torch.zeros(2, 0, dtype=torch.long), torch.zeros(1, k)) for k in (1, 2)]),
            "as many",
        ),
    ],
)
def test_what_is_no_graph_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
