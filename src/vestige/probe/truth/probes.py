"""Linear probes for truth, as scikit-learn estimators, and how they do on topics that they were not fitted on.

The three of Marks and Tegmark: the difference of means, logistic regression, and contrast-consistent search, which sees
no labels. Activations are centered, so no probe has an intercept; a topic is centered by its own mean, without labels.
"""

from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from vestige.core.choices import ChoiceEnum
from vestige.core.descent import Descent, fit
from vestige.core.rng import child

TRIALS, STEPS = 10, 500  # of contrast-consistent search


class ProbeKind(ChoiceEnum):
    """How the direction is found."""

    MASS_MEAN = "mass_mean"
    LOGISTIC = "logistic"
    CCS = "ccs"


class TruthProbe(ClassifierMixin, BaseEstimator):
    """A direction w; a statement counts as true where w . (x - mean) > 0.

    mass_mean: w = mean of the true - mean of the false, times the pseudo-inverse of the covariance within classes if
    `whiten`. logistic: l2-regularized. ccs: minimizes (p(x+) - 1 + p(x-))^2 + min(p(x+), p(x-))^2 over pairs of
    opposite statements; labels only say which end is true.

    Args:
        kind: "mass_mean", "logistic" or "ccs".
        whiten: for mass_mean.
        regularization: weight of |w|^2 / 2 beside the sum of the logistic losses, on activations of unit variance.

    >>> x = np.array([[1.0, 0.0], [1.2, 1.0], [-1.0, 0.0], [-1.2, 1.0]])
    >>> TruthProbe().fit(x, [1, 1, 0, 0]).direction_.tolist()
    [2.2, 0.0]
    """

    def __init__(self, kind: str = "mass_mean", *, whiten: bool = False, regularization: float = 1.0):
        self.kind = kind
        self.whiten = whiten
        self.regularization = regularization

    def fit(self, X, y, pairs=None):
        """Find the direction.

        Args:
            X: activations (n, d).
            y: two classes; the larger is true.
            pairs: positions (m, 2) of a statement and its opposite, for ccs; either of the two may be the true one.

        Raises:
            ValueError: one class, no pairs for ccs or a side of one class, or anything that scikit-learn refuses.
        """
        kind = ProbeKind(self.kind)
        checked: Any = validate_data(self, X, y, dtype=np.float64)
        X, y = checked
        self.classes_ = np.unique(y)
        if len(self.classes_) != 2:
            raise ValueError(f"labels of {len(self.classes_)} class given; a probe needs true and false statements.")
        truth = y == self.classes_[1]
        self.mean_ = X.mean(0)
        centered = X - self.mean_
        if kind is ProbeKind.MASS_MEAN:
            self.direction_ = self._mass_mean(centered, truth)
        elif kind is ProbeKind.LOGISTIC:
            scale = centered.std(0) + 1e-12
            found = LogisticRegression(C=1 / self.regularization, fit_intercept=False, max_iter=2000)
            self.direction_ = found.fit(centered / scale, truth).coef_[0] / scale
        else:
            if pairs is None or not len(pairs):
                raise ValueError(
                    "ccs without pairs given; pass pairs=(m, 2), a statement and its opposite in each row."
                )
            pairs = np.asarray(pairs)
            if len(np.unique(truth[pairs[:, 0]])) != 2:
                raise ValueError(
                    "pairs given of which the left side is all true or all false; each side is centered by itself, "
                    "which would take truth away. Put statements and opposites on either side at random."
                )
            self.direction_ = _contrast(centered, pairs)
            right = (centered @ self.direction_ > 0) == truth
            self.direction_ = self.direction_ if right.mean() >= 0.5 else -self.direction_
        return self

    def _mass_mean(self, centered, truth):
        means = centered[truth].mean(0), centered[~truth].mean(0)
        gap = means[0] - means[1]
        if not self.whiten:
            return gap
        within = np.where(truth[:, None], centered - means[0], centered - means[1])
        return np.linalg.pinv(within.T @ within / len(within), rcond=1e-3, hermitian=True) @ gap

    def decision_function(self, X, *, mean=None):
        """w . (x - mean): with the mean of the fitted activations, or another topic's own.

        Args:
            X: activations (n, d).
            mean: subtracted; None for that of the fit.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return (X - (self.mean_ if mean is None else mean)) @ self.direction_

    def predict(self, X):
        """The class of each statement."""
        return self.classes_[(self.decision_function(X) > 0).astype(int)]


def _contrast(x, pairs) -> np.ndarray:
    """The best of several starts, on pairs of which each side is centered and scaled by itself."""
    sides = [torch.from_numpy(x[pairs[:, i]]) for i in (0, 1)]
    sides = [(s - s.mean(0)) / (s.std(0) + 1e-9) for s in sides]
    best, least = np.zeros(x.shape[1]), np.inf
    for trial in range(TRIALS):
        w = torch.randn(x.shape[1], generator=child(trial, "ccs"), dtype=torch.float64)
        w = (w / w.norm()).requires_grad_()

        def loss(_: int, w: Tensor = w) -> Tensor:
            p, q = (torch.sigmoid(s @ w) for s in sides)
            return ((p + q - 1).square() + torch.minimum(p, q).square()).mean()

        fitted = fit(loss, Descent(torch.optim.AdamW([w], 0.01, weight_decay=0.01)), steps=STEPS)
        if float(fitted.values[-1]) < least:
            best, least = w.detach().numpy(), float(fitted.values[-1])
    return best
