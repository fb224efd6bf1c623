"""How well scores tell members from others where false alarms are rare, with what chance and few samples leave open."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.stats import beta, binom, norm
from torch import Tensor


@dataclass(frozen=True)
class Rate:
    """Share of members above the threshold that `false` of the others pass, with its interval."""

    false: float
    true: float
    low: float
    high: float


@dataclass(frozen=True, eq=False, kw_only=True)
class MembershipCurve:
    """A receiver operating characteristic.

    Attributes:
        false_rate: from 0 to 1.
        true_rate: the members above the same threshold.
        rates: at the false positive rates that were asked for.
        auc: P(a member's score is above another's), ties counting half.
        auc_interval: its interval.
        members: how many.
        others: how many.
        nulls: the curve of each null, whose rates must be those of chance.
        warnings: what the reader should know.
    """

    false_rate: Float[Tensor, " k"]
    true_rate: Float[Tensor, " k"]
    rates: tuple[Rate, ...]
    auc: float
    auc_interval: tuple[float, float]
    members: int
    others: int
    nulls: "dict[str, MembershipCurve]"
    warnings: tuple[str, ...]

    def at(self, false: float) -> Rate:
        """The rate at one of the false positive rates that were asked for.

        Raises:
            ValueError: another one.
        """
        for rate in self.rates:
            if rate.false == false:
                return rate
        raise ValueError(f"false={false} given; this curve has {[rate.false for rate in self.rates]}.")


def evaluate_membership(
    scores: Float[Tensor, " n"],
    member: Bool[Tensor, " n"],
    *,
    rates: Sequence[float] = (0.01, 0.001),
    level: float = 0.95,
    nulls: Mapping[str, Float[Tensor, " n"]] | None = None,
) -> MembershipCurve:
    """Compare scores with the truth.

    The threshold at a false positive rate comes from finitely many others. Its order statistics bracket the true one
    with probability 1 - a / 2, and Clopper and Pearson's limits the members above either end, so that an interval holds
    both uncertainties at level 1 - a.

    Args:
        scores: larger speaks for a member.
        member: which of them the network was trained on.
        rates: false positive rates, each in (0, 1).
        level: of the intervals, in (0, 1).
        nulls: scores of the same samples that must be at chance, such as an untrained network's.

    Raises:
        ValueError: scores that are not finite, no members or no others, options out of range.

    >>> scores, member = torch.tensor([3.0, 2.0, 1.0, 0.0]), torch.tensor([True, True, False, False])
    >>> evaluate_membership(scores, member, rates=(0.5,)).auc
    1.0
    """
    if not (all(0 < rate < 1 for rate in rates) and 0 < level < 1):
        raise ValueError(f"rates={tuple(rates)} and level={level} given; all must be in (0, 1).")
    bad = int((~torch.isfinite(scores)).sum())
    if bad:
        raise ValueError(f"{bad} of {len(scores)} scores are NaN or infinite; a method that fails there has no curve.")
    ours, others = (np.sort(scores[side.to(scores.device)].double().numpy(force=True)) for side in (member, ~member))
    if min(len(ours), len(others)) == 0:
        raise ValueError(f"{len(ours)} members and {len(others)} others given; a curve needs both.")
    auc, interval = _auc(ours, others, level)
    steps = np.unique(np.concatenate([ours, others]))[::-1]
    false, true = (np.concatenate([[0.0], _above(side, steps, equal=True)]) for side in (others, ours))
    needed = [rate for rate in rates if rate * len(others) < 1]
    notes = [
        f"{len(others)} others do not reach a false positive rate of {rate:g}; it is that of no false alarm."
        for rate in needed
    ]
    return MembershipCurve(
        false_rate=torch.from_numpy(false),
        true_rate=torch.from_numpy(true),
        rates=tuple(_rate(ours, others, rate, level) for rate in rates),
        auc=auc,
        auc_interval=interval,
        members=len(ours),
        others=len(others),
        nulls={k: evaluate_membership(s, member, rates=rates, level=level) for k, s in (nulls or {}).items()},
        warnings=tuple(notes),
    )


def _above(ordered: np.ndarray, threshold: np.ndarray, *, equal: bool = False) -> np.ndarray:
    return 1 - np.searchsorted(ordered, threshold, side="left" if equal else "right") / len(ordered)


def _rate(ours: np.ndarray, others: np.ndarray, false: float, level: float) -> Rate:
    m, tail, largest = len(others), (1 - level) / 4, others[::-1]
    # As many others lie above the true threshold as a binomial draws: it is between two of their scores.
    few, many = int(binom.ppf(tail, m, false)), int(binom.ppf(1 - tail, m, false))
    strict = int(np.sum(ours > largest[few - 1])) if few >= 1 else 0
    loose = int(np.sum(ours > largest[many])) if many < m else len(ours)
    low = float(beta.ppf(tail, strict, len(ours) - strict + 1)) if strict else 0.0
    high = float(beta.ppf(1 - tail, loose + 1, len(ours) - loose)) if loose < len(ours) else 1.0
    return Rate(false, float(np.mean(ours > largest[int(false * m)])), low, high)


def _auc(ours: np.ndarray, others: np.ndarray, level: float) -> tuple[float, tuple[float, float]]:
    """DeLong's variance: that of each side's placement among the other."""
    over = (np.searchsorted(others, ours, "left") + np.searchsorted(others, ours, "right")) / (2 * len(others))
    under = 1 - (np.searchsorted(ours, others, "left") + np.searchsorted(ours, others, "right")) / (2 * len(ours))
    auc = float(over.mean())
    spread = sum(np.var(side, ddof=1) / len(side) if len(side) > 1 else 1.0 for side in (over, under))
    reach = float(norm.ppf((1 + level) / 2) * np.sqrt(spread))
    return auc, (max(0.0, auc - reach), min(1.0, auc + reach))
