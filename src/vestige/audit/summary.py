"""Results as strict JSON: the numbers of each object, `null` where there is none."""

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from vestige.audit.target import Target
from vestige.core.residual import Stationarity
from vestige.core.theory import TheoryCheck
from vestige.data.dataset import DataSet
from vestige.reconstruct.result import Reconstruction
from vestige.reconstruct.scoring.score import ReconstructionScore
from vestige.report.verdict import unsaid, verdict

LONGEST_NAME = 80  # characters of a column


def number(value: float | int | Tensor | None) -> float | int | None:
    """A JSON number, or None for NaN and infinities."""
    if isinstance(value, Tensor):
        value = value.item()
    return value if value is None or isinstance(value, int) or math.isfinite(value) else None


def numbers(values: Tensor) -> list[Any]:
    """`number` of each entry."""
    return [number(value) for value in values.detach().flatten().tolist()]


def columns_of(data: DataSet | None, metadata: Mapping[str, str], input_shape: Sequence[int]) -> list[str]:
    """Names of the entries of a sample: those of the data, else what the model's file says; none where neither fits."""
    try:
        said = data.columns if data is not None and data.columns else json.loads(metadata.get("columns", "[]"))
    except (ValueError, RecursionError):
        said = []
    fits = isinstance(said, list | tuple) and list(input_shape) == [len(said)] and all(isinstance(n, str) for n in said)
    return [name[:LONGEST_NAME] for name in said] if fits else []


def model_summary(target: Target, data: DataSet | None = None) -> dict[str, Any]:
    """What was audited; the data, where there are any, name the entries of a sample."""
    space = target.shown_space
    return {
        "path": target.name,
        "sha256": target.loaded.sha256,
        "architecture": target.loaded.architecture,
        "parameters": target.parameters,
        "input_shape": list(target.input_shape),
        "columns": columns_of(data, target.loaded.metadata, target.input_shape),
        "outputs": target.outputs,
        "loss": str(target.loss),
        "loss_source": target.loss_source,
        "weight_decay": target.weight_decay,
        "space": {"low": number(space.low), "high": number(space.high)},
    }


def theory_summary(theory: TheoryCheck) -> dict[str, Any]:
    """Does the theory cover it, layer by layer."""
    return {
        "homogeneous": theory.homogeneous,
        "degree": theory.degree,
        "max_gap": number(theory.max_gap),
        "layers": [
            {
                "name": layer.name,
                "kind": layer.kind,
                "covered": layer.covered,
                "reason": layer.reason,
                "falls": ", ".join(layer.falls),
            }
            for layer in theory.layers
        ],
    }


def reconstruction_summary(found: Reconstruction, *, solver: str, seconds: float) -> dict[str, Any]:
    """What the attack found and what it cost."""
    residual = [value for value in numbers(found.residual) if value is not None]
    return {
        "outcome": str(found.outcome),
        "outcome_message": found.outcome.message,
        "solver": solver,
        "n_candidates": len(found.candidates) // max(1, len(found.residual)),
        "restarts": len(found.residual),
        "gradient_evaluations": found.gradient_evaluations,
        "seconds": seconds,
        "identifiable": found.identifiable,
        "directions": found.directions,
        "collapse": found.collapse,
        "doubt": found.doubt,
        "residual": numbers(found.residual),
        "residual_best": min(residual, default=None),
        "residual_per_layer": {name: number(value) for name, value in found.residual_per_layer.items()},
        "confidence": numbers(found.confidence),
        "support": found.support.tolist(),
        "spread": numbers(found.spread),
        "label": found.label.tolist(),
        "verified": found.verified.tolist(),
    }


def score_summary(score: ReconstructionScore, *, held_out: bool) -> dict[str, Any]:
    """What leaked, against the truth and against chance; `held_out`: whether unseen data set the threshold."""
    similarity = numbers(score.similarity)
    return {
        "n": len(similarity),
        "n_recovered": int(score.n_recovered),
        "candidates": score.n_candidates,
        "rate": score.false_positive_rate,
        "held_out": held_out,
        "metric": score.metric,
        "threshold": number(score.threshold),
        "similarity": similarity,
        "match": score.match.tolist(),
        "recovered": score.recovered.tolist(),
        "precision": number(score.precision),
        "median": number(score.similarity.median()),
        "max": number(score.similarity.max()),
        "ssim": None if score.ssim is None else numbers(score.ssim),
        "n_ssim": score.n_ssim,
        "ssim_null_rate": number(score.ssim_null_rate),
        "nulls": [
            {
                "name": null.name,
                "count": null.count,
                "n_recovered": null.n_recovered,
                "n_ssim": null.ssim_count,
                "median": number(null.median),
                "max": number(null.max),
            }
            for null in score.nulls
        ],
    }


def judged(results: Mapping[str, Any], warnings: Sequence[str]) -> dict[str, Any]:
    """The results of an audit with their verdict, and what else there is to know."""
    level, sentence = verdict(results)
    return {"verdict": sentence, "level": level, **results, "warnings": unsaid(warnings, sentence)}


def offer(file: str, data: str, recovered: Tensor, more: Sequence[str] = ()) -> str | None:
    """The command that takes out what leaked, with what was said of the model and of unseen data; None if nothing did.

    It runs as it is printed, from the folder in which the audit ran.
    """
    leaked, n = int(recovered.sum()), len(recovered)
    if not leaked:
        return None
    share = "leaked" if leaked < n else f"leaked:{max(1, n // 4)}"  # forgetting all would leave nothing
    return shlex.join(["vestige", "unlearn", file, "--data", data, "--forget", share, *more])


def stationarity_summary(points: Sequence[Stationarity]) -> dict[str, Any] | None:
    """How nearly the true samples satisfy the equation: with the plain derivative and, where there is one, the best."""
    if not points:
        return None
    plain, best = points[0], points[1] if len(points) > 1 else None
    return {
        "residual": number(plain.residual),
        "residual_per_layer": {name: number(value) for name, value in plain.residual_per_layer.items()},
        "residual_clarke": best and number(best.residual),
        "residual_clarke_per_layer": best and {name: number(v) for name, v in best.residual_per_layer.items()},
        "kink_fraction": plain.kink_fraction,
        "smallest_margin": None if plain.margins is None else number(plain.margins.min()),
        "support": int(plain.support.sum()),
    }
