"""Scores of classifiers where classes are uneven: a constant answer must not look good."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from sklearn.metrics import balanced_accuracy_score, matthews_corrcoef, roc_auc_score
from torch import Tensor


@dataclass(frozen=True)
class ClassScores:
    """Of one classifier on one set.

    Attributes:
        accuracy: share of right answers.
        balanced: mean share of right answers over the classes; a constant answer has 1 / classes.
        mcc: Matthews correlation; a constant answer has 0.
        constant: accuracy of always answering the most frequent class of this set.
        auc: area under the ROC curve, for two classes; else None.
    """

    accuracy: float
    balanced: float
    mcc: float
    constant: float
    auc: float | None


def class_scores(logits: Float[Tensor, "n classes"], y: Int[Tensor, " n"]) -> ClassScores:
    """Accuracy beside what a constant answer cannot reach.

    Raises:
        ValueError: all labels are of one class.

    >>> found = class_scores(torch.eye(2)[[0, 0, 0, 0]], torch.tensor([0, 0, 0, 1]))
    >>> found.accuracy, found.balanced, found.mcc, found.constant
    (0.75, 0.5, 0.0, 0.75)
    """
    counts = torch.bincount(y)
    if int((counts > 0).sum()) < 2:
        raise ValueError(
            f"{len(y)} labels of one class given; nothing about telling classes apart follows. Take a set with both."
        )
    guess, truth = logits.argmax(1).numpy(force=True), y.numpy(force=True)
    auc = float(roc_auc_score(truth, (logits[:, 1] - logits[:, 0]).numpy(force=True))) if logits.shape[1] == 2 else None
    return ClassScores(
        accuracy=float((guess == truth).mean()),
        balanced=float(balanced_accuracy_score(truth, guess)),
        mcc=float(matthews_corrcoef(truth, guess)),
        constant=float(counts.max()) / len(y),
        auc=auc,
    )
