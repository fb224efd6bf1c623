"""What an attack increases: per-sample functions of the logits that grow as the model is fooled.

    ce       cross-entropy of y; with a target t, minus that of t
    margin   max_{i != y} z_i - z_y;  z_t - z_y
    dlr      the margin divided by z_(1) - z_(3), with a target by z_(1) - (z_(3) + z_(4)) / 2 (arXiv 2003.01690)
    pm       the margin of the probabilities, max_{i != y} p_i - p_y (arXiv 2411.15210)

z_(k) are the logits in falling order. If only class t counts as success, y gives way to the largest class other than t.
"""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot, softmax

from vestige.attack.methods.oracle import Objective
from vestige.core.choices import ChoiceEnum


class AttackLoss(ChoiceEnum):
    """The objective of a gradient attack."""

    CE = "ce"
    MARGIN = "margin"
    DLR = "dlr"
    PM = "pm"


def usable_loss(loss: AttackLoss | str, classes: int, *, targeted: bool) -> tuple[AttackLoss, str | None]:
    """The loss, or the margin with a sentence saying why: DLR divides by the third (targeted: fourth) largest logit."""
    loss = AttackLoss(loss)
    needed = 4 if targeted else 3
    if loss is AttackLoss.DLR and classes < needed:
        kind = "targeted DLR" if targeted else "DLR"
        return (
            AttackLoss.MARGIN,
            f"{kind} needs {needed} classes, the model has {classes}; the margin was used instead.",
        )
    return loss, None


def best_other(values: Tensor, label: Tensor) -> Tensor:
    """Largest value of each row outside its label."""
    hidden = one_hot(label, values.shape[1]).bool()
    return values.masked_fill(hidden, -torch.inf).amax(1)


def value_at(values: Tensor, label: Tensor) -> Tensor:
    """The value of each row at its label."""
    return values.gather(1, label[:, None])[:, 0]


def objective(loss: AttackLoss, y: Tensor, target: Tensor | None = None, *, reach: bool = False) -> Objective:
    """The loss as a function of logits, to be maximized.

    Args:
        loss: which.
        y: true classes.
        target: classes to move to; None for any other.
        reach: the target itself must win, rather than any class other than y.
    """

    def difference(values: Tensor) -> Tensor:
        if target is None:
            return best_other(values, y) - value_at(values, y)
        return value_at(values, target) - (best_other(values, target) if reach else value_at(values, y))

    def value(logits: Tensor) -> Tensor:
        if loss is AttackLoss.CE:
            sign, label = (1, y) if target is None else (-1, target)
            return sign * cross_entropy(logits, label, reduction="none")
        if loss is AttackLoss.PM:
            return difference(softmax(logits, 1))
        if loss is AttackLoss.MARGIN:
            return difference(logits)
        top = logits.sort(1, descending=True).values
        spread = top[:, 0] - (top[:, 2] if target is None else (top[:, 2] + top[:, 3]) / 2)
        return difference(logits) / (spread + 1e-12)

    return value
