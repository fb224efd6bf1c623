"""The answers of the tasks that constructed transformers do, counted out for one input, in plain Python."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestige.construct.file.graph_answers import (
    connected,
    four_cycles,
    in_two_cycle,
    matrix_power,
    subgraphs,
    triangles,
)

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


def _composition(x: Array, given: Array | None) -> Array:
    """From the leaves up, by the tree that the codes spell."""
    size = _needed(given).shape[1]
    dim = x.shape[1] - 2 * size - 1
    place = {tuple(node[dim : dim + size]): k for k, node in enumerate(x.tolist())}
    children: list[list[int]] = [[] for _ in x]
    for k, node in enumerate(x.tolist()):
        above = place.get(tuple(node[dim + size : dim + 2 * size]))
        if above is not None:
            children[above].append(k)
    order = [0]
    for k in order:  # grows as it is read: a tree's nodes level by level
        order += children[k]
        if len(order) > len(x):
            raise ValueError("the codes spell no tree")
    found: dict[int, Array] = {}
    for k in reversed(order):
        below = [found[child] for child in children[k]]
        found[k] = max(below, key=lambda each, k=k: _dot(each, x[k, :dim])) if below else x[k, :dim]
    return found[0]


def _next_answer(x: Array, given: Array | None) -> Array:
    size = _needed(given).shape[1]
    dim = (x.shape[1] - 3 * size - 1) // 2
    asked = x[-1, 2 * dim + 2 * size : 2 * dim + 3 * size].tolist()
    (own,) = (node[:dim] for node in x if node[2 * dim : 2 * dim + size].tolist() == asked)
    known = [node for node in x if node[-1] == 1 and node[2 * dim + size : 2 * dim + 2 * size].tolist() == asked]
    return max((node[dim : 2 * dim] for node in known), key=lambda each: _dot(each, own))


def _post_order(x: Array, given: Array | None) -> Array:
    """A node's parent is the next one that is less deep by one."""
    *labels, depths = x.T.tolist()
    points = [np.array(point) for point in zip(*labels, strict=True)]
    children: list[list[Array]] = [[] for _ in points]
    for k, depth in enumerate(depths):
        own = points[k]
        if children[k]:
            own = max(reversed(children[k]), key=lambda each, k=k: _dot(each, points[k]))
        above = next((j for j in range(k + 1, len(depths)) if depths[j] == depth - 1), None)
        if above is None:
            return own
        children[above].append(own)
    raise ValueError("no root in the order given")


def _recall(x: Array, given: Array | None) -> list[int]:
    *path, found = x.tolist()
    facts = _needed(given).tolist()
    for relation in path:
        found = facts[found][relation - len(facts)]
    return [found]


def _next_recall(x: Array, given: Array | None) -> list[int]:
    facts = _needed(given).tolist()
    path = [token for token in x.tolist() if token >= len(facts)]
    entities = [token for token in x.tolist() if token < len(facts)]
    return [facts[entities[-1]][path[len(entities) - 1] - len(facts)]]


def _disjoint_recall(x: Array, given: Array | None) -> list[int]:
    n, (relation, _) = len(_needed(given)), x.tolist()
    return [n * (relation - n) + _recall(x, given)[0]]


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
    "composition": _composition,
    "next answer": _next_answer,
    "post-order composition": _post_order,
    "matrix power": matrix_power,
    "triangles": triangles,
    "4-cycles": four_cycles,
    "connected": connected,
    "in a 2-cycle": in_two_cycle,
    "subgraphs": subgraphs,
    "recall": _recall,
    "next recall": _next_recall,
    "recall of disjoint sets": _disjoint_recall,
}
