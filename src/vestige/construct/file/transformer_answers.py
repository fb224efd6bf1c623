"""The answers of the tasks that constructed transformers do, counted out for one input, in plain Python."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def answer(task: str, x: Array, given: Array | None) -> Array:
    """The right output for one input.

    Args:
        task: its name in the file.
        x: ids, or a vector for each token.
        given: what belongs to the task.

    Raises:
        ValueError: no such task.
    """
    if task not in ANSWERS:
        raise ValueError(f"task {task[:40]!r}; known are {', '.join(ANSWERS)}")
    return np.asarray(ANSWERS[task](x, given), dtype=np.float64)


def _count(x: Array, given: Array | None) -> list[int]:
    ids = x.tolist()
    return [ids.count(ids[-1])]


def _count_before(x: Array, given: Array | None) -> list[int]:
    *before, last = x.tolist()
    return [before.count(last)]


def _largest_count(x: Array, given: Array | None) -> list[int]:
    ids = x.tolist()
    return [max(ids.count(token) for token in set(ids))]


def _dot(a: Array, b: Array) -> float:
    return sum(p * q for p, q in zip(a.tolist(), b.tolist(), strict=True))


def _nearest(x: Array, given: Array | None) -> Array:
    return max(x[:-1], key=lambda point: _dot(point, x[-1]))


def _farthest(x: Array, given: Array | None) -> list[Array]:
    return [min(x, key=lambda point: _dot(point, own)) for own in x]


def _majority(x: Array, given: Array | None) -> Array:
    first, second, query = x
    votes = 0
    for q in _needed(given):
        votes += 1 if _dot(q, query) * _dot(q, first) > _dot(q, query) * _dot(q, second) else -1
    return first if votes > 0 else second


def _needed(given: Array | None) -> Array:
    if given is None:
        raise ValueError("the task needs more than its inputs")
    return given


ANSWERS: dict[str, Callable[[Array, Array | None], Any]] = {
    "count": _count,
    "count before": _count_before,
    "largest count": _largest_count,
    "nearest": _nearest,
    "farthest": _farthest,
    "majority": _majority,
}
