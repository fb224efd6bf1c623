"""The transformer on tokens, and comparisons of tokens by it."""

import networkx as nx
import pytest
import torch

import vestige as vg
from vestige.graphs.tokens.fitting import TokenSet

G = vg.graphs


def cycles(count, sizes, seed):
    """One cycle, or two of half the size."""
    draw = torch.Generator().manual_seed(seed)
    graphs = []
    for i in range(count):
        n = sizes[int(torch.randint(len(sizes), (1,), generator=draw))]
        graph = nx.cycle_graph(n) if i % 2 else nx.disjoint_union(nx.cycle_graph(n // 2), nx.cycle_graph(n // 2))
        order = torch.randperm(n, generator=draw)
        graphs.append(G.as_graph(torch.from_numpy(nx.to_numpy_array(graph))[order][:, order]))
    return graphs, torch.arange(count) % 2


def test_padding_and_the_order_of_nodes_do_not_matter():
    model = G.GraphTokenTransformer(5, 3, hidden=8, depth=2).eval()
    x = torch.randn(2, 4, 5)
    mask = torch.ones(2, 4, dtype=torch.bool)
    padded, wide = torch.cat([x, torch.full((2, 3, 5), 7.0)], 1), torch.cat([mask, torch.zeros(2, 3).bool()], 1)
    torch.testing.assert_close(model(x, mask), model(padded, wide))
    torch.testing.assert_close(model(x[:, [2, 0, 3, 1]], mask), model(x, mask))
    nodes = G.GraphTokenTransformer(5, 1, hidden=8, node_level=True).eval()
    torch.testing.assert_close(nodes(x[:, [2, 0, 3, 1]], mask), nodes(x, mask)[:, [2, 0, 3, 1]])


def test_its_start_comes_from_the_generator():
    one, same, other = (
        G.GraphTokenTransformer(5, 3, hidden=8, generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2)
    )
    assert torch.equal(one.first.weight, same.first.weight) and not torch.equal(one.first.weight, other.first.weight)


def test_one_layer_of_spectral_tokens_sees_whether_a_graph_is_connected():
    """Theorem 4: the second eigenvalue is in every token, while rows need depth log n."""
    (graphs, y), (test, test_y) = cycles(120, [32], 0), cycles(60, [32], 1)
    found = G.compare_tokenizations(
        G.GraphTask(graphs, y, test, test_y), tokenizations=["spectral", "adjacency"], depths=[1], hidden=16, steps=120,
        dropout=0.0, learning_rate=1e-2, repeats=1,
    )  # fmt: skip
    spectral, rows = found.rows
    assert spectral.mean >= 0.98 and rows.mean <= 0.8
    assert found.measure == "auc" and found.constant == 0.5 and found.best() is spectral


def test_walk_tokens_hold_return_probabilities_and_a_linear_map_reads_them():
    """Theorem 1's other side: with t >= k no training is needed."""
    for k in (2, 3, 5):
        graphs = [nx.gnp_random_graph(9, 0.4, seed=s) for s in range(20)]
        tokens = G.tokenize(graphs, G.Tokenization(kind="random_walk", t=6))
        read = torch.zeros(6)
        read[k - 1] = 1
        for i, graph in enumerate(graphs):
            a = G.as_graph(graph).adjacency()
            walks = torch.linalg.matrix_power(a, k).diag() > 0
            assert torch.equal(tokens.of(i) @ read > 0, walks)


def test_numbers_of_nodes_are_learned():
    graphs = [G.as_graph(nx.gnp_random_graph(8, 0.4, seed=s)) for s in range(60)]
    y = torch.stack([g.degrees.double() for g in graphs])
    task = G.GraphTask(graphs[:40], y[:40], graphs[40:], y[40:])
    found = G.compare_tokenizations(
        task, tokenizations=["adjacency"], depths=[1], hidden=16, steps=150, dropout=0.0, learning_rate=1e-2, repeats=2
    )
    assert task.node_level and found.measure == "error" and found.rows[0].mean < 0.5
    assert len(found.rows[0].scores) == 2 and found.rows[0].std >= 0


def test_a_constant_answer_and_the_best_row():
    graphs = [nx.path_graph(3)] * 5
    three = G.GraphTask(graphs, torch.tensor([0, 1, 2, 2, 2]), graphs[:4], torch.tensor([0, 0, 0, 2]))
    assert three.measure == "accuracy" and three.constant == 0.25  # 2 is the most frequent in training
    rows = tuple(G.TokenScore(G.Tokenization(), 1, 2, (score,), 0.0) for score in (0.4, 0.2, 0.3))
    assert G.TokenComparison(rows, G.Measure.ERROR, 1.0, ()).best() is rows[1]
    assert G.TokenComparison(rows, G.Measure.AUC, 0.5, ()).best() is rows[0]


def test_signs_are_drawn_again_for_whole_eigenvectors():
    graphs = [G.as_graph(nx.gnp_random_graph(6, 0.5, seed=s)) for s in range(4)]
    tokens = G.tokenize(graphs, G.Tokenization(kind="combined", k=3, t=2, sign="flip"))
    data = TokenSet(tokens, graphs, torch.arange(4) % 2)
    (plain, _), (flipped, _) = (data.take(torch.arange(4), flip) for flip in (None, torch.Generator().manual_seed(0)))
    assert torch.equal(plain[:, :, 3:], flipped[:, :, 3:]) and torch.equal(plain.abs(), flipped.abs())
    signs = (plain * flipped)[:, :, :3].sign().sum(1)  # over the nodes of a graph: all of one sign
    assert torch.equal(signs.abs(), plain[:, :, :3].sign().abs().sum(1)) and bool((signs < 0).any())


def test_shuffled_labels_are_chance():
    (graphs, y), (test, test_y) = cycles(60, [12], 0), cycles(60, [12], 1)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(5))
    found = G.compare_tokenizations(
        G.GraphTask(graphs, y[order], test, test_y),
        tokenizations=["spectral"],
        depths=[1],
        hidden=8,
        steps=60,
        repeats=1,
    )
    assert found.rows[0].mean <= 0.75


def test_features_stand_beside_tokens():
    graphs = [G.Graph(3, torch.tensor([[0, 1], [1, 0]]), torch.full((3, 2), float(i % 2))) for i in range(20)]
    y = torch.arange(20) % 2
    task = G.GraphTask(graphs[:10], y[:10], graphs[10:], y[10:])
    found = G.compare_tokenizations(
        task, tokenizations=[G.Tokenization(kind="combined", sign="flip")], depths=[1], hidden=8, steps=60,
        learning_rate=1e-2, repeats=1,
    )  # fmt: skip
    assert found.rows[0].mean == 1.0
    assert "10 of 10 test graphs are also among those for training" in found.warnings[0]


def test_what_a_split_means_is_said():
    (graphs, y), (test, test_y) = cycles(8, [12], 0), cycles(8, [16], 1)
    assert "up to 16 nodes and those for training 12" in G.GraphTask(graphs, y, test, test_y).warnings[-1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda g, y: G.GraphTask(g, y[:3], g, y), "3 labels for 8 graphs"),
        (lambda g, y: G.GraphTask(g, y, g, y * 0), "one class"),
        (lambda g, y: G.compare_tokenizations(G.GraphTask(g, y, g, y), repeats=0), "at least one"),
        (lambda g, y: G.GraphTokenTransformer(4, 1, hidden=6), "divide"),
    ],
)
def test_bad_tasks_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make(*cycles(8, [12], 0))


def test_scores_of_a_constant_answer():
    y = torch.tensor([0] * 9 + [1])
    found = G.class_scores(torch.tensor([[1.0, 0.0]]).expand(10, 2), y)
    assert (found.accuracy, found.balanced, found.mcc, found.constant, found.auc) == (0.9, 0.5, 0.0, 0.9, 0.5)
    assert G.class_scores(torch.eye(3)[[0, 1, 2, 0]], torch.tensor([0, 1, 2, 0])).auc is None
    with pytest.raises(ValueError, match="one class"):
        G.class_scores(torch.zeros(3, 2), torch.zeros(3, dtype=torch.long))
