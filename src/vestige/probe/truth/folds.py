"""Scores of a probe on groups that it was not fitted on."""

from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold

FOLDS = 5


def held_out_auc(probe: Any, x: Any, y: np.ndarray, groups: Any) -> float:
    """AUC of the scores of all rows, each from a fit on four fifths of the groups without its own.

    Args:
        probe: an estimator with `decision_function`.
        x: rows, dense or sparse.
        y: labels of two classes.
        groups: of each row; at least five.
    """
    score = np.zeros(len(y))
    for train, test in GroupKFold(FOLDS).split(x, y, groups):
        score[test] = probe.fit(x[train], y[train]).decision_function(x[test])
    return float(roc_auc_score(y, score))
