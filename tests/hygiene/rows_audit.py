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


def graph_set(folder):
    path = folder / "set.txt"
    graphs = [f"{n} {n % 2}\n" + "".join(f"0 1 {v ^ 1}\n" for v in range(n)) for n in (2, 4, 6, 8, 2, 4)] * 3
    graphs = [g if i % 2 else g.replace(" 0\n", " 1\n", 1) for i, g in enumerate(graphs)]
    path.write_text(f"{len(graphs)}\n" + "".join(graphs))
    return {"data": path, "depths": [1], "out": folder / "run"}


def topic(folder):
    path = folder / "topic.csv"
    path.write_text("statement,label\n" + "".join(f"Sentence {i} is so.,{i % 2}\n" for i in range(20)))
    return path


def backbone():
    return lambda texts: torch.tensor([[float(len(t)), float(hash_of(t))] for t in texts])


def hash_of(text):
    return sum(map(ord, text)) % 7


def constructed(folder):
    vg.construct.save(vg.memorize(torch.eye(3), torch.arange(3)), folder / "net.safetensors")
    return {"path": folder / "net.safetensors", "out": folder / "run"}


ROWS = {
    "audit.audit": Row(job, {"solver": "none"}),
    "audit.audit_membership": Row(asked, {"loss": "none"}),
    "audit.audit_robustness": Row(attacked, {"eps": -1.0}),
    "audit.audit_unlearning": Row(lambda folder: job(folder, forget=[1], repair=3), {"forget": [9]}),
    "audit.study_neuron": Row(
        lambda folder: {"dimension": 3, "restarts": 2, "steps": 30, "out": folder / "run"}, {"dimension": 0}
    ),
    "audit.study_minima": Row(lambda folder: {"k": 3, "restarts": 2, "steps": 60, "out": folder / "run"}, {"k": 0}),
    "audit.study_overfitting": Row(
        lambda folder: {"fit": "nearest_neighbor", "sizes": [20], "repeats": 2, "out": folder / "run"}, {"repeats": 0}
    ),
    "audit.study_tokens": Row(lambda folder: graph_set(folder) | {"steps": 2, "repeats": 1}, {"data": "no such file"}),
    "audit.study_size_shift": Row(graph_set, {"small": 0.0}, steps=False),
    "audit.study_construction": Row(constructed, {"path": "no such file"}, steps=False),
    "audit.study_truth": Row(
        lambda folder: {"data": [topic(folder)], "backbone": "rows_audit:backbone", "out": folder / "run"}, {"data": []}
    ),
    "audit.audit_queries": Row(queried, {"kernel": "none"}),
}
