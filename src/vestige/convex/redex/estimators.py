"""RedEx as scikit-learn estimators: layers of quadratic features, each learned by a convex program."""

import importlib.util
import warnings
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from vestige.convex.redex.layer import RedExLayer, symmetric_squares, to_redex
from vestige.convex.redex.problem import Array, Problem, Solution
from vestige.convex.redex.program import MOST, cone_numbers, solve_program
from vestige.convex.redex.proximal import solve_proximal
from vestige.convex.redex.splitting import solve_splitting
from vestige.core.choices import ChoiceEnum


class RedExSolver(ChoiceEnum):
    """The way to the optimum of a layer."""

    AUTO = "auto"
    PROGRAM = "program"
    PROXIMAL = "proximal"
    SPLITTING = "splitting"


def solve(problem: Problem, solver: RedExSolver | str, gap: float | int) -> Solution:
    """By the way that is asked for; auto takes the proximal one for one output, the program where it is small."""
    chosen = RedExSolver(solver)
    if chosen is RedExSolver.AUTO:
        plain = problem.y.shape[1] == problem.x.shape[1] == 1 and problem.trace_bound is None
        small = cone_numbers(problem) <= MOST // 3 and importlib.util.find_spec("cvxpy")
        chosen = RedExSolver.PROXIMAL if plain else RedExSolver.PROGRAM if small else RedExSolver.SPLITTING
    match chosen:
        case RedExSolver.PROXIMAL:
            return solve_proximal(problem, gap=gap)
        case RedExSolver.PROGRAM:
            return solve_program(problem)
        case _:
            return solve_splitting(problem, gap=gap)


class _RedEx(BaseEstimator):
    """What both estimators share: stacked layers on targets that are real numbers."""

    def __init__(
        self,
        n_layers: int = 1,
        *,
        trace_penalty: float | int = 0.0,
        ridge: float | int = 1e-3,
        trace_bound: float | int | None = None,
        constant: float | int = 2**0.5,
        solver: str = "auto",
        gap: float | int = 1e-3,
        row_share: float | int = 0.15,
        fresh_split: bool = False,
    ):
        self.n_layers = n_layers
        self.trace_penalty = trace_penalty
        self.ridge = ridge
        self.trace_bound = trace_bound
        self.constant = constant
        self.solver = solver
        self.gap = gap
        self.row_share = row_share
        self.fresh_split = fresh_split

    def _fit(self, x: Array, y: Array) -> None:
        if self.n_layers < 1 or not 0 <= self.row_share < 1:
            raise ValueError(f"n_layers={self.n_layers}, row_share={self.row_share} given; >= 1 and in [0, 1) needed.")
        size = len(x) // self.n_layers if self.fresh_split else len(x)
        self.solutions_, self.layers_ = [], []
        for t in range(self.n_layers):
            mine = slice(t * size, (t + 1) * size) if self.fresh_split else slice(None)
            z = self._features(x[mine], self.layers_)
            problem = Problem(z[:, None], y[mine], self.trace_penalty, self.ridge, self.trace_bound)
            basis = None
            if len(z) < z.shape[1]:  # the optimum lives in the span of the samples
                basis = np.linalg.svd(z, full_matrices=False)[2]
                problem = Problem(z[:, None] @ basis.T, y[mine], self.trace_penalty, self.ridge, self.trace_bound)
            found = solve(problem, self.solver, self.gap)
            for said in found.warnings:
                warnings.warn(f"layer {t + 1}: {said}", ConvergenceWarning, stacklevel=3)
            a, r = (m if basis is None else basis.T @ m @ basis for m in (found.a[:, 0], found.r))
            layer = to_redex(torch.from_numpy(np.ascontiguousarray(a)), torch.from_numpy(np.ascontiguousarray(r)))
            self.solutions_.append(found)
            self.layers_.append(layer)

    def _features(self, x: Array, layers: list[RedExLayer]) -> Array:
        """Inputs of the next layer: the constant, and what the extractors of these layers make of x."""
        z = torch.from_numpy(np.hstack([np.full((len(x), 1), self.constant), x]))
        for layer in layers:
            size = layer.v.square().sum(1)
            z = symmetric_squares(z @ layer.v[size >= self.row_share * size.max()].mT)
        return z.numpy()

    def _outputs(self, x: Any) -> Array:
        check_is_fitted(self, "layers_")
        given: Any = validate_data(self, x, reset=False, dtype=np.float64)
        *before, last = self.layers_
        return last(torch.from_numpy(self._features(given, before))).numpy()

    def represent(self, X: Any) -> Array:
        """The representation: what a further layer would see."""
        check_is_fitted(self, "layers_")
        given: Any = validate_data(self, X, reset=False, dtype=np.float64)
        return self._features(given, self.layers_)

    @property
    def relevance_(self) -> Array:
        """Of each input: its diagonal entry of R in the first layer, without the constant."""
        check_is_fitted(self, "layers_")
        return self.layers_[0].v.square().sum(0).numpy()[1:]


class RedExRegressor(RegressorMixin, _RedEx):
    """Least squares over RedEx networks (arXiv 2401.07606, Algorithms 1, 2, 4 and 5).

    Each layer solves min (1/m) sum |y - f|^2 + l_1 Tr R + l_2 (|R|^2 + sum |A|^2) with -R <= A <= R, keeps the
    extractor V and hands (V x)(V x)^T to the next.

    Args:
        n_layers: layers; k-sparse targets need log2 k.
        trace_penalty: l_1; larger values give lower rank.
        ridge: l_2, positive.
        trace_bound: M of Tr R <= M; None for none.
        constant: coordinate that is put before the inputs; 0 leaves only even functions.
        solver: "auto", "program" (cvxpy), "proximal" (one output) or "splitting".
        gap: relative duality gap of the last two; a larger one is a ConvergenceWarning.
        row_share: rows of V with less of the largest one's squared length are not handed on.
        fresh_split: a part of the samples of its own for each layer, as the theorem has it.

    Attributes:
        layers_: `RedExLayer` of each layer.
        solutions_: objective, proved bound and gap of each.

    Raises:
        ValueError: options out of range, fewer than 2 samples, inputs that overflow, or a program too large for memory.

    >>> x = np.random.default_rng(0).normal(size=(200, 4))
    >>> found = RedExRegressor(ridge=1e-4).fit(x, x[:, 0] * x[:, 1])
    >>> bool(found.score(x, x[:, 0] * x[:, 1]) > 0.99), found.relevance_.argsort()[-2:].tolist()
    (True, [1, 0])
    """

    def fit(self, X: Any, y: Any) -> "RedExRegressor":
        """Learn the layers."""
        X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True, ensure_min_samples=2)
        self.single_ = y.ndim == 1
        self._fit(X, y.reshape(len(y), -1).astype(np.float64))
        return self

    def predict(self, X: Any) -> Float[np.ndarray, "..."]:
        """Targets."""
        found = self._outputs(X)
        return found[:, 0] if self.single_ else found

    def __sklearn_tags__(self) -> Any:
        """Several targets are fine."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


class RedExClassifier(ClassifierMixin, _RedEx):
    """Classes by least squares on their indicators, -1 and 1; everything else as `RedExRegressor`.

    >>> x = np.random.default_rng(0).choice([-1.0, 1.0], size=(200, 4))
    >>> RedExClassifier(ridge=1e-4).fit(x, x[:, 0] * x[:, 1]).score(x, x[:, 0] * x[:, 1])
    1.0
    """

    def fit(self, X: Any, y: Any) -> "RedExClassifier":
        """Learn the layers."""
        X, y = validate_data(self, X, y, dtype=np.float64, ensure_min_samples=2)
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise ValueError("One class given; a classifier needs at least 2 classes.")
        targets = LabelBinarizer(neg_label=-1).fit_transform(y)
        self._fit(X, np.asarray(targets, dtype=np.float64))
        return self

    def decision_function(self, X: Any) -> Float[np.ndarray, "..."]:
        """Outputs; of two classes one, positive for the second."""
        found = self._outputs(X)
        return found[:, 0] if found.shape[1] == 1 else found

    def predict(self, X: Any) -> Shaped[np.ndarray, " n"]:
        """Classes."""
        found = self.decision_function(X)
        return self.classes_[(found > 0).astype(int) if found.ndim == 1 else found.argmax(1)]
