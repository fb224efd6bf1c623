"""An unlearning audit as strict JSON: what leaked before and after, the certificate, and the comparison."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from vestige.audit.summary import number, numbers
from vestige.core.cite import citation
from vestige.reconstruct.result import Reconstruction
from vestige.reconstruct.scoring.score import ReconstructionScore
from vestige.unlearning.certificate import UnlearningCertificate
from vestige.unlearning.evaluate import Against, UnlearningReport
from vestige.unlearning.unlearned import Erasure, Unlearned

PHASES = ("before", "after", "retrained")
MEASURED = ("epsilon", "delta", "slack", "tau", "repaired", "smallest_margin")


@dataclass(frozen=True, eq=False, kw_only=True)
class Attacked:
    """One network, what was read back from it, how it scores, and the seconds that took."""

    model: nn.Module
    found: Reconstruction
    score: ReconstructionScore
    seconds: float


def unlearning_summary(
    erased: Unlearned,
    repair: int,
    attacks: Mapping[str, Attacked],
    report: UnlearningReport | None,
    kept: Tensor,
    seconds: tuple[float, float | None],
) -> dict[str, Any]:
    """Every number of it, without the model's own and the warnings."""
    leaks = {phase: _leak(attack, kept) for phase, attack in attacks.items()}
    return {
        "verdict": _verdict(erased, leaks, int((~kept).sum()), int(kept.sum())),
        "forgotten": erased.forgotten.tolist(),
        "outcome": str(erased.outcome),
        "outcome_message": erased.outcome.message,
        "multipliers": numbers(erased.multipliers),
        "residual": number(erased.residual),
        "shared": number(erased.shared),
        "nearest": erased.nearest.tolist(),
        "nearest_cosine": numbers(erased.nearest_cosine),
        "heuristic": list(erased.heuristic),
        "repair_steps": repair,
        "certificate": erased.certificate and _certificate(erased.certificate),
        "n_forgotten": int((~kept).sum()),
        "n_kept": int(kept.sum()),
        "attacks": leaks,
        "evaluation": report and _evaluation(report),
        "seconds": {"unlearning": seconds[0], "retraining": seconds[1]},
        "citations": citation(erased, attacks["before"].found, attacks["before"].score),
    }


def _leak(attack: Attacked, kept: Tensor) -> dict[str, Any]:
    score = attack.score
    return {
        "forgotten": int(score.recovered[~kept].sum()),
        "kept": int(score.recovered[kept].sum()),
        "threshold": number(score.threshold),
        "metric": score.metric,
        "similarity": numbers(score.similarity),
        "match": score.match.tolist(),
        "recovered": score.recovered.tolist(),
        "gradient_evaluations": attack.found.gradient_evaluations,
        "seconds": attack.seconds,
    }


def _certificate(found: UnlearningCertificate) -> dict[str, Any]:
    return {
        "verdict": found.verdict,
        "provable": found.provable,
        "harmful": found.harmful,
        **{
            name: number(getattr(found, name))
            for name in ("epsilon", "delta", "slack", "tau", "repaired", "smallest_margin")
        },
        "claims": [
            {
                "name": c.name,
                "bound": number(c.bound),
                "measured": number(c.measured),
                "holds": c.holds,
                "source": c.source,
            }
            for c in found.claims.claims
        ],
    }


def _evaluation(report: UnlearningReport) -> dict[str, Any]:
    compared = {
        name: {key: number(getattr(value, key)) for key in ("unlearned", "retrained", "untouched")}
        for name, value in vars(report).items()
        if isinstance(value, Against)
    }
    single = ("tug_of_war", "agreement", "forget_agreement", "weight_cosine", "cost")
    return {"compared": compared, "harmful": report.harmful, **{name: number(getattr(report, name)) for name in single}}


def _verdict(erased: Unlearned, leaks: dict[str, dict[str, Any]], forgotten: int, kept: int) -> str:
    before, after, retrained = (leaks.get(phase) for phase in PHASES)
    assert before is not None and after is not None
    if erased.outcome is Erasure.NOTHING_TO_DO:
        return erased.outcome.message
    harm = f" {erased.outcome.message}" if erased.outcome is not Erasure.ERASED else ""
    without, there = "", ""
    if retrained is not None:
        without = f" ({retrained['forgotten']} from a network retrained without them)"
        there = f" ({retrained['kept']} retrained)"
    return (
        f"Of {forgotten} forgotten samples the same attack recovered {before['forgotten']} before and "
        f"{after['forgotten']} after{without}; of {kept} kept ones {before['kept']} before and {after['kept']} "
        f"after{there}.{harm}"
    )
