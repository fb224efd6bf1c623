"""Rows of `audit`: whole jobs, each with a folder."""

import torch
from hygiene_rows import Row, gaussian, trained
from rows_reconstruct import estimator

import vestige as vg


def job(folder, **options):
    """A module in memory and the samples it was trained on; one short attack."""
    given, unseen = trained(3), gaussian(6, 20, seed=7) / 20**0.5
    return {
        "model": given["model"],
        "data": (given["x"], given["y"]),
        "held_out": (unseen, torch.arange(6) % 3),
        "input_shape": (20,),
        "space": (-9.0, 9.0),
        "loss": "cross_entropy",
        "weight_decay": 0.0,
        "restarts": 1,
        "n_candidates": 6,
        "steps": 5,
        "out": folder / "run",
        **options,
    }


def attacked(folder):
    kept = ("model", "data", "input_shape", "space", "out")
    return {key: value for key, value in job(folder).items() if key in kept} | {"eps": 0.1}


def asked(folder):
    given = job(folder)
    kept = ("model", "data", "input_shape", "space", "loss", "out")
    return {key: given[key] for key in kept} | {"reference": given["held_out"]}


def queried(folder):
    given = estimator(folder)
    vg.kernels.save_kernel_model(**given)
    return {"model": given["path"], "max_queries": 300, "out": folder / "run"}


ROWS = {
    "audit.audit": Row(job, {"solver": "none"}),
    "audit.audit_membership": Row(asked, {"loss": "none"}),
    "audit.audit_robustness": Row(attacked, {"eps": -1.0}),
    "audit.audit_unlearning": Row(lambda folder: job(folder, forget=[1], weight_decay=1e-3, repair=3), {"forget": [9]}),
    "audit.study_neuron": Row(
        lambda folder: {"dimension": 3, "restarts": 2, "steps": 30, "out": folder / "run"}, {"dimension": 0}
    ),
    "audit.study_minima": Row(lambda folder: {"k": 3, "restarts": 2, "steps": 60, "out": folder / "run"}, {"k": 0}),
    "audit.study_overfitting": Row(
        lambda folder: {"fit": "nearest_neighbor", "sizes": [20], "repeats": 2, "out": folder / "run"}, {"repeats": 0}
    ),
    "audit.audit_queries": Row(queried, {"kernel": "none"}),
}
