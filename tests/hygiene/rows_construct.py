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
}
