"""RedEx as a job: fit a classifier of quadratic layers on part of a data set, score it on the rest, keep the layers."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from sklearn.exceptions import ConvergenceWarning

from vestige.convex.redex.estimators import RedExClassifier
from vestige.core.rng import child
from vestige.data.dataset import DataSet
from vestige.nets.checkpoint import write_tensors

GAP = 0.01  # relative, proved; accuracy does not change below it


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedRedEx:
    """What a fit showed.

    Attributes:
        estimator: fitted.
        accuracy: on the samples of the fit.
        held_out_accuracy: on the rest.
        gaps: proved relative gap of each layer.
        rows: of each extractor.
        warnings: of the solvers.
    """

    estimator: RedExClassifier
    accuracy: float
    held_out_accuracy: float
    gaps: tuple[float, ...]
    rows: tuple[int, ...]
    warnings: tuple[str, ...]


def fit_redex(
    dataset: DataSet,
    *,
    layers: int = 1,
    ridge: float = 1e-3,
    trace_penalty: float = 0.0,
    solver: str = "auto",
    seed: int = 0,
) -> FittedRedEx:
    """Fit on three quarters of the samples, with inputs scaled to mean squared norm 1 about their mean.

    Args:
        dataset: with two classes or more.
        layers: of RedEx.
        ridge: l_2.
        trace_penalty: l_1.
        solver: as `vestige.convex.RedExClassifier`.
        seed: of the split.

    Raises:
        ValueError: as `vestige.convex.RedExClassifier`.
    """
    x, order = dataset.x.flatten(1).double(), torch.randperm(len(dataset), generator=child(seed, "redex"))
    kept, rest = order[: len(x) * 3 // 4], order[len(x) * 3 // 4 :]
    x = x - x[kept].mean(0)
    x = x / x[kept].square().sum(1).mean().sqrt().clamp_min(1e-300)
    found = RedExClassifier(layers, ridge=ridge, trace_penalty=trace_penalty, solver=solver, gap=GAP)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the result says it
        found.fit(x[kept].numpy(), dataset.y[kept].numpy())
    return FittedRedEx(
        estimator=found,
        accuracy=float(found.score(x[kept].numpy(), dataset.y[kept].numpy())),
        held_out_accuracy=float(found.score(x[rest].numpy(), dataset.y[rest].numpy())),
        gaps=tuple(s.gap for s in found.solutions_),
        rows=tuple(len(layer.v) for layer in found.layers_),
        warnings=tuple(w for s in found.solutions_ for w in s.warnings),
    )


def save_redex(found: FittedRedEx, path: Path) -> None:
    """The matrices of each layer as safetensors: `layer.1.v`, `layer.1.p`."""
    layers = enumerate(found.estimator.layers_, 1)
    tensors = {
        f"layer.{i}.{name}": t.contiguous() for i, layer in layers for name, t in (("v", layer.v), ("p", layer.p))
    }
    write_tensors(path, tensors, {"format": "redex", "constant": repr(float(found.estimator.constant))})
