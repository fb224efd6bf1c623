"""What constructed transformers compute, in plain terms: the answers that they are held against."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from vestige.core.choices import ChoiceEnum


class Task(ChoiceEnum):
    """What the output is, given the input and what belongs to the task itself.

    Attributes:
        COUNT: tokens equal to the last, itself included.
        COUNT_BEFORE: tokens before the last that are equal to it.
        LARGEST_COUNT: how often the most frequent token occurs.
    """

    COUNT = "count"
    COUNT_BEFORE = "count before"
    LARGEST_COUNT = "largest count"


def answers(task: Task, x: Tensor, given: np.ndarray | None) -> Tensor:
    """The right outputs, in float64.

    Args:
        task: what is asked.
        x: inputs of one length.
        given: what belongs to the task, such as a table of facts.
    """
    return _ANSWERS[task](x, given).double()


def _count(x: Tensor, given: np.ndarray | None) -> Tensor:
    return (x == x[:, -1:]).sum(1, keepdim=True)


def _count_before(x: Tensor, given: np.ndarray | None) -> Tensor:
    return _count(x, given) - 1


def _largest_count(x: Tensor, given: np.ndarray | None) -> Tensor:
    return torch.stack([row.bincount().max() for row in x.long()])[:, None]


_ANSWERS: dict[Task, Callable[[Tensor, np.ndarray | None], Tensor]] = {
    Task.COUNT: _count,
    Task.COUNT_BEFORE: _count_before,
    Task.LARGEST_COUNT: _largest_count,
}
