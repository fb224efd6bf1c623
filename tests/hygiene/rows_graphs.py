"""Rows of `graphs` and `probe`."""

import networkx as nx
import torch
from hygiene_rows import Row, gaussian, mixed
from torch import nn

import vestige as vg

G, P = vg.graphs, vg.probe


def graphs(count=6):
    return [G.as_graph(nx.gnp_random_graph(5 + i % 3, 0.5, seed=i)) for i in range(count)]


def one(_):
    return {"graph": graphs()[0]}


def labeled(_):
    return {"graphs": graphs(), "y": torch.arange(6) % 2, "generator": torch.Generator()}


def task():
    return G.GraphTask(graphs(), torch.arange(6) % 2, graphs(4), torch.arange(4) % 2)


def written(folder):
    path = folder / "set.txt"
    path.write_text("2\n2 0\n0 1 1\n0 1 0\n1 1\n3 0\n")
    return {"path": path}


def statements(folder):
    path = folder / "cities.csv"
    path.write_text("statement,label\n" + "".join(f"Sentence {i} is so.,{i % 2}\n" for i in range(20)))
    return {"path": path}


def law(n=4):
    return P.TruthCoOccurrence(n=n, rho=0.5, generator=torch.Generator())


def layered():
    return mixed(nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 2)).double())


def steered(**options):
    model = options["model"]
    with P.steered(**options):
        model(gaussian(2, 3))


def fitted(x, y, **options):
    probe = P.TruthProbe(**options).fit(x, y)
    return probe.predict(x), probe.decision_function(x)


def probed(_):
    return {"x": gaussian(20, 3).numpy(), "y": (torch.arange(20) % 2).numpy()}


def directed():
    return G.as_graph(nx.DiGraph([(0, 1)]))


NOWHERE = {"path": "no such file"}
NO_TEXTS = {"texts": ["only one"]}
SPLIT = {"batch_size": 4, "steps": 4, "width": 4, "layers": 1}
ROWS = {
    "graphs.Graph": Row(
        one, "it was checked when it was made", call=lambda graph: (graph.components, graph.adjacency())
    ),
    "graphs.GraphBatch": Row(lambda _: {"batch": G.join(graphs())}, "it holds values", call=lambda batch: batch.n),
    "graphs.as_graph": Row(lambda _: {"thing": graphs()[0].adjacency()}, {"thing": torch.eye(2)}),
    "graphs.join": Row(
        lambda _: {"graphs": graphs()},
        {"graphs": [graphs()[0], G.Graph(1, torch.zeros(2, 0).long(), torch.zeros(1, 1))]},
    ),
    "graphs.Tokenization": Row(
        lambda _: {"how": G.Tokenization(kind="combined"), "size": 4},
        "checked when made",
        call=lambda how, size: how.blocks(size),
    ),
    "graphs.Tokens": Row(
        lambda _: {"tokens": G.tokenize(graphs())}, "it holds values", call=lambda tokens: tokens.of(1)
    ),
    "graphs.tokenize": Row(
        lambda _: {"graphs": graphs(), "how": G.Tokenization(sign="flip"), "generator": torch.Generator()}, {"size": 2}
    ),
    "graphs.reconstruct_adjacency": Row(
        lambda _: {"tokens": G.tokenize(graphs()), "i": 1}, {"tokens": G.tokenize(graphs(), "random_walk")}
    ),
    "graphs.is_lossless": Row(one, {"graph": directed()}),
    "graphs.collides": Row(lambda _: {"first": graphs()[0], "second": graphs()[1]}, {"how": "none such"}),
    "graphs.witness": Row(lambda _: {"name": "planarity"}, {"parts": 1}),
    "graphs.diagnose_tokens": Row(one, {"graph": directed()}),
    "graphs.TokenDiagnosis": Row(
        lambda _: {"found": G.diagnose_tokens(graphs()[0])}, "it holds values", call=lambda found: found.walk_depth(4)
    ),
    "graphs.GraphTask": Row(lambda _: {"task": task()}, "checked when made", call=lambda task: task.warnings),
    "graphs.TokenScore": Row(
        lambda _: {"row": G.TokenScore(G.Tokenization(), 1, 2, (0.5, 0.7), 0.9)},
        "it holds values",
        call=lambda row: (row.mean, row.std),
    ),
    "graphs.TokenComparison": Row(
        lambda _: {
            "found": G.TokenComparison((G.TokenScore(G.Tokenization(), 1, 2, (0.5,), 0.9),), G.Measure.AUC, 0.5, ())
        },
        "it holds values",
        call=lambda found: found.best(),
    ),
    "graphs.compare_tokenizations": Row(
        lambda _: {
            "task": task(),
            "tokenizations": ["spectral"],
            "depths": [1],
            "hidden": 4,
            "steps": 2,
            "repeats": 2,
            "generator": torch.Generator(),
        },
        {"repeats": 0},
    ),
    "graphs.GraphTokenTransformer": Row(
        lambda _: {"width": 3, "out": 2, "hidden": 4, "generator": torch.Generator()}, {"heads": 3}
    ),
    "graphs.class_scores": Row(
        lambda _: {"logits": gaussian(6, 2), "y": torch.arange(6) % 2}, {"y": torch.zeros(6, dtype=torch.long)}
    ),
    "graphs.d_patterns": Row(lambda _: {"graphs": graphs(), "depth": 2}, {"depth": -1}),
    "graphs.pattern_distribution": Row(lambda _: {"patterns": G.d_patterns(graphs(), 1)}, "counts of any patterns"),
    "graphs.PatternDistribution": Row(
        lambda _: {"one": G.pattern_distribution(G.d_patterns(graphs(), 1))},
        "it holds values",
        call=lambda one: (one.total_variation(one), one.unseen(one)),
    ),
    "graphs.pattern_tv": Row(lambda _: {"source": graphs(), "target": graphs(2), "depth": 1}, {"depth": -1}),
    "graphs.GraphNetwork": Row(
        lambda _: {"features": 1, "widths": [3], "out": 2, "generator": torch.Generator()},
        {"widths": []},
        call=lambda **given: G.GraphNetwork(**given)(G.join(graphs())),
    ),
    "graphs.read_tu": Row(written, NOWHERE),
    "graphs.size_split": Row(lambda _: {"graphs": graphs(), "large": 0.2}, {"small": 0.0}),
    "graphs.size_shift_report": Row(
        lambda _: {"train": graphs(), "test": graphs(2), "generator": torch.Generator()}, {"depths": []}
    ),
    "graphs.bad_minimum": Row(lambda _: {"train": graphs(), "depth": 2, "generator": torch.Generator()}, {"gain": 0.0}),
    "graphs.BadMinimum": Row(
        lambda _: {"found": G.bad_minimum(graphs()), "graphs": graphs(2)},
        {"graphs": []},
        call=lambda found, graphs: found.excess(graphs),
    ),
    "graphs.pattern_tree_targets": Row(lambda _: {"graphs": graphs(), "depth": 2}, {"depth": 0}),
    "graphs.predict_graphs": Row(
        lambda _: {"model": mixed(G.GraphNetwork(1, [3], 2).double()), "graphs": graphs()}, {"graphs": []}
    ),
    "graphs.train_across_sizes": Row(
        lambda _: labeled(_) | SPLIT | {"unlabeled": graphs(3), "schedule": "pretrain", "tree_steps": 3},
        {"unlabeled": []},
    ),
    "probe.TruthCoOccurrence": Row(
        lambda _: {"law": law(), "generator": torch.Generator()},
        "checked when made",
        call=lambda law, generator: (law.draw(3, generator=generator), law.loss_gap),
    ),
    "probe.ToyTruthModel": Row(
        lambda _: {"n": 3, "generator": torch.Generator()},
        {"normalization": "none such"},
        call=lambda **given: P.ToyTruthModel(**given)(torch.tensor([[0, 4, 1]])),
    ),
    "probe.LearnedTruthModel": Row(
        lambda _: {"n": 3, "d": 4, "generator": torch.Generator()},
        {"normalization": "none such"},
        call=lambda **given: P.LearnedTruthModel(**given)(torch.tensor([[0, 4, 1]])),
    ),
    "probe.constructed_truth_model": Row(lambda _: {"law": law()}, {"normalization": "none such"}),
    "probe.truth_margin": Row(lambda _: {"alpha": 1.0, "beta": 2.0}, "any two numbers have one"),
    "probe.value_matrix_blocks": Row(lambda _: {"w": gaussian(19, 19), "law": law()}, {"w": gaussian(3, 3)}),
    "probe.two_phase_report": Row(
        lambda _: {
            "model": mixed(nn.Sequential(nn.Identity(), P.ToyTruthModel(4).double()))[1],
            "law": law(),
            "steps": 3,
            "every": 2,
            "evaluated": 100,
            "generator": torch.Generator(),
        },
        {"law": law(5)},
    ),
    "probe.TwoPhaseReport": Row(
        lambda _: {"found": P.two_phase_report(P.ToyTruthModel(4).double(), law(), steps=2, evaluated=100)},
        "it holds values",
        call=lambda found: (found.memorized, found.emerged, found.verdict),
    ),
    "probe.TruthProbe": Row(probed, {"kind": "none such"}, call=fitted),
    "probe.probe_transfer": Row(
        lambda _: {"x": gaussian(20, 3), "y": torch.arange(20) % 2, "topics": ["a"] * 20}, {"topics": ["a"]}
    ),
    "probe.activations": Row(
        lambda _: {"model": layered(), "tokenizer": None, "texts": gaussian(5, 3), "layer": "2", "batch_size": 2},
        {"layer": "none"},
    ),
    "probe.steered": Row(
        lambda _: {"model": layered(), "direction": torch.ones(2), "layer": "2"}, {"layer": "none"}, call=steered
    ),
    "probe.read_statements": Row(statements, NOWHERE),
    "probe.Statements": Row(
        lambda folder: {
            "found": P.read_statements(**statements(folder)),
            "generator": torch.Generator().manual_seed(0),
        },
        "any number may be taken",
        call=lambda found, generator: found.take(5, generator=spawned(generator)),
    ),
    "probe.text_confounds": Row(
        lambda _: {"texts": [f"t{i} is" for i in range(12)], "y": torch.arange(12) % 2}, NO_TEXTS
    ),
    "probe.truth_statistics": Row(lambda _: {"documents": [[0, 1], [1, 1]]}, {"documents": [[0, 2]]}),
}


def spawned(generator):
    return torch.Generator().manual_seed(generator.initial_seed())
