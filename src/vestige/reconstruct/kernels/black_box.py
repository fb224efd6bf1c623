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
