"""scikit-learn's MLPClassifier and MLPRegressor in a skops file: its numbers alone, no object of it is built.

The file is an archive of a tree in schema.json and of one .npy for each array. A perceptron's `coefs_` are (in, out).
"""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vestige.core.npy import npy_shape, read_npy
from vestige.nets.weights_file import CheckpointError, WeightsFile, check_finite, checked_digest

LARGEST_SCHEMA = 10 * 2**20
ACTIVATIONS = {"relu": "", "tanh": ":tanh"}
INSIDE = {  # estimators that hold a perceptron
    "Pipeline": "Dump its last step; the mean_ of a StandardScaler before it is --mean, its scale_ is --std",
    **dict.fromkeys(("GridSearchCV", "RandomizedSearchCV"), "Dump its best_estimator_"),
}


def read_skops(path: Path, *, max_bytes: int, sha256: str | None = None) -> WeightsFile:
    """Read a multi-layer perceptron.

    Args:
        path: the file.
        max_bytes: refuse what unpacks to more.
        sha256: expected digest of the file.

    Raises:
        CheckpointError: another estimator, an activation that the grammar lacks, or a damaged file.
    """
    digest = checked_digest(path, sha256)
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("schema.json").file_size > LARGEST_SCHEMA:
                raise ValueError("its schema is too large")
            tree = json.loads(archive.read("schema.json"))
            kind = str(tree["__class__"])
            if kind not in ("MLPClassifier", "MLPRegressor"):
                raise CheckpointError(
                    f"{path} holds a {kind[:80]}; MLPClassifier and MLPRegressor of scikit-learn are read. "
                    + INSIDE.get(kind, "A kernel machine is audited by --kernel")
                )
            fields = tree["content"]["content"]
            if "coefs_" not in fields:
                raise CheckpointError(f"{path} holds a {kind} that was not fitted")
            layers = [_arrays(archive, fields[name], max_bytes) for name in ("coefs_", "intercepts_")]
            activation, last = (_word(fields, name) for name in ("activation", "out_activation_"))
    except CheckpointError:
        raise
    except Exception as error:  # zipfile, json and numpy each raise their own kinds on damaged bytes
        raise CheckpointError(f"{path} is not a fitted perceptron in a skops file ({error!r:.200})") from error
    if activation not in ACTIVATIONS or len(layers[0]) != len(layers[1]):
        raise CheckpointError(f"{path} computes with {activation!r:.80}; {' and '.join(ACTIVATIONS)} are read")
    usual = "identity" if kind == "MLPRegressor" else "logistic" if len(layers[1][-1]) == 1 else "softmax"
    if last not in (None, usual):
        said = (
            "several labels for each sample, each with a sigmoid"
            if last == "logistic"
            else f"outputs under {last!r:.80}"
        )
        raise CheckpointError(
            f"{path} holds a {kind} with {said}; one class, or plain numbers, for each sample is read"
        )
    return _weights(path, layers, ACTIVATIONS[activation], kind, digest)


def _word(fields: Mapping[str, Any], name: str) -> str | None:
    """A field of text; None where the file has none."""
    return json.loads(fields[name]["content"]) if name in fields else None


def _arrays(archive: zipfile.ZipFile, node: Mapping[str, Any], max_bytes: int) -> list[np.ndarray]:
    """The arrays of a list."""
    members = [archive.getinfo(str(item["file"])) for item in node["content"]]
    if sum(member.file_size for member in members) > max_bytes:
        raise ValueError(f"it unpacks to more than {max_bytes:,} bytes")
    for member in members:
        with archive.open(member) as stream:
            npy_shape(stream, member.file_size)
    return [read_npy(archive.open(member)) for member in members]


def _weights(path: Path, layers: list[list[np.ndarray]], activation: str, kind: str, digest: str) -> WeightsFile:
    tensors = {}
    for k, (coef, intercept) in enumerate(zip(*layers, strict=True)):
        if coef.ndim != 2 or intercept.shape != coef.shape[1:] or coef.dtype.kind != "f":
            raise CheckpointError(f"{path}: layer {k} has weights {coef.shape} and biases {intercept.shape}")
        tensors[f"{k}.weight"] = torch.tensor(np.ascontiguousarray(coef.T))
        tensors[f"{k}.bias"] = torch.tensor(intercept)
    check_finite(path, tensors)
    widths = [layers[0][0].shape[0], *(coef.shape[1] for coef in layers[0])]
    said = f"a {kind} of scikit-learn; its alpha penalizes weights, not biases, and is no weight_decay"
    text = f"mlp:{'-'.join(map(str, widths))}{activation}:bias=all"
    loss = {} if kind == "MLPClassifier" else {"loss": "mse"}
    return WeightsFile(tensors, {"architecture": text, **loss}, digest, notes=(said,))
