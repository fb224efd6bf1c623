"""What constructed transformers compute, in plain terms: the answers that they are held against."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from vestige.construct.transformer.graphs import oracles
from vestige.core.choices import ChoiceEnum


class Task(ChoiceEnum):
    """What the output is, given the input and what belongs to the task itself.

    Attributes:
        COUNT: tokens equal to the last, itself included.
        COUNT_BEFORE: tokens before the last that are equal to it.
        LARGEST_COUNT: how often the most frequent token occurs.
        NEAREST: of all vectors but the last, the one with the largest inner product with it.
        FARTHEST: for each vector, the one with the smallest inner product with it.
        COMPOSITION: the first node's answer in a tree of (label, code, parent's code, whether it is a leaf); a node's
            answer is its label at a leaf, else the answer of the child with the largest inner product with the label.
        NEXT_ANSWER: the same for the node that the last token names, in tokens of (label, answer, code, parent's code,
            code that is asked for, whether the answer is one).
        POST_ORDER: the last node's answer in a tree of (label, depth) whose children come before their parents.
        RECALL: the entity at the end of the path of relations, ids from the number of entities on, from the last token.
        NEXT_RECALL: the entity that is next on that path, given those on it so far.
        DISJOINT_RECALL: the same as RECALL in a set of its own for each relation, one behind the other.
        MATRIX_POWER: row i of A^given at token i, of a graph whose rows are the tokens' last features.
        TRIANGLES: their number in a graph.
        FOUR_CYCLES: their number in a graph.
        CONNECTED: 1 for a connected graph, else 0.
        IN_TWO_CYCLE: 1 at each node of a directed graph with an edge both ways, else 0.
        SUBGRAPHS: copies in a graph of the given pattern.
        MAJORITY: of two vectors, the one that most of the given q prefer: (q y) (q x_1) against (q y) (q x_2).
    """

    COUNT = "count"
    COUNT_BEFORE = "count before"
    LARGEST_COUNT = "largest count"
    NEAREST = "nearest"
    FARTHEST = "farthest"
    COMPOSITION = "composition"
    NEXT_ANSWER = "next answer"
    POST_ORDER = "post-order composition"
    MAJORITY = "majority"
    MATRIX_POWER = "matrix power"
    TRIANGLES = "triangles"
    FOUR_CYCLES = "4-cycles"
    CONNECTED = "connected"
    IN_TWO_CYCLE = "in a 2-cycle"
    SUBGRAPHS = "subgraphs"
    RECALL = "recall"
    NEXT_RECALL = "next recall"
    DISJOINT_RECALL = "recall of disjoint sets"


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


def _composition(x: Tensor, given: np.ndarray | None) -> Tensor:
    """Round by round for all trees at once: after as many rounds as there are nodes nothing changes any more."""
    size = np.asarray(given).shape[1]
    label, code, parent, leaf = x.split([x.shape[2] - 2 * size - 1, size, size, 1], 2)
    answer = label.clone()
    is_child = ((code @ parent.transpose(1, 2)) > 1 - 1e-9) & (leaf < 0.5)
    for _ in range(x.shape[1]):
        scores = (label @ answer.transpose(1, 2)).masked_fill(~is_child, -torch.inf)
        best = answer.gather(1, scores.argmax(2)[..., None].expand_as(answer))
        answer = torch.where(leaf > 0.5, answer, best)
    return answer[:, 0]


def _next_answer(x: Tensor, given: np.ndarray | None) -> Tensor:
    size = np.asarray(given).shape[1]
    dim = (x.shape[2] - 3 * size - 1) // 2
    label, answer, code, parent, asked, known = x.split([dim, dim, size, size, size, 1], 2)
    asked = asked[:, -1:]
    own = label.gather(1, (asked @ code.transpose(1, 2)).argmax(2)[..., None].expand(-1, -1, dim))
    is_child = (asked @ parent.transpose(1, 2) > 1 - 1e-9) & (known.transpose(1, 2) > 0.5)
    scores = (own @ answer.transpose(1, 2)).masked_fill(~is_child, -torch.inf)
    return answer.gather(1, scores.argmax(2)[..., None].expand(-1, -1, dim))[:, 0]


def _post_order(x: Tensor, given: np.ndarray | None) -> Tensor:
    """With a stack: a node takes what lies on top and is one deeper."""
    found = []
    for nodes in x:
        stack: list[tuple[Tensor, float]] = []
        for node in nodes:
            label, depth = node[:-1], float(node[-1])
            below = []
            while stack and stack[-1][1] == depth + 1:
                below.append(stack.pop()[0])
            stack.append((max(below, key=lambda each, label=label: float(each @ label)) if below else label, depth))
        found.append(stack[-1][0])
    return torch.stack(found)


def _recall(x: Tensor, given: np.ndarray | None) -> Tensor:
    facts = torch.as_tensor(given)
    found = x[:, -1].long()
    for relation in x[:, :-1].long().unbind(1):
        found = facts[found, relation - len(facts)]
    return found[:, None]


def _next_recall(x: Tensor, given: np.ndarray | None) -> Tensor:
    facts = torch.as_tensor(given)
    done = (x < len(facts)).sum(1) - 1
    asked = x.gather(1, done[:, None])[:, 0].long() - len(facts)
    return facts[x[:, -1].long(), asked][:, None]


def _disjoint_recall(x: Tensor, given: np.ndarray | None) -> Tensor:
    n = len(torch.as_tensor(given))
    return _recall(x, given) + n * (x[:, :1].long() - n)


_ANSWERS: dict[Task, Callable[[Tensor, np.ndarray | None], Tensor]] = {
    Task.COUNT: _count,
    Task.COUNT_BEFORE: _count_before,
    Task.LARGEST_COUNT: _largest_count,
    Task.NEAREST: _nearest,
    Task.FARTHEST: _farthest,
    Task.MAJORITY: _majority,
    Task.POST_ORDER: _post_order,
    Task.COMPOSITION: _composition,
    Task.NEXT_ANSWER: _next_answer,
    Task.MATRIX_POWER: oracles.matrix_power,
    Task.TRIANGLES: oracles.triangles,
    Task.FOUR_CYCLES: oracles.four_cycles,
    Task.CONNECTED: oracles.connected,
    Task.IN_TWO_CYCLE: oracles.in_two_cycle,
    Task.SUBGRAPHS: oracles.subgraphs,
    Task.RECALL: _recall,
    Task.NEXT_RECALL: _next_recall,
    Task.DISJOINT_RECALL: _disjoint_recall,
}
