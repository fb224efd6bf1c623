"""Rows of `attack` and `papers`."""

from pathlib import Path

import torch
from hygiene_rows import Row, classifier, gaussian, mixed, trained

import vestige as vg


def calm(given):
    """In evaluation mode, which attacks insist on for every layer."""
    given["model"].eval()
    return given


def attacked(**options):
    return lambda _: calm(classifier()) | {"eps": 0.2, "generator": torch.Generator(), **options}


def theory(_):
    return trained(depth=1) | {"generator": torch.Generator()}


def planar(_):
    """Samples in 3 of 8 dimensions, and a network of its own start."""
    x = torch.cat([gaussian(6, 3), torch.zeros(6, 5)], 1)
    model = vg.nets.fixed_output_mlp(8, 10, dtype=torch.float64)
    return {"model": mixed(model, "2.weight"), "x": x, "span": vg.attack.data_span(x)}


def exported(report, folder):
    report.export(folder / "adv.safetensors")


NEGATIVE, OTHER = {"eps": -0.1}, {"span": vg.attack.data_span(gaussian(4, 9))}
ROWS = {
    "attack.evaluate_robustness": Row(attacked(attacks=("fast",)), NEGATIVE),
    "attack.RobustnessReport": Row(
        lambda folder: {"report": vg.evaluate_robustness(**attacked()(folder)), "folder": folder},
        {"folder": Path("no/such/folder")},
        call=exported,
    ),
    "attack.apgd": Row(attacked(steps=4), NEGATIVE),
    "attack.fab": Row(attacked(steps=3), NEGATIVE),
    "attack.malt": Row(attacked(steps=4), {"preset": "none"}),
    "attack.square": Row(attacked(queries=8), NEGATIVE),
    "attack.autoattack": Row(attacked(attacks=("apgd-ce",)), NEGATIVE),
    "attack.rank_targets": Row(lambda _: calm(classifier()) | {"n_targets": 2}, {"order": "none"}),
    "attack.linearity_profile": Row(
        lambda _: {**{k: classifier()[k] for k in ("model", "x")}, "eps": 0.3, "generator": torch.Generator()},
        {"eps": -1.0},
    ),
    "attack.data_span": Row(lambda _: {"x": planar(_)["x"]}, {"variance": 2.0}),
    "attack.DataSpan": Row(
        lambda _: planar(_) | {"features": 8},
        {"features": 9},
        call=lambda model, x, span, features: (span.check(features), span.off(x), span.without_noise(model)),
    ),
    "attack.off_subspace_robustness": Row(lambda _: planar(_) | {"generator": torch.Generator()}, OTHER),
    "attack.project_weights": Row(
        lambda _: {"model": planar(_)["model"], "span": planar(_)["span"]},
        OTHER,
    ),
    "attack.subspace_attack": Row(lambda _: planar(_) | {"eps": 0.5}, NEGATIVE),
    "attack.universal_margin_perturbation": Row(theory, {"margin_tol": -1.0}),
    "papers.robustness_gap": Row(theory, {"margin_tol": -1.0}),
    "papers.sphere_robustness_gap": Row(
        lambda _: {"sizes": ((30, 4),), "width": 10, "tol_loss": 1e-2, "generator": torch.Generator()},
        {"sizes": ((30, 1),)},
    ),
    "papers.Record": Row(
        lambda _: {"record": vg.papers.RECORDS[0]}, "it only writes text", call=lambda record: record.row()
    ),
}
