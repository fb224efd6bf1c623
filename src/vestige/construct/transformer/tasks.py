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
        NEAREST: of all vectors but the last, the one with the largest inner product with it.
        FARTHEST: for each vector, the one with the smallest inner product with it.
        MAJORITY: of two vectors, the one that most of the given q prefer: (q y) (q x_1) against (q y) (q x_2).
    """

    COUNT = "count"
    COUNT_BEFORE = "count before"
    LARGEST_COUNT = "largest count"
    NEAREST = "nearest"
    FARTHEST = "farthest"
    MAJORITY = "majority"


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


def _nearest(x: Tensor, given: np.ndarray | None) -> Tensor:
    best = (x[:, :-1] @ x[:, -1:].transpose(1, 2)).argmax(1)
    return x[torch.arange(len(x)), best[:, 0]]


def _farthest(x: Tensor, given: np.ndarray | None) -> Tensor:
    worst = (x @ x.transpose(1, 2)).argmin(2)
    return x.gather(1, worst[..., None].expand_as(x))


def _majority(x: Tensor, given: np.ndarray | None) -> Tensor:
    seen = x @ torch.as_tensor(given).T
    first = (seen[:, 2] * (seen[:, 0] - seen[:, 1]) > 0).double().mean(1) > 0.5
    return torch.where(first[:, None], x[:, 0], x[:, 1])


_ANSWERS: dict[Task, Callable[[Tensor, np.ndarray | None], Tensor]] = {
    Task.COUNT: _count,
    Task.COUNT_BEFORE: _count_before,
    Task.LARGEST_COUNT: _largest_count,
    Task.NEAREST: _nearest,
    Task.FARTHEST: _farthest,
    Task.MAJORITY: _majority,
}
