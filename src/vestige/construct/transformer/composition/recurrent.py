"""A recurrent network that answers questions of binary trees with a stack (arXiv 2503.01544, Theorem 5.4)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vestige.construct.construction import Construction
from vestige.construct.file.network_format import NetworkFormat
from vestige.construct.transformer.composition.deep import PAPER, check_sizes
from vestige.construct.transformer.composition.question import CompositionalQuestion, NodeOrder, random_question
from vestige.construct.transformer.computes import Computes, constructed
from vestige.construct.transformer.gadgets import at_least_zero, both, gated, is_zero, product
from vestige.construct.transformer.stream import Stream
from vestige.construct.transformer.tasks import Task
from vestige.construct.transformer.wires import Wire, compiled, total
from vestige.core.cite import paper
from vestige.core.rng import spawn

EMPTY, CHECKED = -10, 32  # depth of an empty slot: no node's child


class StackMachine(nn.Module):
    """One node at a time, in an order in which children come first: the last answer is the root's.

    Attributes:
        dim: of labels and answers.
        slots: of the stack, each an answer and its node's depth.
        cell: from the node and the stack to the next stack.
    """

    def __init__(self, dim: int, slots: int, cell: nn.Sequential) -> None:
        super().__init__()
        self.dim, self.slots, self.cell = dim, slots, cell.requires_grad_(False)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, n, dim + 1), labels and depths -> (batch, dim).

        Raises:
            ValueError: another size.
        """
        if x.ndim != 3 or x.shape[2] != self.dim + 1 or not x.shape[1]:
            raise ValueError(f"inputs of shape {tuple(x.shape)} given; (batch, n, {self.dim + 1}) is needed.")
        x = x.to(next(self.parameters()))
        empty = x.new_zeros(self.dim + 1)
        empty[-1] = EMPTY
        state = empty.repeat(len(x), self.slots)
        for node in x.unbind(1):
            state = self.cell(torch.cat([node, state], 1))
        return state[:, : self.dim]


@dataclass(frozen=True, eq=False, kw_only=True)
class Recurs(Computes):
    """The same as `Computes`, of a recurrent network."""

    kind: ClassVar[str] = "recurrent"


def question_steps(question: CompositionalQuestion, slots: int | None = None) -> Float[Tensor, "1 n features"]:
    """What a stack machine reads: label and depth of each node, the child that needs more memory first.

    Args:
        question: a tree whose nodes have at most two children.
        slots: of the machine; None leaves them unchecked.

    Raises:
        ValueError: three children, or fewer slots than the memory rank.
    """
    if max(map(len, question.children)) > 2:
        raise ValueError(f"a node with {max(map(len, question.children))} children given; a stack machine takes two.")
    if slots is not None and slots < question.memory_rank:
        raise ValueError(f"slots={slots} given; this tree needs {question.memory_rank}, its memory rank.")
    order = list(question.order(NodeOrder.MEMORY_RANK))
    depths = torch.tensor([[float(question.depths[node])] for node in order], dtype=torch.float64)
    return torch.cat([question.labels[order].double(), depths], 1)[None]


def build_crq_rnn(
    n: int,
    dim: int,
    *,
    slots: int | None = None,
    largest: int = 2,
    dtype: torch.dtype = torch.float32,
    generator: torch.Generator | None = None,
) -> Construction:
    """A recurrent network that answers every binary question of at most n nodes, given in the order of memory rank.

    Its state is a stack of answers with the depths of their nodes. A node pops its children, which are on top, and
    pushes the answer of the one with the larger score; a tree needs as many slots as its memory rank, at most
    log2 (n + 1). In another order it may take as many as there are leaves.

    Args:
        n: nodes, at most.
        dim: of the labels, which are integers.
        slots: of the stack; None for floor(log2 (n + 1)), enough for every binary tree of n nodes.
        largest: absolute value of a label's entries, at most.
        dtype: in which every answer must come out right, after rounding.
        generator: of the trees that are checked; None for seed 0.

    Returns:
        A `Construction`: `network(question_steps(question))` is (1, dim), the root's answer.

    Raises:
        ValueError: a size below 1.

    >>> built = build_crq_rnn(7, 1)
    >>> question = CompositionalQuestion(torch.tensor([-1, 0, 0]), torch.tensor([[-1.0], [2.0], [1.0]]))
    >>> built.network(question_steps(question)).item(), built.numbers["slots"]
    (1.0, 3)
    """
    check_sizes(n, dim, largest)
    slots = (n + 1).bit_length() - 1 if slots is None else slots
    if slots < 1:
        raise ValueError(f"slots={slots} given; at least one is needed.")
    network = StackMachine(dim, slots, _cell(n, dim, slots, largest))
    specification = Recurs(
        task=Task.POST_ORDER,
        points=_trees(n, dim, slots, largest, generator),
        tolerance=1e-6,
        dtype=str(dtype).removeprefix("torch."),
        source=f"arXiv {PAPER}, Theorem 5.4",
    )
    bounds = {"ReLU layers of the cell": 5, "numbers of the state": slots * (dim + 1)}
    numbers = {"nodes": n, "slots": slots}
    sizes = stack_resources(network)
    return constructed(network, specification, bounds=bounds, numbers=numbers, source=(paper(PAPER),), sizes=sizes)


def _cell(n: int, dim: int, slots: int, largest: int) -> nn.Sequential:
    """The stack's next state, slot by slot."""
    sizes = {"node": dim + 1} | {f"slot {k}": dim + 1 for k in range(slots)}
    stream = Stream(sizes)
    node = stream.wires("node")
    stack = [stream.wires(f"slot {k}") for k in range(slots)]
    stack += [[Wire({})] * dim + [Wire({}, EMPTY)]] * 2
    (*label, depth), (*first, above), (*second, below) = node, stack[0], stack[1]
    one, other = is_zero(above - depth - 1), is_zero(below - depth - 1)
    two = both(one, other)
    leaf, unary = 1 - one, one - two
    difference = [a - b for a, b in zip(first, second, strict=True)]
    score = total(product(d, w, 2 * largest) for d, w in zip(difference, label, strict=True))
    better = at_least_zero(score)
    chosen = [b + gated(better, d, 2 * largest) for b, d in zip(second, difference, strict=True)]
    rows = [
        gated(leaf, w, largest) + gated(unary, a, largest) + gated(two, c, largest)
        for w, a, c in zip(label, first, chosen, strict=True)
    ]
    rows.append(depth)
    size = max(n, largest, -EMPTY)
    for k in range(1, slots):
        moves = zip(stack[k - 1], stack[k], stack[k + 1], strict=True)
        rows += [gated(leaf, down, size) + gated(unary, stay, size) + gated(two, up, size) for down, stay, up in moves]
    return compiled(rows, stream.width)


def _trees(n: int, dim: int, slots: int, largest: int, generator: torch.Generator | None) -> tuple:
    """Random binary trees and chains that the stack is large enough for."""
    found: dict[int, list[Tensor]] = {}
    for k in range(CHECKED):
        size = max(1, n - k % 4)
        draw = spawn(generator, "tree", str(k))
        question = random_question(size, dim, largest=largest, most_children=2 - (k % 8 == 7), generator=draw)
        if question.memory_rank <= slots:
            found.setdefault(size, []).append(question_steps(question))
    return tuple(torch.cat(group).numpy() for group in found.values())


def stack_resources(network: StackMachine) -> dict[str, float | int]:
    """Sizes of a stack machine, by the names that certificates use."""
    linear = [m for m in network.cell if isinstance(m, nn.Linear)]
    return {
        "ReLU layers of the cell": len(linear) - 1,
        "numbers of the state": linear[-1].out_features,
        "neurons of a layer": max([m.out_features for m in linear[:-1]], default=0),
        "weights other than 0": sum(int((p != 0).sum()) for p in network.parameters()),
        "largest weight": max(float(p.abs().max()) for p in network.parameters()),
    }


def write_recurrent(network: StackMachine) -> tuple[Any, Mapping[str, Tensor]]:
    """Sizes as JSON, the cell's weights as tensors."""
    return {"dim": network.dim, "slots": network.slots}, dict(network.state_dict())


def build_recurrent(content: Any, tensors: Mapping[str, Tensor]) -> StackMachine:
    """The inverse of `write_recurrent`.

    Raises:
        ValueError: weights that do not fit each other or the sizes.
    """
    dim, slots, count = int(content["dim"]), int(content["slots"]), len(tensors) // 2
    size, modules = (dim + 1) * (slots + 1), []
    for k in range(count):
        weight, bias = tensors[f"cell.{2 * k}.weight"], tensors[f"cell.{2 * k}.bias"]
        if weight.ndim != 2 or weight.shape[1] != size or bias.shape != weight.shape[:1]:
            raise ValueError(f"layer {k} has weights of shape {tuple(weight.shape)} for {size} inputs")
        size = len(weight)
        layer = nn.Linear(weight.shape[1], size, device="meta")
        layer.weight, layer.bias = (nn.Parameter(t, requires_grad=False) for t in (weight, bias))
        modules += [layer, nn.ReLU()]
    if min(dim, slots) < 1 or size != slots * (dim + 1) or len(tensors) != 2 * count:
        raise ValueError(f"a cell of {count} layers writes {size} numbers for {slots} slots of {dim + 1}")
    return StackMachine(dim, slots, nn.Sequential(*modules[:-1]))


RECURRENT = NetworkFormat(write_recurrent, build_recurrent)
