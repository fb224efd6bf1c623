"""Compositional reasoning questions: a tree whose nodes pick one of their children's answers (arXiv 2503.01544).

A(v) = x_v at a leaf, else the answer A(u) of the child u with the largest <A(u), x_v>
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vestige.core.choices import ChoiceEnum
from vestige.core.rng import spawn


class NodeOrder(ChoiceEnum):
    """In which order nodes are visited: children first in all of them.

    MEMORY_RANK goes through subtrees, the child that needs more memory first; REVERSE_BFS goes from the deepest level
    up.
    """

    MEMORY_RANK = "memory_rank"
    REVERSE_BFS = "reverse_bfs"


@dataclass(frozen=True, eq=False)
class CompositionalQuestion:
    """A rooted tree with a vector at each node; its answer is that of the root.

    Attributes:
        parents: of each node, -1 for the root.
        labels: vector of each node.

    Raises:
        ValueError: no root or several, a cycle, or labels that are not finite.
    """

    parents: Int[Tensor, " n"]
    labels: Float[Tensor, "n d"]

    def __post_init__(self) -> None:
        n, roots = len(self.parents), int((self.parents == -1).sum())
        if not n or roots != 1 or int(self.parents.min()) < -1 or int(self.parents.max()) >= n:
            raise ValueError(
                f"{n} nodes with {roots} roots given; a tree has one node with parent -1, the others' are below {n}."
            )
        if not torch.isfinite(self.labels).all() or len(self.labels) != n:
            raise ValueError(f"labels of shape {tuple(self.labels.shape)}; {n} finite vectors are needed.")
        if len(self._downwards) != n:
            raise ValueError(
                f"{n - len(self._downwards)} of {n} nodes hang on a cycle; every node must reach the root."
            )

    @cached_property
    def children(self) -> tuple[tuple[int, ...], ...]:
        """Of each node."""
        found: list[list[int]] = [[] for _ in range(len(self.parents))]
        for node, parent in enumerate(self.parents.tolist()):
            if parent >= 0:
                found[parent].append(node)
        return tuple(map(tuple, found))

    @cached_property
    def root(self) -> int:
        """The node without a parent."""
        return int((self.parents == -1).nonzero()[0])

    @cached_property
    def _downwards(self) -> tuple[int, ...]:
        """Nodes level by level, those that the root reaches."""
        level, found = [self.root], []
        while level:
            found += level
            level = [child for node in level for child in self.children[node]]
        return tuple(found)

    @cached_property
    def depths(self) -> tuple[int, ...]:
        """Distance of each node from the root."""
        depths = [0] * len(self.parents)
        for node in self._downwards[1:]:
            depths[node] = depths[int(self.parents[node])] + 1
        return tuple(depths)

    @property
    def height(self) -> int:
        """Edges from the root to the deepest leaf."""
        return max(self.depths)

    @cached_property
    def memory_ranks(self) -> tuple[int, ...]:
        """Answers that must be held at once, of each subtree: 1 at a leaf, else max_i (r_i + i - 1), largest r_i first.

        For binary trees it is the Strahler number; at most log2 (n + 1).
        """
        ranks = [1] * len(self.parents)
        for node in reversed(self._downwards):
            below = sorted((ranks[child] for child in self.children[node]), reverse=True)
            ranks[node] = max([rank + place for place, rank in enumerate(below)], default=1)
        return tuple(ranks)

    @property
    def memory_rank(self) -> int:
        """Of the root."""
        return self.memory_ranks[self.root]

    def answers(self) -> Float[Tensor, "n d"]:
        """Of every node, by recursion.

        Raises:
            ValueError: two children of a node have different answers and the same score.
        """
        found = self.labels.clone()
        for node in reversed(self._downwards):
            if self.children[node]:
                below = found[list(self.children[node])]
                scores = below @ self.labels[node]
                best = below[scores == scores.max()]
                if (best != best[0]).any():
                    raise ValueError(f"node {node} has children with different answers and the same score: a tie.")
                found[node] = best[0]
        return found

    def order(self, order: NodeOrder | str = NodeOrder.MEMORY_RANK) -> tuple[int, ...]:
        """All nodes, children before their parents."""
        if NodeOrder(order) is NodeOrder.REVERSE_BFS:
            return tuple(reversed(self._downwards))
        found: list[int] = []
        waiting = [self.root]
        while waiting:  # the reverse of a post-order: node, then the child with the smallest rank first
            node = waiting.pop()
            found.append(node)
            waiting += sorted(self.children[node], key=lambda child: self.memory_ranks[child], reverse=True)
        return tuple(reversed(found))


def formula_question(text: str) -> tuple[CompositionalQuestion, dict[str, tuple[int, ...]]]:
    """A Boolean formula of names, `&`, `|`, `~` and parentheses as a tree with labels in {-1, 1}.

    An OR node has label 1 and picks a true child if there is one, an AND node -1. Negations are moved to the leaves.

    Args:
        text: such as "(a & b) | ~c"; `~` binds tightest, then `&`.

    Returns:
        The question with every name true, and the leaves of each name: flip their labels to make it false.

    Raises:
        ValueError: what cannot be read, and where.

    >>> question, leaves = formula_question("(a & b) | ~c")
    >>> question.answers()[question.root].item(), sorted(leaves)
    (1.0, ['a', 'b', 'c'])
    """
    from vestige.construct.transformer.composition.formula import parsed

    parents: list[int] = []
    labels: list[float] = []
    leaves: dict[str, list[int]] = {}
    waiting = [(parsed(text), -1)]
    while waiting:
        tree, parent = waiting.pop()
        node = len(parents)
        parents.append(parent)
        kind, value = tree[0], tree[1:]
        labels.append(1.0 if kind in ("or", "name") else -1.0)
        if kind in ("or", "and"):
            waiting += [(part, node) for part in value]
        else:
            leaves.setdefault(value[0], []).append(node)
    question = CompositionalQuestion(torch.tensor(parents), torch.tensor(labels, dtype=torch.float64)[:, None])
    return question, {name: tuple(nodes) for name, nodes in leaves.items()}


def random_question(
    n: int, dim: int, *, largest: int = 2, most_children: int = 4, generator: torch.Generator | None = None
) -> CompositionalQuestion:
    """A random tree with integer labels, without ties between different answers.

    Args:
        n: nodes, at least 1.
        dim: of the labels.
        largest: their entries are -largest..largest.
        most_children: of a node, at least 1; with 1 it is a chain.
        generator: None for seed 0.

    Raises:
        ValueError: a size below 1.
    """
    if min(n, dim, largest, most_children) < 1:
        raise ValueError(
            f"n={n}, dim={dim}, largest={largest}, most_children={most_children} given; each must be at least 1."
        )
    draw = spawn(generator, "question")
    parents, free = [-1], [0] * most_children
    for node in range(1, n):
        place = int(torch.randint(len(free), (1,), generator=draw))
        parents.append(free.pop(place))
        free += [node] * most_children
    while True:
        labels = torch.randint(-largest, largest + 1, (n, dim), generator=draw).double()
        question = _untied(CompositionalQuestion(torch.tensor(parents), labels), largest, draw)
        if question is not None:
            return question


def _untied(question: CompositionalQuestion, largest: int, draw: torch.Generator) -> CompositionalQuestion | None:
    """Labels of nodes that tie are drawn again, up to some times each."""
    labels, found = question.labels.clone(), question.labels.clone()
    for node in question.order(NodeOrder.REVERSE_BFS):
        below = found[list(question.children[node])]
        for _ in range(100 if len(below) else 0):
            scores = below @ labels[node]
            best = below[scores == scores.max()]
            if not (best != best[0]).any():
                found[node] = best[0]
                break
            labels[node] = torch.randint(-largest, largest + 1, labels[node].shape, generator=draw).double()
        else:
            if len(below):
                return None
            found[node] = labels[node]
    return CompositionalQuestion(question.parents, labels)


def node_codes(n: int, *, one_hot: bool = False, generator: torch.Generator | None = None) -> Float[np.ndarray, "n k"]:
    """A code of length 1 for each node: random signs in 16 log2 n dimensions, or one-hot ones in n.

    Args:
        n: nodes, at least 1.
        one_hot: whether they are orthogonal.
        generator: None for seed 0.
    """
    size = 16 * max(1, (n - 1).bit_length())
    if one_hot or size >= n:
        return np.eye(n)
    signs = 2 * torch.randint(0, 2, (n, size), generator=spawn(generator, "codes")).double() - 1
    return (signs / size**0.5).numpy()
