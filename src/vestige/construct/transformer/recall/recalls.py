"""What a network that recalls facts must do: the right entity has the largest logit, for every question there is."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from vestige.construct.transformer.computes import Computes
from vestige.construct.transformer.tasks import Task, answers
from vestige.core.claims import Claim
from vestige.core.outcome import OnStep

WRONG = "facts that it gets wrong"
ABOVE = "a wrong answer's logit above the right one's"
UNASKED = "questions that are not asked"


@dataclass(frozen=True, eq=False, kw_only=True)
class Recalls(Computes):
    """The largest logit is the right one's, by -`tolerance`; `points` are all questions, `given` the facts."""

    kind: ClassVar[str] = "recall"

    def check(self, network: nn.Module, *, on_step: OnStep | None = None) -> tuple[Claim, ...]:
        """Facts that are wrong, in float64 and in the narrower dtype, and the margin; whether all of them are asked."""
        errors = self.errors(network, torch.float64, on_step)
        narrow = self.errors(network, getattr(torch, self.dtype), on_step)
        return (
            Claim(WRONG, 0, self.off(errors), self.source),
            Claim(ABOVE, self.tolerance, float(errors.max()), self.source),
            Claim(f"{WRONG} in {self.dtype}", 0, self.off(narrow), self.source),
            Claim(UNASKED, 0, unasked(np.asarray(self.given), self.points), self.source),
        )

    def off(self, errors: Tensor) -> int:
        """How many questions have a wrong answer's logit as high as the right one's."""
        return int((~(errors < 0)).sum())

    def distance(self, output: Tensor, x: Tensor) -> Tensor:
        """By how much the best wrong logit is above the right one."""
        right = answers(Task(self.task), x, self.given).long()
        wrong = output.scatter(1, right, -torch.inf).amax(1)
        return wrong - output.gather(1, right)[:, 0]


def unasked(facts: np.ndarray, points: tuple[np.ndarray, ...]) -> int:
    """Questions about the facts that are not among the points."""
    n, relations = facts.shape
    hops = points[0].shape[1] - 1
    asked: set[Any] = {row.tobytes() for group in points for row in group}
    return n * relations**hops * len(points) - len(asked)
