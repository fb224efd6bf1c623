"""The shift between sizes: reading and splitting sets, the report, and its verdict before training."""

import gzip

import networkx as nx
import pytest
import torch

import vestige as vg
from vestige.graphs.patterns.bad import _numbers
from vestige.graphs.patterns.shift import DepthShift

G = vg.graphs
EDGE = torch.tensor([[0, 1], [1, 0]])


def random_graphs(n, p, count, seed=0):
    return [nx.gnp_random_graph(n, p, seed=seed + i) for i in range(count)]


def test_a_set_is_read(tmp_path):
    text = "2\n3 7\n4 1 1\n5 2 0 2\n4 1 1\n1 3\n9 0\n"
    for path, content in (
        (tmp_path / "set.txt", text.encode()),
        (tmp_path / "set.txt.gz", gzip.compress(text.encode())),
    ):
        path.write_bytes(content)
        found = G.read_tu(path)
        graphs = found.graphs
        assert found.y.tolist() == [1, 0] and [g.n for g in graphs] == [3, 1] and not found.warnings
        assert graphs[0].x.tolist() == [[4], [5], [4]] and graphs[0].edges.tolist() == [[0, 1, 1, 2], [1, 0, 2, 1]]


def test_what_a_file_holds_and_a_graph_does_not_is_told(tmp_path):
    """Edges one way, a loop and a feature behind the neighbors, each in a graph of its own, and one as it should be."""
    path = tmp_path / "set.txt"
    path.write_text("4\n2 0\n0 1 1\n0 0\n2 0\n0 2 1 0\n0 1 0\n2 1\n0 1 1 .5\n0 1 0 .7\n2 1\n0 1 1\n0 1 0\n")
    found = G.read_tu(path)
    assert all(g.edges.tolist() == [[0, 1], [1, 0]] for g in found.graphs)
    assert [note.split("; ")[0] for note in found.warnings] == [
        "1 of 4 graphs have edges one way only",
        "1 of 4 graphs have edges from a node to itself",
        "1 of 4 graphs have numbers behind their neighbors",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "too early"),
        ("2\n1 0\n0 0\n", "too early"),
        ("1\n2 0\n0 1 5\n0 0\n", "outside 0..1"),
        ("one\n", "'one"),
        ("1\n2 0\n0.5 1 1\n0 1 0\n", "round continuous features into classes"),
        ("1\n2 0\n0 3 1\n0 1 0\n", "3 neighbors are said and 1 given"),
    ],
)
def test_what_is_no_set_is_refused(text, said, tmp_path):
    path = tmp_path / "set.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"no graph set.*{said}"):
        G.read_tu(path)
    with pytest.raises(ValueError, match="not there"):
        G.read_tu(tmp_path / "other.txt")


def test_ties_at_a_threshold_are_told():
    graphs = [G.Graph(n, EDGE) for n in (2, 3, 3, 9)]
    split = G.size_split(graphs, small=0.5, large=0.25)
    assert split.small.tolist() == [0, 1] and split.large.tolist() == [3]
    assert "2 graphs have 3 nodes" in split.warnings[0]
    for options in ({"small": 0.9, "large": 0.2}, {"small": 0.0}, {"large": 0.1}):
        with pytest.raises(ValueError, match=r"given;|more are needed"):
            G.size_split(graphs, **options)


def test_the_same_law_is_no_shift_and_another_density_is():
    train = random_graphs(30, 0.1, 120)
    same = G.size_shift_report(train, random_graphs(30, 0.1, 60, seed=500), depths=[1])
    other = G.size_shift_report(train, random_graphs(90, 0.1, 20, seed=900), depths=[1])
    grown = G.size_shift_report(train, random_graphs(90, 0.1 / 3, 60, seed=900), depths=[1])
    assert (same.risk, grown.risk, other.risk) == ("low", "low", "high")
    assert other.depths[0].unseen_graphs > 0.5 and "does not determine" in other.verdict
    assert same.sizes == ((30, 30, 30), (30, 30, 30))


def test_two_samples_of_one_dense_law_say_nothing():
    """Nearly every pattern of depth 2 occurs once: the total variation is near 1, and so is that of two halves."""
    found = G.size_shift_report(random_graphs(30, 0.4, 20), random_graphs(30, 0.4, 20, seed=99), depths=[2])
    assert found.depths[0].tv > 0.9 and found.depths[0].baseline > 0.9
    assert found.risk == "undecided" and "random halves" in found.warnings[0]


def test_theorem_5_1_applies_where_every_test_graph_has_a_new_degree():
    found = G.size_shift_report([nx.path_graph(n) for n in (4, 5)], [nx.star_graph(k) for k in (3, 5)], depths=[1])
    assert found.theorem_applies == (1,) and found.degrees == (2, 5)


def test_graphs_with_a_new_pattern_are_counted_one_by_one():
    found = G.size_shift_report([nx.path_graph(n) for n in (4, 5)], [nx.star_graph(3), nx.path_graph(6)], depths=[1])
    row = found.depths[0]
    assert row.unseen_graphs == 0.5 and row.unseen_nodes == 0.1 and found.theorem_applies == ()


@pytest.mark.parametrize(
    ("tv", "baseline", "unseen_graphs", "risk"),
    [
        (0.48, 0.17, 0.0, "high"),
        (0.48, 0.19, 0.0, "some"),
        (0.48, 0.19, 0.5, "high"),
        (0.48, 0.39, 1.0, "low"),
        (1.0, 0.51, 1.0, "undecided"),
        (1.0, float("nan"), 1.0, "undecided"),
    ],
)
def test_the_verdict_is_on_what_sampling_alone_does_not_do(tv, baseline, unseen_graphs, risk):
    assert DepthShift(1, tv, baseline, 0.0, unseen_graphs).risk == risk


def test_labels_that_shift_with_size_are_told():
    train, test = random_graphs(12, 0.3, 10), random_graphs(20, 0.2, 10, seed=50)
    y, test_y = torch.arange(10) % 2, torch.tensor([1] * 9 + [0])
    found = G.size_shift_report(train, test, train_y=y, test_y=test_y, depths=[1])
    assert found.constant == 0.9 and found.class_rates == ((0.5, 0.5), (0.1, 0.9))
    assert any("constant answer is right on 90.0%" in note for note in found.warnings)
    alone = G.size_shift_report(train, test, train_y=y, test_y=y * 0 + 1, depths=[1])
    assert any("of one class" in note for note in alone.warnings)


def test_bad_input_is_refused():
    graphs = random_graphs(6, 0.5, 4)
    for call, message in (
        (lambda: G.size_shift_report(graphs[:1], graphs), "2 graphs"),
        (lambda: G.size_shift_report(graphs, []), "no graph"),
        (lambda: G.size_shift_report(graphs, graphs, depths=[]), "a depth"),
        (lambda: G.size_shift_report(graphs, graphs, train_y=torch.arange(4)), "for none"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_the_bad_network_is_perfect_in_training_and_wrong_beyond():
    train = random_graphs(12, 0.3, 20)
    found = G.bad_minimum(train, gain=1000.0)
    assert found.training_error <= 1e-9
    batch = G.join([G.as_graph(g) for g in train])
    edges = torch.tensor([float(g.number_of_edges()) for g in train])
    torch.testing.assert_close(found.bad(batch)[:, 0].detach(), edges)
    large = [nx.star_graph(k) for k in (20, 30)]
    most = int(found.numbers.max())
    wrong = found.bad(G.join([G.as_graph(g) for g in large]))[:, 0].detach() - torch.tensor([20.0, 30.0])
    torch.testing.assert_close(wrong, 1000 * torch.tensor([20.0 - most, 30.0 - most]))
    torch.testing.assert_close(found.excess(large), wrong)
    torch.testing.assert_close(G.predict_graphs(found.good, large)[:, 0], torch.tensor([20.0, 30.0]))


def test_a_gap_among_the_degrees_is_enough():
    train = [nx.star_graph(5), nx.path_graph(2)]  # degrees 1 and 5
    found = G.bad_minimum(train, target=[0, 1, 4, 9, 16, 25], gain=2.0)
    cycle = nx.cycle_graph(7)  # degree 2 is one away from 1
    assert abs(found.training_error) < 1e-12
    assert G.predict_graphs(found.good, cycle).item() == pytest.approx(28)
    assert G.predict_graphs(found.bad, cycle).item() == pytest.approx(28 + 14)
    for options in ({"gain": 0.0}, {"target": [1.0, 2.0]}, {"depth": 3}):
        with pytest.raises(ValueError, match="given"):
            G.bad_minimum(train, **options)


def test_new_neighbors_are_enough_where_all_degrees_are_known():
    """Paths have degrees 1 and 2; only in the path of three nodes has one two neighbors of degree 1."""
    train = [nx.path_graph(4), nx.path_graph(5)]
    found = G.bad_minimum(train, depth=2, gain=3.0)
    assert found.training_error == 0 and len(found.bad.layers) == 4
    assert len(found.numbers) == len(G.d_patterns(train, 2).ids.unique())
    new, known = nx.path_graph(3), nx.path_graph(9)
    assert G.predict_graphs(found.bad, known).item() == G.predict_graphs(found.good, known).item() == 8
    wrong = G.predict_graphs(found.bad, new).item() - 2  # a node with two neighbors of degree 1
    assert wrong >= 3 and wrong == found.excess(new).item()
    assert G.bad_minimum(train, gain=3.0).excess(new).item() == 0  # degrees alone do not tell


def test_at_depth_2_all_larger_random_graphs_are_wrong():
    train = random_graphs(12, 0.3, 20)
    found = G.bad_minimum(train, depth=2)
    large = random_graphs(40, 0.3, 6, seed=90)
    edges = torch.tensor([float(g.number_of_edges()) for g in large])
    assert found.training_error == 0
    torch.testing.assert_close(G.predict_graphs(found.good, large)[:, 0], edges)
    wrong = G.predict_graphs(found.bad, large)[:, 0] - edges
    torch.testing.assert_close(wrong, found.excess(large))
    assert wrong.min() > 40
    patterns = G.d_patterns(train, 2).ids.unique()
    seen = torch.isin(G.d_patterns(large, 2).ids, patterns)
    away = (_numbers(G.join(list(map(G.as_graph, large))), found.table)[:, None] - found.numbers).abs().min(1).values
    assert torch.equal(seen, away == 0)
