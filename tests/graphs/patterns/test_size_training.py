"""Training across sizes, and the pattern-tree task."""

import networkx as nx
import pytest
import torch

import vestige as vg

G = vg.graphs


def set_of(sizes, count, seed=0):
    """Cycles and stars."""
    draw = torch.Generator().manual_seed(seed)
    picked = torch.randint(len(sizes), (count,), generator=draw).tolist()
    graphs = [G.as_graph(nx.cycle_graph(sizes[s]) if i % 2 else nx.star_graph(sizes[s])) for i, s in enumerate(picked)]
    return graphs, torch.arange(count) % 2


def test_targets_are_counts_in_the_computation_tree():
    for seed in range(50):
        graph = G.as_graph(nx.gnp_random_graph(7, 0.4, seed=seed))
        x = torch.randint(3, (7, 2), generator=torch.Generator().manual_seed(seed))
        found = G.pattern_tree_targets(G.Graph(7, graph.edges, x), 3).exp() - 1
        near = [graph.edges[1][graph.edges[0] == v].tolist() for v in range(7)]
        for v in range(7):
            layer, counts = [v], []
            for _ in range(3):
                layer = [w for u in layer for w in near[u]]  # walks, with repetition
                counts.append(x[layer].sum(0) if layer else torch.zeros(2))
            torch.testing.assert_close(found[v], torch.cat(counts).double())


@pytest.mark.parametrize("schedule", ["vanilla", "pretrain", "multitask"])
def test_every_schedule_learns_what_is_easy(schedule):
    graphs, y = set_of([5, 6, 7], 30)
    found = G.train_across_sizes(
        graphs, y, unlabeled=set_of([12], 10)[0], schedule=schedule, width=8, layers=2, tree_depth=2, steps=80,
        tree_steps=30, batch_size=10, learning_rate=1e-2,
    )  # fmt: skip
    scores = G.class_scores(G.predict_graphs(found.model, graphs), y)
    assert scores.mcc > 0.9 and found.outcome == "budget_spent"
    assert (found.tree_loss == found.tree_loss) is (schedule != "vanilla")


def test_few_labels_of_large_graphs_take_part():
    graphs, y = set_of([5, 6], 20)
    large, labels = set_of([20], 8)
    found = G.train_across_sizes(
        graphs, y, few=(large, labels), width=8, layers=2, steps=60, batch_size=10, learning_rate=1e-2
    )
    assert G.class_scores(G.predict_graphs(found.model, large), labels).mcc > 0.9


def test_a_frozen_body_stays_as_the_pattern_task_left_it():
    graphs, y = set_of([5], 10)
    options = {"unlabeled": graphs, "schedule": "pretrain", "width": 8, "layers": 1, "tree_steps": 5}
    one, other = (G.train_across_sizes(graphs, y, steps=s, frozen=True, **options).model for s in (1, 9))
    assert torch.equal(one.layers[0].own.weight, other.layers[0].own.weight)
    assert not torch.equal(one.last.weight, other.last.weight)


def test_unlabeled_graphs_take_part_and_so_does_the_pattern_task():
    graphs, y = set_of([5], 10)
    options = {"width": 8, "layers": 1, "steps": 5, "tree_steps": 5}
    found = [
        G.train_across_sizes(graphs, y, unlabeled=set_of([size], 10)[0], schedule=schedule, **options).model
        for schedule, size in (("vanilla", 9), ("multitask", 9), ("multitask", 20), ("pretrain", 9), ("pretrain", 20))
    ]
    weights = [model.layers[0].own.weight for model in found]
    assert all(not torch.equal(a, b) for i, a in enumerate(weights) for b in weights[:i])


def test_readouts():
    graphs = [G.as_graph(nx.path_graph(3)), G.as_graph(nx.path_graph(5))]
    networks = {kind: G.GraphNetwork(1, [4], 2, readout=kind).double() for kind in ("sum", "mean", "nodes")}
    h = networks["nodes"](G.join(graphs))
    shift = networks["sum"].last.bias
    torch.testing.assert_close(networks["sum"](G.join(graphs))[0] - shift, (h[:3] - shift).sum(0))
    torch.testing.assert_close(networks["mean"](G.join(graphs))[1], h[3:].mean(0))


def test_bad_input_is_refused():
    graphs, y = set_of([5], 6)
    for call, message in (
        (lambda: G.train_across_sizes(graphs, y[:3]), "3 labels"),
        (lambda: G.train_across_sizes(graphs, y * 0), "two classes"),
        (lambda: G.train_across_sizes(graphs, y, schedule="pretrain"), "unlabeled"),
        (lambda: G.pattern_tree_targets(graphs, 0), "at least 1"),
        (lambda: G.pattern_tree_targets(G.Graph(1, torch.zeros(2, 0).long(), -torch.ones(1, 1)), 1), "below 0"),
        (lambda: G.GraphNetwork(1, [], 1), "at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
