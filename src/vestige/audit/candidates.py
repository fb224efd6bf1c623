"""The audit's question of membership: which of these samples the network holds, beside what chance names."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from scipy.stats import ks_2samp
from torch import Tensor, nn

from vestige.audit.summary import number
from vestige.audit.target import Target
from vestige.audit.truth import Truth
from vestige.core.outcome import OnStep
from vestige.core.rng import child
from vestige.data.dataset import DataSet
from vestige.membership.blind import CLEAR
from vestige.membership.calibration import q_values
from vestige.membership.curve import MembershipCurve, evaluate_membership
from vestige.membership.nulls import membership_nulls
from vestige.membership.scores import Membership, membership_scores
from vestige.membership.thresholds import threshold_scores
from vestige.reconstruct.scoring.untrained import untrained_like
from vestige.report.verdict import membership_verdict

LARGEST = 2_000  # training samples asked for in an audit, so that it takes seconds for them
RATE, SHOWN = 0.05, 24  # false discovery rate at which a sample is named, and how many are shown
GRID = tuple(10 ** (-3 + k / 4) for k in range(12))  # false positive rates of the curve

Section = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Asked:
    """Candidates and reference in data space; `member` where the truth is known, `position` in the data given."""

    candidates: DataSet
    reference: DataSet | None
    member: Tensor | None
    position: Tensor


def asked_of(truth: Truth, seed: int, always: Tensor | None = None) -> Asked | None:
    """Training samples beside half of the unseen ones as candidates, the other half as reference; None without any.

    Args:
        truth: training samples and unseen ones.
        seed: draws them where there are too many.
        always: positions of training samples that are asked for in any case.
    """
    unseen = truth.held_out
    if unseen is None or len(unseen) < 4:
        return None
    chosen = torch.randperm(len(truth.train), generator=child(seed, "membership", "train"))[:LARGEST]
    chosen = torch.cat([chosen, chosen[:0] if always is None else always.cpu()]).unique()
    others, rest = torch.randperm(len(unseen), generator=child(seed, "membership", "unseen")).tensor_split(2)
    x = torch.cat([truth.train.x[chosen], unseen.x[others].reshape(-1, *truth.train.shape)])
    y = torch.cat([truth.train.y[chosen], unseen.y[others]])
    position = torch.cat([chosen, torch.full_like(others, -1)])
    candidates = replace(truth.train, x=x, y=y, provenance="")
    return Asked(candidates, unseen.take(rest), position >= 0, position)


def membership_section(
    target: Target, asked: Asked, *, base: nn.Module | None = None, seed: int, on_step: OnStep | None
) -> tuple[Section, Membership | None]:
    """Scores, the curve where the truth is known, the samples held most surely, nulls and a verdict.

    Args:
        target: the network.
        asked: about what.
        base: what it was fine-tuned from.
        seed: of the job.
        on_step: progress.

    Returns:
        The section as plain values, and the scores; only a reason where the method refuses.
    """
    begun = time.perf_counter()
    like = next(target.model.parameters())
    x, y = target.inputs(asked.candidates.x).to(like), asked.candidates.y.to(like.device)
    unseen = asked.reference
    reference = None if unseen is None else (target.inputs(unseen.x).to(like), unseen.y.to(like.device))
    draw = child(seed, "membership")
    try:
        found = membership_scores(
            target.model, x, y, loss=target.loss, reference=reference, base=base, generator=draw, on_step=on_step
        )
    except ValueError as error:  # a network or data that it refuses do not end an audit
        return {"reason": str(error)}, None
    seconds = time.perf_counter() - begun
    nulls = [] if reference is None or len(reference[0]) < 4 else _nulls(target, (x, y), reference, draw, on_step)
    curve = None if asked.member is None else _curve(target, found, x, y, asked.member)
    section = {
        "n": len(x),
        "n_reference": None if reference is None else len(reference[0]),
        "layers": {name: number(weight) for name, weight in found.weights.items()},
        "outcome": found.outcome,
        "rate": RATE,
        "n_held": None if found.q_values is None else len(found.held(RATE)),
        "held": _surest(found, asked),
        "curve": curve,
        "nulls": nulls,
        "blind_auc": None if found.blind_auc is None else number(found.blind_auc),
        "differs": found.blind_errors is not None and found.blind_errors > CLEAR,
        "seconds": seconds,
        "warnings": list(found.warnings),
    }
    level, sentence = membership_verdict(section)
    return {"level": level, "verdict": sentence, **section}, found


def forgotten_members(
    target: Target, truth: Truth, networks: Mapping[str, nn.Module], forgotten: Tensor, *, seed: int
) -> dict[str, Section] | None:
    """What the weights of several networks say of the same forgotten samples; None without unseen samples.

    Args:
        target: says how inputs are read, and the loss.
        truth: training samples and unseen ones.
        networks: by name.
        forgotten: positions among the training samples.
        seed: of the job.
    """
    asked = asked_of(truth, seed, forgotten)
    if asked is None or asked.reference is None:
        return None
    like, rows = next(target.model.parameters()), torch.isin(asked.position, forgotten.cpu())
    x, unseen = (target.inputs(part.x).to(like) for part in (asked.candidates, asked.reference))
    found = {}
    for name, network in networks.items():
        try:
            scores = membership_scores(
                network, x, asked.candidates.y, loss=target.loss, reference=(unseen, asked.reference.y),
                generator=child(seed, "membership"),
            )  # fmt: skip
        except ValueError as error:
            return {name: {"reason": str(error)}}
        assert scores.p_values is not None
        p = scores.p_values[rows.to(like.device)]
        named = int((q_values(p) <= RATE).sum())  # among the forgotten, who were chosen without their scores
        found[name] = {"named": named, "n": len(p), "median_p": number(p.median()), "rate": RATE}
    return found


def held_samples(target: Target, asked: Asked, section: Section) -> Tensor:
    """The samples of the highest scores, in data space, in the order of the section."""
    rows = torch.tensor([each["row"] for each in section["held"]])
    return asked.candidates.x[rows].reshape(-1, *target.input_shape)


def _surest(found: Membership, asked: Asked) -> list[Section]:
    """The highest scores, the highest first."""
    rows = found.scores.argsort(descending=True)[:SHOWN].tolist()

    def of(values: Tensor | None, row: int) -> Any:
        return None if values is None else number(values[row])

    return [
        {
            "row": row,
            "position": int(asked.position[row]),
            "score": of(found.scores, row),
            "p_value": of(found.p_values, row),
            "q_value": of(found.q_values, row),
            "member": None if asked.member is None else bool(asked.member[row]),
        }
        for row in rows
    ]


def _curve(target: Target, found: Membership, x: Tensor, y: Tensor, member: Tensor) -> Section:
    rates = (0.01, 0.001, *GRID)
    ours = evaluate_membership(found.scores.cpu(), member, rates=rates)
    losses = evaluate_membership(threshold_scores(target.model, x, y, loss=target.loss).cpu(), member, rates=rates)
    return {
        "members": ours.members,
        "others": ours.others,
        "false": list(GRID),
        **{name: _plain(curve) for name, curve in (("weights", ours), ("loss", losses))},
        "warnings": list(ours.warnings),
    }


def _plain(curve: MembershipCurve) -> Section:
    return {
        "auc": curve.auc,
        "auc_interval": list(curve.auc_interval),
        "rates": [vars(rate) for rate in curve.rates[:2]],
        "true": [rate.true for rate in curve.rates[2:]],
    }


def _nulls(
    target: Target,
    data: tuple[Tensor, Tensor],
    reference: tuple[Tensor, Tensor],
    draw: torch.Generator,
    on_step: OnStep | None,
) -> list[Section]:
    """Each with a Kolmogorov-Smirnov test of its candidates' scores against its reference's."""
    x, y = (part[:LARGEST] for part in data)
    twin = untrained_like(target.model, generator=draw)
    found = membership_nulls(
        target.model, x, y, loss=target.loss, reference=reference, untrained=twin, generator=draw, on_step=on_step
    )
    names = {"untrained": "an untrained network", "unseen": "unseen samples as candidates", "shuffled": "wrong labels"}
    return [
        {
            "name": names[key],
            "n": len(null.scores),
            "n_held": len(null.held(RATE)),
            "small": number((null.p_values <= RATE).double().mean()) if null.p_values is not None else None,
            "uniform": _same(null),
            "must": key != "shuffled",  # wrong labels may push members below the others
        }
        for key, null in found.items()
    ]


def _same(null: Membership) -> float | None:
    if null.reference_scores is None:
        return None
    held, reference = null.scores.numpy(force=True), null.reference_scores.numpy(force=True)
    _, p = map(float, ks_2samp(held, reference, method="asymp"))  # the exact one overflows at some hundreds of samples
    return p if math.isfinite(p) else None
