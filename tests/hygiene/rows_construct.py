"""Rows of `construct`."""

import numpy as np
import torch
from hygiene_rows import Row, gaussian, mixed

import vestige as vg

BUILD = vg.construct


def labeled(_):
    """Samples of few bits, so that float64 holds what the networks compute."""
    x = torch.tensor([[4, 0, 0], [0, 4, 0], [0, 0, 4], [-4, 0, 0], [0, -4, 0], [0, 0, -4]])
    return {"x": x.double(), "y": torch.arange(6) % 2}


def network():
    return BUILD.memorize(**labeled(None)).network


def saved(folder):
    path = folder / "construction.safetensors"
    BUILD.save(BUILD.memorize(**labeled(None)), path)
    return {"path": path}


def chain():
    return mixed(vg.nets.mlp([3, 4, 1], dtype=torch.float64))


def pruned(_):
    return {"target": chain(), "tolerance": 0.5, "generator": torch.Generator()}


def pruned_file(folder):
    path = folder / "pruned.safetensors"
    BUILD.save(BUILD.prune_to_target(**pruned(None)), path)
    return {"path": path}


def target(_):
    return {"target": BUILD.parity_target(3), "steps": 3, "batch_size": 4, "generator": torch.Generator()}


def facts():
    return BUILD.random_facts(20, 2)


def recalling():
    """A network that was hardly trained, and its superposition."""
    model = BUILD.train_recall(facts(), 3, 4, steps=2).model
    return {"model": model, "found": BUILD.fit_superposition(model.subject, model.attribute, facts())}


def tree():
    """Five nodes, two children each."""
    return BUILD.random_question(5, 2, most_children=2)


def made(build, **options):
    """A construction: its specification is checked again, and its network turned into a module."""
    return Row(
        lambda _: {"found": build()},
        "it was checked when it was made",
        call=lambda found: (found.verify(), found.to_torch(**options), found.specification.check(found.network)),
    )


MISSING = {"path": "no such file"}
NOT_FINITE = "values that are not finite are refused by torch's linear algebra"
NOWHERE = {"path": "no/such/folder/file.safetensors"}
ROWS = {
    "construct.in_parallel": Row(lambda _: {"networks": [network(), network()]}, {"networks": []}),
    "construct.in_series": Row(
        lambda _: {"first": network(), "second": BUILD.memorize(gaussian(3, 1), torch.arange(3)).network},
        {"second": network()},
    ),
    "construct.ExactNetwork": Row(
        lambda _: {"net": network(), "points": np.eye(3)},
        {"points": np.full((3, 3), np.nan)},
        call=lambda net, points: (net(points), net.audit(points), net.to_torch(at=points)),
    ),
    "construct.verify": Row(saved, MISSING),
    "construct.load": Row(saved, MISSING),
    "construct.save": Row(
        lambda folder: {"construction": BUILD.memorize(**labeled(None)), "path": folder / "it.safetensors"}, NOWHERE
    ),
    "construct.memorization_lower_bound": Row(lambda _: {"n": 10, "weights": 20}, {"n": -1}),
    "construct.memorize": Row(
        lambda _: labeled(_) | {"generator": torch.Generator()}, {"strategy": "none"}, steps=False
    ),
    "construct.Memorization": made(lambda: BUILD.memorize(**labeled(None))),
    "construct.Interpolation": made(lambda: BUILD.memorize(**labeled(None))),
    "construct.ExactConstruction": made(lambda: BUILD.memorize_robustly(**labeled(None)), exact=False),
    "construct.Balls": made(lambda: BUILD.memorize_robustly(**labeled(None)), exact=False),
    "construct.SignBalls": made(lambda: BUILD.robust_two_layer(**labeled(None))),
    "construct.Construction": made(lambda: BUILD.robust_two_layer(**labeled(None))),
    "construct.Agreement": made(lambda: BUILD.narrow(chain(), gaussian(4, 3)), exact=False),
    "construct.Approximation": made(lambda: BUILD.prune_to_target(**pruned(None))),
    "construct.MaskedNetwork": made(lambda: BUILD.prune_to_target(**pruned(None))),
    "construct.narrow": Row(
        lambda _: {"model": chain(), "x": gaussian(4, 3), "generator": torch.Generator()},
        {"width": "none"},
        steps=False,
    ),
    "construct.edge_popup": Row(
        lambda _: {
            "model": mixed(vg.nets.mlp([3, 8, 2])),
            "x": gaussian(6, 3, dtype=torch.float32),
            "y": torch.arange(6) % 2,
            "epochs": 2,
            "batch_size": 3,
            "generator": torch.Generator(),
        },
        {"keep_fraction": 2.0},
    ),
    "construct.prune_to_target": Row(pruned, {"tolerance": -1.0}),
    "construct.required_width": Row(lambda _: {"target": chain(), "tolerance": 0.5}, {"tolerance": -1.0}),
    "construct.random_subset_sum": Row(
        lambda _: {"values": gaussian(3, 20), "target": gaussian(3)}, {"method": "none"}
    ),
    "construct.memorize_robustly": Row(
        lambda _: labeled(_) | {"generator": torch.Generator()}, {"eps": -1.0}, steps=False
    ),
    "construct.max_robust_radius": Row(labeled, {"y": torch.arange(5)}),
    "construct.width_bounds": Row(lambda _: {"n": 10, "d": 5, "relative_eps": 0.1}, {"n": -1}),
    "construct.robust_two_layer": Row(labeled, {"y": torch.arange(6)}),
    "construct.boolean_cube": Row(lambda _: {"n": 3}, {"n": -1}),
    "construct.degree_profile": Row(lambda _: {"values": gaussian(8)}, {"values": gaussian(7)}),
    "construct.walsh_hadamard": Row(lambda _: {"values": gaussian(8)}, {"values": gaussian(7)}),
    "construct.weak_learnability_report": Row(
        lambda _: {
            "target": BUILD.parity_target(3),
            "hidden": (4,),
            "restarts": 1,
            "samples": 64,
            "shallow_steps": 5,
            "generator": torch.Generator(),
        },
        {"restarts": 0},
    ),
    "construct.learning_run": Row(lambda _: target(_) | {"model": mixed(vg.nets.mlp([3, 4, 1]))}, {"steps": 0}),
    "construct.SeparatedTarget": Row(
        lambda _: {"target": BUILD.parity_target(3), "n": 4},
        "a negative number is refused by torch",
        call=lambda target, n: target.sample(n),
    ),
    "construct.ball_indicator_target": Row(lambda _: {"dimension": 3}, {"dimension": 0}),
    "construct.inner_product_target": Row(lambda _: {"dimension": 3}, {"dimension": 0}),
    "construct.parity_target": Row(lambda _: {"n": 3}, {"n": 0}),
    "construct.sawtooth_target": Row(lambda _: {"depth": 3}, {"depth": 0}),
    "construct.single_neuron_target": Row(lambda _: {"dimension": 3, "generator": torch.Generator()}, {"dimension": 0}),
    "construct.square_wave_target": Row(lambda _: {"power": 3}, {"power": 0}),
    "construct.staircase_target": Row(lambda _: {"n": 3, "steps": 2}, {"steps": 4}),
    "construct.GradientVariance": Row(
        lambda _: {"found": BUILD.gradient_variance(chain(), gaussian(4, 3), gaussian(2, 4)), "tolerance": 0.1},
        "any tolerance has a number of steps",
        call=lambda found, tolerance: found.steps(tolerance),
    ),
    "construct.arc_cosine_kernel": Row(
        lambda _: {"x": gaussian(3, 4), "z": gaussian(2, 4)}, "points of another size are refused by their types"
    ),
    "construct.gradient_variance": Row(
        lambda _: {"model": chain(), "x": gaussian(4, 3), "values": gaussian(2, 4)},
        {"model": mixed(vg.nets.mlp([3, 4, 2], dtype=torch.float64))},
    ),
    "construct.gram_bound": Row(lambda _: {"values": gaussian(3, 8)}, NOT_FINITE),
    "construct.kernel_advantage": Row(
        lambda _: {
            "kernel": BUILD.arc_cosine_kernel,
            "x": gaussian(8, 3),
            "f": gaussian(8),
            "generator": torch.Generator(),
        },
        {"f": torch.zeros(8).double()},
    ),
    "construct.projection_advantage": Row(
        lambda _: {"gram": torch.eye(3).double(), "moments": gaussian(3)}, "any matrix and moments have one"
    ),
    "construct.sq_dimension_lower_bound": Row(lambda _: {"values": gaussian(3, 8)}, NOT_FINITE),
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
        {"held_out": 0.0},
    ),
    "construct.superposed": Row(
        lambda _: {"found": recalling()["found"], "attributes": recalling()["model"].attribute, "facts": facts()},
        "shapes are checked by their types",
    ),
    "construct.transferred_accuracy": Row(lambda _: recalling() | {"facts": facts()}, "any table of that size has one"),
    "construct.refine_maps": Row(
        lambda _: recalling() | {"steps": 2, "generator": torch.Generator()}, "any trained network has maps"
    ),
    "construct.gate_table": Row(
        lambda _: {"model": recalling()["model"], "facts": facts()}, "any table of that size has one"
    ),
    "construct.edit_rates": Row(
        lambda _: recalling() | {"facts": facts(), "generator": torch.Generator()}, "any table of that size has one"
    ),
    "construct.ChainPrompt": Row(
        lambda _: {"question": tree(), "codes": torch.eye(5).double()},
        {"codes": torch.eye(4).double()},
        call=lambda question, codes: BUILD.ChainPrompt(question, codes).write(None, 0),
    ),
}
