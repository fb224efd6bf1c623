"""A model that only answers: every query is counted, answers are checked, and what hides the kernel sum is undone."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vestige.core.choices import ChoiceEnum
from vestige.core.outcome import OnStep, Step
from vestige.reconstruct.kernels.journal import Journal

CHUNK = 8_000_000  # numbers handed to the model in one call: 64 MB
ROWS = 4_096  # and rows at most, so that progress is shown
SAME_MODEL = 1e-6  # relative difference up to which two answers to one query are those of one model


class Scores(ChoiceEnum):
    """What the model's answers are to the sum f(z) = sum_i a_i k(z, x_i) + b.

    RAW: f itself (KernelRidge.predict, GaussianProcessRegressor.predict, SVC.decision_function with one column or with
    decision_function_shape="ovo"). LOG: its logarithm (KernelDensity.score_samples). VOTES: scikit-learn's default for
    an SVC of three classes and more, in which r / (3 |r| + 3) is added to an integer number of votes; r is recovered.
    """

    RAW = "raw"
    LOG = "log"
    VOTES = "votes"


class BudgetSpentError(RuntimeError):
    """No query is left."""


@dataclass(eq=False)
class BlackBox:
    """A callable with its count.

    Attributes:
        predict: from (m, d) to (m,) or (m, C).
        n_features: d.
        scores: how the answers are to be read.
        most: queries allowed.
        used: queries made.
        offset: constant part of the scores, already subtracted in what a call returns.
        log_scale: subtracted from log scores, so that exp stays finite.
        reach: distance from `center` beyond which nothing is asked.
        center: of that ball.
        known: part of the sum that is known and subtracted, and how well it is known, relative to itself.
        floor: least rounding noise of an answer, relative to its size.
        noise: what was measured of it where the queries are.
        quantum: and in absolute terms, where answers are rounded.
        on_step: progress callback; `phase` and `planned` say what is shown.
        journal: answers kept for an attack that goes on.
    """

    predict: Callable[[Any], Any]
    n_features: int
    scores: Scores
    most: float | int
    on_step: OnStep | None = None
    used: int = 0
    offset: Tensor | None = None
    log_scale: float = 0.0
    reach: float = math.inf
    center: Tensor | float = 0.0
    known: tuple[Callable[[Tensor], Tensor], float] | None = None
    floor: float = 1.2e-16
    noise: float = 1.2e-16
    quantum: float = 0.0
    phase: str = ""
    planned: int = 0
    takes_tensors: bool = False
    journal: Journal = field(default_factory=Journal)

    def __call__(self, z: Float[Tensor, "m d"]) -> Float[Tensor, "m out"]:
        """The kernel part of the scores at z, in float64."""
        return self.measure(z)[0]

    def measure(self, z: Float[Tensor, "m d"]) -> tuple[Float[Tensor, "m out"], Float[Tensor, " m"]]:
        """The same, and the standard deviation of its noise."""
        answers = self.answers(z)
        value = self.read(answers)
        size = value.abs().mean(1)
        noise = self.noise * size + self.quantum
        if self.scores is Scores.LOG:  # an error of the logarithm is a relative one, and the rounding unit its least
            noise = (self.noise + self.quantum + 2.2e-16 * answers.abs().amax(1)) * size
        if self.offset is not None:
            value = value - self.offset
        if self.known is not None:
            part = self.known[0](z)
            value, noise = value - part, noise + self.known[1] * part.abs().mean(1)
        return value, noise

    def within(self, z: Float[Tensor, "m d"]) -> Float[Tensor, "m d"]:
        """Points out of reach, brought into it along the line to the center."""
        if self.reach == math.inf:
            return z
        away = z - self.center
        return self.center + away * ((1 - 1e-9) * self.reach / away.norm(dim=1, keepdim=True)).clamp(max=1)

    def answers(self, z: Float[Tensor, "m d"]) -> Float[Tensor, "m out"]:
        """What the model says, in chunks."""
        size = max(1, min(ROWS, CHUNK // self.n_features))
        return torch.cat([self._ask(part) for part in z.split(size)])

    def read(self, answers: Tensor) -> Tensor:
        """Undo the logarithm or the votes."""
        if self.scores is Scores.LOG:
            return (answers - self.log_scale).exp()
        if self.scores is Scores.VOTES:
            r = 3 * (answers - answers.round())
            return r / (1 - r.abs())
        return answers

    def _ask(self, z: Tensor) -> Tensor:
        if self.used + len(z) > self.most:
            raise BudgetSpentError(f"{self.used:,} queries made and {len(z):,} more wanted, {self.most:,} allowed")
        self.used += len(z)
        value = self.journal.recall(z)
        if value is None:
            value = as_scores(self.predict(z if self.takes_tensors else z.numpy()), len(z))
            self.journal.add(z, value)
        if self.on_step is not None:
            self.on_step(Step(self.used, max(self.used, self.planned), math.nan, self.phase))
        return value


def as_scores(answer: Any, rows: int) -> Float[Tensor, "m out"]:
    """An answer as (m, C) in float64.

    Raises:
        ValueError: class names, a wrong shape, or values that are not finite.
    """
    array = answer.detach().cpu() if isinstance(answer, Tensor) else np.asarray(answer)
    kind = "f" if isinstance(array, Tensor) and array.is_floating_point() else getattr(array.dtype, "kind", "i")
    if kind not in "f":
        raise ValueError(
            f"predict returned values of type {array.dtype}: classes, where real scores are needed. Hand over "
            "decision_function of an SVC, predict of KernelRidge or GaussianProcessRegressor, or score_samples of "
            "KernelDensity; class labels alone do not give the points away to this attack."
        )
    value = torch.as_tensor(array).double()
    value = value[:, None] if value.ndim == 1 else value
    if value.ndim != 2 or len(value) != rows:
        raise ValueError(
            f"predict returned shape {tuple(value.shape)} for {rows} queries; ({rows},) or ({rows}, C) is needed."
        )
    if bool(torch.isnan(value).any()):
        raise ValueError(
            f"predict returned NaN for {int(torch.isnan(value).any(1).sum())} of {rows} queries. Does it refuse inputs "
            "that are unlike its data? Then give reach, the distance from the center within which it answers."
        )
    return value


def open_box(
    predict: Callable[[Any], Any],
    n_features: int,
    scores: Scores,
    most: float | int,
    probes: Float[Tensor, "m d"],
    on_step: OnStep | None = None,
    journal: Journal | None = None,
) -> tuple[BlackBox, Float[Tensor, "m out"]]:
    """The black box after its first answers: whether it takes arrays or tensors, and whether it gives scores.

    The first query is asked even where the journal knows its answer: another answer means another model, whose journal
    is not used.

    Raises:
        ValueError: answers that are classes or probabilities, or a model that does not take the queries.
    """
    journal = Journal() if journal is None else journal
    box = BlackBox(predict, n_features, scores, most, on_step, phase="first queries", journal=journal)
    answer, box.takes_tensors = _trial(predict, probes)
    box.used += 1 + box.takes_tensors  # the trial asked too
    if journal.checkpoint is not None:
        _recognize(journal, probes[:1], as_scores(answer, 1))
    answers = box.answers(probes)
    _refuse_no_scores(answers)
    return box, answers


def _recognize(journal: Journal, z: Tensor, answer: Tensor) -> None:
    """Whether the model answers as the journal's did; if not, the journal starts anew."""
    before = journal.recall(z)
    if before is not None and before.shape == answer.shape and torch.allclose(before, answer, rtol=SAME_MODEL, atol=0):
        return
    journal.read = 0
    journal.forget()
    journal.add(z, answer)


def _trial(predict: Callable[[Any], Any], probes: Tensor) -> tuple[Any, bool]:
    """The answer to one query, and whether it had to be asked as a tensor: an array did not do."""
    try:
        return predict(probes[:1].numpy()), False
    except Exception as error:
        try:
            return predict(probes[:1]), True
        except Exception as second:
            raise ValueError(
                f"predict does not take rows of {probes.shape[1]} numbers, neither as a numpy array ({error}) nor as a "
                f"tensor ({second}). Is n_features right?"
            ) from second


def _refuse_no_scores(answers: Tensor) -> None:
    if bool((answers == answers.round()).all()):
        what = "one constant" if bool((answers == answers[0]).all()) else "whole numbers only"
        raise ValueError(
            f"predict returned {what} at {len(answers)} random queries: classes or votes, where real scores are "
            "needed. Hand over decision_function of an SVC, predict of KernelRidge, score_samples of KernelDensity. "
            "Or is every score zero because the data lie far from zero? Then give their center."
        )
    sums = answers.sum(1)
    inside = bool((answers >= 0).all()) and bool((answers <= 1).all())
    if answers.shape[1] > 1 and inside and bool(((sums - 1).abs() <= 1e-6).all()):
        raise ValueError(
            "predict returned probabilities (rows in [0, 1] that sum to 1); they are no sum of kernels. "
            "Hand over the scores before them, such as decision_function."
        )


def decimals_of(values: Tensor) -> int | None:
    """How many decimals the values were rounded to; None where they were not.

    >>> decimals_of(torch.tensor([0.125, 1.5], dtype=torch.float64)), decimals_of(torch.tensor([1 / 3]).double())
    (3, None)
    """
    for k in range(14):
        scaled = values * 10.0**k
        if bool(((scaled - scaled.round()).abs() <= 1e-15 * scaled.abs() + 1e-300).all()):
            return k
    return None


def precision_warning(answers: Tensor) -> str | None:
    """What to say of answers that were cut short."""
    if bool((answers == answers.float().double()).all()):
        return "The scores are in single precision: their rounding, not the attack, limits what comes back."
    k = decimals_of(answers)
    return None if k is None else f"The scores are rounded to {k} decimals, which limits what comes back."


def relative_noise(box: BlackBox, z: Float[Tensor, "m d"]) -> float:
    """Rounding noise of the answers over their size, from second differences too short for the kernel to bend.

    Each of the points takes three queries.
    """
    step = 1e-9 * z
    near = [box.read(box.answers(point)) for point in (z - step, z, z + step)]
    second = (near[0] - 2 * near[1] + near[2]).norm(dim=1) / 6**0.5
    size = near[1].norm(dim=1)
    ratio = (second / size)[torch.isfinite(second) & (size > 0)]
    # Rounding errors of a few points scatter: the upper end of them is what must not be taken for a point.
    return max(float(ratio.quantile(0.8)) if len(ratio) else 0.0, box.floor)
