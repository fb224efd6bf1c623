"""Rows of `construct`, transformers whose weights are computed."""

import torch
from hygiene_rows import Row, gaussian, mixed
from rows_construct import made

import vestige as vg

BUILD = vg.construct


class Letters:
    """A tokenizer whose ids are code points."""

    def encode(self, text):
        return [ord(letter) % 128 for letter in text]

    def decode(self, ids):
        return "".join(map(chr, ids))


class Says(torch.nn.Module):
    """A language model that always says the same."""

    def __init__(self):
        super().__init__()
        self.table, self.drop = torch.nn.Embedding(128, 128), torch.nn.Dropout()

    def forward(self, x):
        return self.drop(self.table(x))


def facts():
    return BUILD.random_facts(20, 2)


def recalling():
    """A network that was hardly trained, and its superposition."""
    model = BUILD.train_recall(facts(), 3, 4, steps=2).model
    return {"model": model, "found": BUILD.fit_superposition(model.subject, model.attribute, facts())}


def tree():
    """Five nodes, two children each."""
    return BUILD.random_question(5, 2, most_children=2)


ROWS = {
    "construct.build_counter": Row(
        lambda _: {"vocab": 4, "length": 5, "dim": 3, "generator": torch.Generator()}, {"vocab": 1}
    ),
    "construct.build_most_frequent": Row(
        lambda _: {"vocab": 4, "length": 5, "dim": 3, "generator": torch.Generator()}, {"layers": 3}
    ),
    "construct.Computes": made(lambda: BUILD.build_counter(4, 5)),
    "construct.Transformer": Row(
        lambda _: {"model": BUILD.build_counter(4, 5).network, "x": torch.tensor([[1, 3, 1]])},
        {"x": torch.tensor([[4]])},
        call=lambda model, x: (model(x), model.trace(x)),
    ),
    "construct.EncoderTransformer": Row(
        lambda _: {"model": BUILD.to_torch_encoder(BUILD.build_counter(4, 5).network), "x": torch.tensor([[1, 3, 1]])},
        {"x": torch.tensor([[4]])},
        call=lambda model, x: model(x),
    ),
    "construct.to_torch_encoder": Row(
        lambda _: {"model": BUILD.build_counter(4, 5).network},
        {"model": BUILD.build_most_frequent(4, 5, layers=1).network},
    ),
    "construct.describe_stream": Row(
        lambda _: {"model": BUILD.build_counter(4, 5).network, "x": torch.tensor([[1, 3, 1]])},
        {"x": torch.tensor([[4]])},
    ),
    "construct.precision_sweep": Row(lambda _: {"construction": BUILD.build_counter(4, 5)}, {"dtypes": []}),
    "construct.coherence": Row(lambda _: {"embeddings": gaussian(4, 3)}, "any rows have one"),
    "construct.welch_bound": Row(lambda _: {"vocab": 5, "dim": 3}, "any sizes have one"),
    "construct.counting_capacity": Row(
        lambda _: {"vocab": 5, "dim": 3, "length": 9, "generator": torch.Generator()}, {"vocab": 1}
    ),
    "construct.most_frequent_lower_bound": Row(lambda _: {"vocab": 5, "length": 9}, {"vocab": 1}),
    "construct.random_counts": Row(
        lambda _: {"vocab": 5, "length": 9, "n": 3, "generator": torch.Generator()}, "torch refuses sizes below 0"
    ),
    "construct.disjointness_sequences": Row(
        lambda _: {"universe": 8, "n": 3, "generator": torch.Generator()}, {"universe": 3}
    ),
    "construct.counting_phase": Row(
        lambda _: {
            "dims": [4],
            "vocabs": [3],
            "largest_count": 3,
            "length": 6,
            "steps": 2,
            "generator": torch.Generator(),
        },
        {"restarts": 0},
    ),
    "construct.SmallCounter": Row(
        lambda _: {"model": BUILD.SmallCounter(5, 4, 3, generator=torch.Generator()), "x": torch.tensor([[1, 3, 1]])},
        "unknown ids are refused by torch",
        call=lambda model, x: model(x),
    ),
    "construct.build_nearest_neighbor": Row(lambda _: {"dim": 4, "n": 3, "generator": torch.Generator()}, {"gap": 0.0}),
    "construct.build_rank_one_majority": Row(
        lambda _: {"dim": 4, "heads": 3, "generator": torch.Generator()}, {"heads": 2}
    ),
    "construct.nearest_accuracy": Row(
        lambda _: {"model": BUILD.build_nearest_neighbor(4, 3).network, "x": BUILD.sphere_points(4, 3, 5)},
        {"x": gaussian(5, 4, 3)},
    ),
    "construct.sphere_points": Row(
        lambda _: {"dim": 4, "n": 3, "samples": 2, "generator": torch.Generator()}, {"n": 5, "orthogonal": True}
    ),
    "construct.head_accuracy": Row(lambda _: {"dim": 4, "alignment": torch.tensor([0.5])}, {"dim": 2}),
    "construct.head_agreement": Row(
        lambda _: {"q": gaussian(2, 3), "k": gaussian(2, 3), "other_q": gaussian(2, 3), "other_k": gaussian(2, 3)},
        "any vectors have one",
    ),
    "construct.optimal_head_weights": Row(
        lambda _: {"q": torch.eye(3).double(), "k": torch.eye(3).double()},
        {"q": torch.eye(2).double(), "k": torch.eye(2).double()},
    ),
    "construct.rank_lower_bound": Row(lambda _: {"dim": 4, "heads": 3, "rank": 1}, {"rank": 0}),
    "construct.softmax_head_error": Row(lambda _: {"dim": 4, "beta": 3.0}, {"beta": 0.0}),
    "construct.rank_audit": Row(
        lambda _: {"model": mixed(torch.nn.TransformerEncoderLayer(4, 2, 8).double())}, {"model": torch.nn.Linear(2, 2)}
    ),
    "construct.rank_sweep": Row(
        lambda _: {"dim": 4, "n": 3, "ranks": [2], "steps": 3, "hidden": 4, "generator": torch.Generator()},
        {"ranks": [3]},
    ),
    "construct.ScaledUnit": Row(
        lambda _: {"model": BUILD.ScaledUnit(), "x": gaussian(2, 3)}, "any vector", call=lambda model, x: model(x)
    ),
    "construct.CompositionalQuestion": Row(
        lambda _: {"question": tree(), "order": "memory_rank"},
        {"order": "none"},
        call=lambda question, order: (question.answers(), question.order(order), question.memory_rank),
    ),
    "construct.random_question": Row(lambda _: {"n": 5, "dim": 2, "generator": torch.Generator()}, {"n": 0}),
    "construct.formula_question": Row(lambda _: {"text": "a & ~b"}, {"text": "a &"}),
    "construct.node_codes": Row(lambda _: {"n": 5, "generator": torch.Generator()}, "torch refuses sizes below 0"),
    "construct.question_tokens": Row(
        lambda _: {"question": tree(), "codes": BUILD.node_codes(5)}, {"codes": BUILD.node_codes(4)}
    ),
    "construct.question_steps": Row(lambda _: {"question": tree()}, {"slots": 1}),
    "construct.build_crq_transformer": Row(
        lambda _: {"n": 5, "dim": 2, "height": 4, "generator": torch.Generator()}, {"height": 0}
    ),
    "construct.build_crq_chain_of_thought": Row(lambda _: {"n": 5, "dim": 2, "generator": torch.Generator()}, {"n": 1}),
    "construct.build_crq_rnn": Row(lambda _: {"n": 5, "dim": 2, "generator": torch.Generator()}, {"slots": 0}),
    "construct.Recurs": made(lambda: BUILD.build_crq_rnn(5, 2)),
    "construct.StackMachine": Row(
        lambda _: {"model": BUILD.build_crq_rnn(5, 2).network, "x": BUILD.question_steps(tree())},
        {"x": torch.zeros(1, 2, 2)},
        call=lambda model, x: model(x),
    ),
    "construct.solve_by_chain": Row(
        lambda _: {
            "model": BUILD.build_crq_chain_of_thought(5, 2).network,
            "question": tree(),
            "codes": torch.eye(5).double(),
        },
        {"codes": torch.eye(4).double()},
    ),
    "construct.counting_audit": Row(
        lambda _: {
            "model": mixed(Says()),
            "tokenizer": Letters(),
            "distinct": [2],
            "samples": 1,
            "generator": torch.Generator(),
        },
        {"samples": 0},
    ),
    "construct.graph_tokens": Row(
        lambda _: {"adjacency": BUILD.random_graphs(4, 2)}, {"adjacency": torch.full((1, 2, 2), 0.5)}
    ),
    "construct.random_graphs": Row(
        lambda _: {"n": 4, "samples": 2, "generator": torch.Generator()}, "torch refuses sizes below 0"
    ),
    "construct.permuted_graphs": Row(
        lambda _: {"adjacency": BUILD.random_graphs(4, 2), "generator": torch.Generator()}, "any matrices"
    ),
    "construct.cycle_graphs": Row(lambda _: {"n": 7, "samples": 2, "generator": torch.Generator()}, {"n": 5}),
    "construct.connectivity_graphs": Row(lambda _: {"n": 16, "samples": 2, "generator": torch.Generator()}, {"n": 5}),
    "construct.degree_bounded_graphs": Row(
        lambda _: {"n": 5, "samples": 2, "degree": 2, "generator": torch.Generator()}, {"degree": 5}
    ),
    "construct.sketch_tokens": Row(
        lambda _: {"adjacency": BUILD.degree_bounded_graphs(5, 2, 2), "size": 9, "generator": torch.Generator()},
        {"size": 2},
    ),
    "construct.build_matrix_power": Row(lambda _: {"n": 4, "power": 3, "generator": torch.Generator()}, {"power": 1}),
    "construct.build_triangle_counter": Row(lambda _: {"n": 4, "generator": torch.Generator()}, {"n": 2}),
    "construct.build_four_cycle_counter": Row(lambda _: {"n": 5, "generator": torch.Generator()}, {"n": 3}),
    "construct.build_connectivity": Row(lambda _: {"n": 4, "generator": torch.Generator()}, {"layers": 0}),
    "construct.build_cycle_walk": Row(lambda _: {"n": 6, "generator": torch.Generator()}, {"n": 5}),
    "construct.build_two_cycle_detector": Row(lambda _: {"n": 4, "generator": torch.Generator()}, {"size": 3}),
    "construct.two_cycle_lower_bound": Row(lambda _: {"n": 4}, {"n": 1}),
    "construct.build_subgraph_counter": Row(
        lambda _: {"pattern": torch.tensor([[0, 1], [1, 0]]), "n": 4, "generator": torch.Generator()}, {"n": 5}
    ),
    "construct.eulerian_instances": Row(
        lambda _: {"n": 3, "edges": 5, "samples": 2, "generator": torch.Generator()}, {"edges": 3}
    ),
    "construct.is_one_trail": Row(
        lambda _: {"edges": torch.tensor([[0, 1], [1, 0]]), "successor": torch.tensor([1, 0])}, "any list is one or not"
    ),
    "construct.leak_audit": Row(
        lambda _: {"x": BUILD.random_graphs(4, 20), "y": torch.arange(20) % 2, "generator": torch.Generator()},
        {"y": torch.zeros(20, dtype=torch.long)},
    ),
    "construct.LeakAudit": Row(
        lambda _: {"audit": BUILD.leak_audit(BUILD.random_graphs(4, 20), torch.arange(20) % 2)},
        "it was made before",
        call=lambda audit: str(audit),
    ),
    "construct.fit_graphs": Row(
        lambda _: {
            "x": BUILD.random_graphs(4, 20),
            "y": torch.arange(20) % 2,
            "held_out": (BUILD.random_graphs(4, 20), torch.arange(20) % 2),
            "shapes": [(1, 4)],
            "steps": 2,
            "batch_size": 3,
            "generator": torch.Generator(),
        },
        {"shapes": []},
    ),
    "construct.GraphEncoder": Row(
        lambda _: {"model": BUILD.GraphEncoder(4, 1, 3, generator=torch.Generator()), "x": BUILD.random_graphs(4, 2)},
        "sizes are checked by torch",
        call=lambda model, x: model(x),
    ),
    "construct.random_facts": Row(lambda _: {"n": 5, "relations": 2, "generator": torch.Generator()}, {"n": 1}),
    "construct.compose_facts": Row(lambda _: {"facts": facts(), "hops": 2}, {"hops": 0}),
    "construct.recall_lower_bound": Row(lambda _: {"n": 9, "relations": 2}, {"n": 1}),
    "construct.build_factual_recall": Row(
        lambda _: {"facts": facts(), "dim": 9, "generator": torch.Generator()}, {"hops": 0}
    ),
    "construct.Recalls": made(lambda: BUILD.build_factual_recall(facts())),
    "construct.recall_by_chain": Row(
        lambda _: {
            "model": BUILD.build_factual_recall(facts(), hops=2, method="chain").network,
            "question": torch.tensor([[20, 21, 0]]),
            "hops": 2,
        },
        {"hops": 3},
    ),
    "construct.edit_fact": Row(
        lambda _: {
            "construction": BUILD.build_factual_recall(facts()),
            "subject": 0,
            "relation": 1,
            "attribute": 2,
        },
        {"attribute": 20},
    ),
    "construct.train_recall": Row(
        lambda _: {"facts": facts(), "dim": 3, "hidden": 4, "steps": 2, "generator": torch.Generator()}, {"dim": 0}
    ),
    "construct.RecallNetwork": Row(
        lambda _: {"model": recalling()["model"], "x": torch.tensor([[21, 3]])},
        "unknown ids are refused by torch",
        call=lambda model, x: model(x),
    ),
    "construct.recall_accuracy": Row(
        lambda _: {"model": recalling()["model"], "facts": facts()}, "any table of that size has one"
    ),
    "construct.fit_superposition": Row(
        lambda _: {
            "embeddings": gaussian(20, 4),
            "attributes": gaussian(20, 3),
            "facts": facts(),
            "generator": torch.Generator(),
        },
        {"test_share": 0.0},
    ),
    "construct.superposed": Row(
        lambda _: {"found": recalling()["found"], "attributes": recalling()["model"].attribute, "facts": facts()},
        "shapes are checked by their types",
    ),
    "construct.transferred_accuracy": Row(lambda _: recalling() | {"facts": facts()}, {"model": torch.nn.Linear(2, 2)}),
    "construct.refine_maps": Row(
        lambda _: recalling() | {"steps": 2, "generator": torch.Generator()}, {"model": torch.nn.Linear(2, 2)}
    ),
    "construct.gate_table": Row(
        lambda _: {"model": recalling()["model"], "facts": facts()}, {"model": torch.nn.Linear(2, 2)}
    ),
    "construct.edit_rates": Row(
        lambda _: recalling() | {"facts": facts(), "generator": torch.Generator()}, {"model": torch.nn.Linear(2, 2)}
    ),
    "construct.ChainPrompt": Row(
        lambda _: {"question": tree(), "codes": torch.eye(5).double()},
        {"codes": torch.eye(4).double()},
        call=lambda question, codes: BUILD.ChainPrompt(question, codes).write(None, 0),
    ),
}
