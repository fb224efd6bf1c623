"""Kernel machines in a file that runs no code: scores can be asked for as if the model stood behind an API.

A safetensors file with `support_vectors` (n, d), `dual_coef` (n, C) and `intercept` (C,), and the kernel as text in its
metadata. The attack is given `predict` only; what the file holds beside it is never looked at.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vestige.core.space import InputSpace
from vestige.nets.checkpoint import write_tensors
from vestige.nets.loaded import LoadedModel
from vestige.nets.weights_file import CheckpointError, read_weights
from vestige.reconstruct.kernels.black_box import Scores
from vestige.reconstruct.kernels.functions import Gaussian, Kernel, parse_kernel, squared_distances

FORMAT = "vestige-kernel-1"
PARTS = ("support_vectors", "dual_coef", "intercept")


@dataclass(frozen=True, eq=False, kw_only=True)
class KernelModel:
    """A kernel machine that answers, and what its maker wrote beside it.

    Attributes:
        predict: from (m, d) to (m, C), in float64.
        kernel: as text, for `parse_kernel`.
        scores: what the answers are.
        n_features: d.
        outputs: C.
        input_shape: of one input before it was flattened.
        space: from data to the model's inputs; None where the file does not say.
        metadata: untrusted text.
        sha256: of the file.
        numbers: how many the file holds.
    """

    predict: Callable[[Any], Tensor]
    kernel: str
    scores: Scores
    n_features: int
    outputs: int
    input_shape: tuple[int, ...]
    space: InputSpace | None
    metadata: dict[str, str]
    sha256: str
    numbers: int


def save_kernel_model(
    estimator: Any,
    path: Path | str,
    *,
    input_shape: tuple[int, ...] | None = None,
    space: InputSpace | None = None,
) -> None:
    """Write a fitted scikit-learn estimator so that `load_kernel_model` answers with the same scores.

    Args:
        estimator: KernelRidge or SVC with kernel "rbf" or "poly", KernelDensity with a Gaussian kernel (scores are the
            logarithms of densities), GaussianProcessRegressor with a fixed scale times one isotropic RBF.
        path: of the safetensors file.
        input_shape: of one input before it was flattened, such as (3, 32, 32).
        space: from data to the estimator's inputs: x = (data - mean) / std.

    Raises:
        ValueError: another estimator or kernel, or one that is not fitted.
    """
    try:
        points, weight, bias, kernel, scores = _parts(estimator)
    except AttributeError as error:
        kind = type(estimator).__name__
        raise ValueError(f"{kind} is not fitted, or of a kind that cannot be written ({error}).") from error
    tensors = {"support_vectors": points, "dual_coef": weight, "intercept": bias}
    metadata = {"format": FORMAT, "kernel": kernel, "scores": str(scores)}
    if input_shape is not None:
        metadata["input_shape"] = json.dumps(list(input_shape))
    if space is not None:
        metadata["space"] = json.dumps({"low": float(space.low), "high": float(space.high)})
        tensors |= {name: torch.as_tensor(getattr(space, name), dtype=torch.float64) for name in ("mean", "std")}
    write_tensors(Path(path), {name: t.double().contiguous() for name, t in tensors.items()}, metadata)


def load_kernel_model(path: Path | str) -> KernelModel:
    """Read a file that `save_kernel_model` wrote; nothing in it is run.

    Raises:
        CheckpointError: another file, or parts that do not fit together.
    """
    stored = read_weights(Path(path))
    if stored.metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is not a kernel model; vestige.kernels.save_kernel_model writes one from scikit-learn."
        )
    parts = [stored.tensors.get(name) for name in PARTS]
    points, weight, bias = (torch.empty(0) if part is None else part.double() for part in parts)
    if points.ndim != 2 or weight.shape != (len(points), bias.numel()) or bias.ndim != 1 or not weight.numel():
        shapes = [None if part is None else tuple(part.shape) for part in parts]
        raise CheckpointError(f"{path}: {', '.join(PARTS)} have shapes {shapes}; (n, d), (n, C), (C,) are needed.")
    kernel, scores = parse_kernel(stored.metadata.get("kernel", "")), Scores(stored.metadata.get("scores", "raw"))
    beside = {name: stored.tensors[name] for name in ("mean", "std") if name in stored.tensors}
    known = LoadedModel(torch.nn.Identity(), "", stored.metadata, stored.sha256, beside)
    return KernelModel(
        predict=_scorer(kernel, points, weight, bias, scores),
        kernel=stored.metadata["kernel"],
        scores=scores,
        n_features=points.shape[1],
        outputs=len(bias),
        input_shape=known.input_shape or (points.shape[1],),
        space=known.space,
        metadata=stored.metadata,
        sha256=stored.sha256,
        numbers=sum(part.numel() for part in stored.tensors.values()),
    )


def _scorer(kernel: Kernel, points: Tensor, weight: Tensor, bias: Tensor, scores: Scores) -> Callable[[Any], Tensor]:
    def predict(z: Any) -> Tensor:
        queries = torch.as_tensor(z).double()
        if scores is Scores.LOG and isinstance(kernel, Gaussian):  # summed as logarithms: far away all terms underflow
            exponent = -kernel.decay * squared_distances(queries, points)
            return torch.logsumexp(exponent[..., None] + weight.log(), 1)
        return kernel(queries, points) @ weight + bias

    return predict


def _parts(estimator: Any) -> tuple[Tensor, Tensor, Tensor, str, Scores]:
    name = type(estimator).__name__
    if name not in _READERS:
        raise ValueError(f"a {name} given; allowed are fitted estimators of {', '.join(_READERS)}.")
    return _READERS[name](estimator)


def _tensor(values: Any) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float64)


def _kernel_text(estimator: Any, gamma: float) -> str:
    if estimator.kernel == "rbf":
        return f"rbf:gamma={float(gamma)!r}"
    if estimator.kernel == "poly":
        return f"poly:gamma={float(gamma)!r},coef0={float(estimator.coef0)!r},degree={int(estimator.degree)}"
    raise ValueError(f"kernel={estimator.kernel!r} of {type(estimator).__name__}; allowed are 'rbf' and 'poly'.")


def _ridge(estimator: Any) -> tuple[Tensor, Tensor, Tensor, str, Scores]:
    points, weight = _tensor(estimator.X_fit_), _tensor(estimator.dual_coef_)
    weight = weight.reshape(len(points), -1)
    gamma = 1 / points.shape[1] if estimator.gamma is None else estimator.gamma
    return points, weight, weight.new_zeros(weight.shape[1]), _kernel_text(estimator, gamma), Scores.RAW


def _svc(estimator: Any) -> tuple[Tensor, Tensor, Tensor, str, Scores]:
    """One column for each pair of classes, as decision_function_shape="ovo" answers."""
    points, dual = _tensor(estimator.support_vectors_), _tensor(estimator.dual_coef_)
    count = len(estimator.classes_)
    owner = torch.repeat_interleave(torch.arange(count), torch.as_tensor(estimator.n_support_))
    columns = []
    for i in range(count):
        for j in range(i + 1, count):
            column = torch.zeros(len(points), dtype=torch.float64)
            column[owner == i] = dual[j - 1, owner == i]
            column[owner == j] = dual[i, owner == j]
            columns.append(column)
    text = _kernel_text(estimator, estimator._gamma)
    return points, torch.stack(columns, 1), _tensor(estimator.intercept_), text, Scores.RAW


def _density(estimator: Any) -> tuple[Tensor, Tensor, Tensor, str, Scores]:
    if estimator.kernel != "gaussian" or estimator.metric != "euclidean":
        raise ValueError(f"kernel={estimator.kernel!r}, metric={estimator.metric!r}; allowed is a Gaussian density.")
    points, width = _tensor(estimator.tree_.data), float(estimator.bandwidth_)
    weights = estimator.tree_.sample_weight
    share = torch.ones(len(points), 1, dtype=torch.float64) if weights is None else _tensor(weights)[:, None]
    # The density's constant is left out of the weights: (2 pi h^2)^(-d/2) leaves the range of floats. It shifts logs.
    text = f"rbf:gamma={1 / (2 * width**2)!r}"
    return points, share / share.sum(), torch.zeros(1, dtype=torch.float64), text, Scores.LOG


def _process(estimator: Any) -> tuple[Tensor, Tensor, Tensor, str, Scores]:
    given = estimator.kernel_.get_params()
    length = [v for k, v in given.items() if k.endswith("length_scale")]
    factor = [v for k, v in given.items() if k.endswith("constant_value")]
    kinds = {type(v).__name__ for k, v in given.items() if k in ("k1", "k2")} or {type(estimator.kernel_).__name__}
    if not kinds <= {"RBF", "ConstantKernel"} or len(length) != 1 or not math.isfinite(sum(map(float, length))):
        raise ValueError(f"the kernel {estimator.kernel_} given; allowed is a constant times one isotropic RBF.")
    points, weight = _tensor(estimator.X_train_), _tensor(estimator.alpha_)
    scale, middle = _tensor(estimator._y_train_std).reshape(-1), _tensor(estimator._y_train_mean).reshape(-1)
    weight = weight.reshape(len(points), -1) * scale * (float(factor[0]) if factor else 1.0)
    text = f"rbf:gamma={1 / (2 * float(length[0]) ** 2)!r}"
    return points, weight, middle.expand(weight.shape[1]).clone(), text, Scores.RAW


_READERS = {"KernelRidge": _ridge, "SVC": _svc, "KernelDensity": _density, "GaussianProcessRegressor": _process}
