"""Convolutional RedEx (Algorithm 3): one extractor for all patches of an image, matrices of their own for each."""

import warnings
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted, validate_data

from vestige.convex.redex.estimators import solve
from vestige.convex.redex.problem import Array, Problem, outputs


class ConvRedEx(RegressorMixin, BaseEstimator):
    """Least squares of f_o(x) = sum_j x_j^T A_oj x_j over the patches x_j of a sample, with one R for all A.

    Args:
        patches: p; a sample's features are cut into p equal parts, in order.
        trace_penalty: l_1.
        ridge: l_2, positive.
        constant: coordinate that is put before each patch.
        solver: "auto", "program" or "splitting".
        gap: relative duality gap of the last; a larger one is a ConvergenceWarning.

    Attributes:
        solution_: objective, proved bound and gap.

    Raises:
        ValueError: features that p does not divide, and as `RedExRegressor`.

    >>> x = np.random.default_rng(0).normal(size=(200, 4))
    >>> found = ConvRedEx(patches=2, ridge=1e-4).fit(x, x[:, 0] * x[:, 1] - x[:, 2] * x[:, 3])
    >>> bool(found.score(x, x[:, 0] * x[:, 1] - x[:, 2] * x[:, 3]) > 0.98)
    True
    """

    def __init__(
        self,
        patches: int = 1,
        *,
        trace_penalty: float | int = 0.0,
        ridge: float | int = 1e-3,
        constant: float | int = 2**0.5,
        solver: str = "auto",
        gap: float | int = 1e-3,
    ):
        self.patches = patches
        self.trace_penalty = trace_penalty
        self.ridge = ridge
        self.constant = constant
        self.solver = solver
        self.gap = gap

    def fit(self, X: Any, y: Any) -> "ConvRedEx":
        """Solve the program."""
        X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True, ensure_min_samples=2)
        if self.patches < 1 or X.shape[1] % self.patches:
            raise ValueError(f"{X.shape[1]} features in {self.patches} patches given; the patches must be equal parts.")
        self.single_ = y.ndim == 1
        targets = y.reshape(len(y), -1).astype(np.float64)
        problem = Problem(self._cut(X), targets, self.trace_penalty, self.ridge)
        self.solution_ = solve(problem, self.solver, self.gap)
        for said in self.solution_.warnings:
            warnings.warn(said, ConvergenceWarning, stacklevel=2)
        return self

    def predict(self, X: Any) -> Float[np.ndarray, "..."]:
        """Targets."""
        check_is_fitted(self, "solution_")
        found = outputs(self._cut(validate_data(self, X, reset=False, dtype=np.float64)), self.solution_.a)
        return found[:, 0] if self.single_ else found

    def _cut(self, x: Any) -> Array:
        parts = x.reshape(len(x), self.patches, -1)
        return np.concatenate([np.full((*parts.shape[:2], 1), self.constant), parts], 2)

    def __sklearn_tags__(self) -> Any:
        """Several targets are fine."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
