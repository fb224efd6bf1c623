"""Two layers that answer a question of any height by writing the answers of its nodes down (arXiv 2503.01544)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vestige.construct.construction import Construction
from vestige.construct.transformer.blocks import Embedding, Layer, Transformer, attention_head
from vestige.construct.transformer.composition.deep import PAPER, TOLERANCE, check_sizes, temperatures
from vestige.construct.transformer.composition.question import (
    CompositionalQuestion,
    NodeOrder,
    node_codes,
    random_question,
)
from vestige.construct.transformer.computes import Computes, constructed
from vestige.construct.transformer.stream import Stream
from vestige.construct.transformer.tasks import Task
from vestige.construct.transformer.wires import Wire
from vestige.core.cite import paper
from vestige.core.rng import spawn

CHECKED = 6


class ChainPrompt:
    """The tokens of a question and of the answers written so far.

    A node has its label, which is its answer if it is a leaf, its code and its parent's. A written token has the answer
    of the node before, that node's parent's code, and the code of the node that is next: the order is the tree's,
    deepest level first.

    Attributes:
        steps: inner nodes in the order in which they are answered.
    """

    def __init__(self, question: CompositionalQuestion, codes: Float[Tensor, "n k"]) -> None:
        self.question, self.codes = question, codes
        self.steps = [node for node in question.order(NodeOrder.REVERSE_BFS) if question.children[node]]
        n, blank = len(question.parents), torch.zeros_like(codes[0])
        if n > len(codes):
            raise ValueError(f"a tree of {n} nodes given for {len(codes)} codes; build the solver for n={n}.")
        labels = question.labels.double()
        parents = torch.stack([codes[p] if p >= 0 else blank for p in question.parents.tolist()])
        leaf = torch.tensor([[float(not below)] for below in question.children], dtype=torch.float64)
        self.tokens = torch.cat([labels, labels, codes[:n], parents, torch.zeros_like(parents), leaf], 1)
        self.write(None, 0)

    def write(self, answer: Tensor | None, step: int) -> None:
        """Append the token that carries the last answer and asks for the next."""
        dim, blank = self.question.labels.shape[1], torch.zeros_like(self.codes[0])
        zero = torch.zeros(dim, dtype=torch.float64)
        parent = -1 if answer is None else int(self.question.parents[self.steps[step - 1]])
        token = [
            zero,
            zero if answer is None else answer,
            blank,
            blank if parent < 0 else self.codes[parent],
            self.codes[self.steps[step]],
            torch.tensor([float(answer is not None)], dtype=torch.float64),
        ]
        self.tokens = torch.cat([self.tokens, torch.cat(token)[None]])


def build_crq_chain_of_thought(
    n: int,
    dim: int,
    *,
    largest: int = 2,
    one_hot: bool = False,
    dtype: torch.dtype = torch.float32,
    generator: torch.Generator | None = None,
) -> Construction:
    """A two-layer transformer that answers every question of at most n nodes with one token for each inner node.

    The last token names the node that is next: the first layer looks its label up, the second the best of the answers
    of its children, leaves or tokens written before. `solve_by_chain` writes its answers down one after the other.

    Args:
        n: nodes, at most; at least 2.
        dim: of the labels, which are integers.
        largest: absolute value of a label's entries, at most.
        one_hot: codes in n dimensions instead of 16 log2 n random signs.
        dtype: in which every answer must come out right, after rounding.
        generator: of the codes and of the trees that are checked; None for seed 0.

    Returns:
        A `Construction`: `network(tokens)` is (batch, dim), the answer of the node that the last token names.

    Raises:
        ValueError: a size below 1, or n below 2.

    Source: arXiv 2503.01544, Theorem 6.1.
    """
    check_sizes(n, dim, largest)
    if n < 2:
        raise ValueError(f"n={n} given; it must be at least 2: a single node has nothing to be written.")
    codes = torch.from_numpy(node_codes(n, one_hot=one_hot, generator=generator))
    beta, sharp = temperatures(2 * n, dim, largest, codes.numpy())
    network = _network(n, dim, (codes.shape[1], beta, sharp))
    specification = Computes(
        task=Task.NEXT_ANSWER,
        points=_prompts(n, dim, largest, codes, generator),
        given=codes.numpy(),
        tolerance=TOLERANCE,
        dtype=str(dtype).removeprefix("torch."),
        source=f"arXiv {PAPER}, Theorem 6.1",
    )
    bounds = {"layers": 2, "heads in a layer": 1, "stream width": 4 * dim + 3 * codes.shape[1] + 1}
    return constructed(network, specification, bounds=bounds, numbers={"nodes": n}, source=(paper(PAPER),))


def _network(n: int, dim: int, factors: tuple[int, float, float]) -> Transformer:
    size, beta, sharp = factors
    sizes = {"label": dim, "answer": dim, "code": size, "parent": size, "next": size, "is answer": 1}
    stream = Stream(sizes | {"question": dim, "found": dim})
    label, answer, code, parent, asked, question = (
        stream.wires(k) for k in ("label", "answer", "code", "parent", "next", "question")
    )
    look = attention_head(
        stream, query=[sharp * w for w in asked], key=code, value=label, to=list(stream.places("question"))
    )
    choose = attention_head(
        stream,
        query=[*(sharp * w for w in asked), *(beta * w for w in question), Wire({}, 2 * sharp)],
        key=[*parent, *answer, stream.wire("is answer")],
        value=answer,
        to=list(stream.places("found")),
    )
    table = torch.eye(2 * dim + 3 * size + 1, stream.width, dtype=torch.float64)
    embedding = Embedding(table, (3, 2 * n), ids=False)
    return Transformer(stream, embedding, [Layer([look]), Layer([choose])], stream.wires("found"))


def _prompts(n: int, dim: int, largest: int, codes: Tensor, generator: torch.Generator | None) -> tuple:
    """Prompts at every step of random trees."""
    found: dict[int, list[Tensor]] = {}
    for k in range(CHECKED):
        question = random_question(max(2, n - k), dim, largest=largest, generator=spawn(generator, "tree", str(k)))
        prompt, answers = ChainPrompt(question, codes), question.answers().double()
        for step, node in enumerate(prompt.steps, 1):
            found.setdefault(len(prompt.tokens), []).append(prompt.tokens)
            if step < len(prompt.steps):
                prompt.write(answers[node], step)
    return tuple(torch.stack(group).numpy() for group in found.values())


def solve_by_chain(
    model: nn.Module, question: CompositionalQuestion, codes: Float[Tensor, "n k"]
) -> Float[Tensor, "steps dim"]:
    """Let a chain-of-thought solver write down the answers of all inner nodes, the root's last.

    Args:
        model: `network` of `build_crq_chain_of_thought`, in any dtype.
        question: of at least two nodes.
        codes: its `specification.given`.

    Returns:
        One rounded answer for each inner node, in the order of `question.order("reverse_bfs")`.

    Raises:
        ValueError: more nodes than codes, or a single node.

    >>> built = build_crq_chain_of_thought(5, 1)
    >>> chain = CompositionalQuestion(torch.tensor([-1, 0, 1]), torch.tensor([[1.0], [1.0], [-2.0]]))
    >>> solve_by_chain(built.network, chain, torch.from_numpy(built.specification.given)).flatten().tolist()
    [-2.0, -2.0]
    """
    if len(question.parents) < 2:
        raise ValueError("a single node given; its label is its answer.")
    prompt, found = ChainPrompt(question, codes), []
    for step in range(1, len(prompt.steps) + 1):
        with torch.no_grad():
            found.append(model(prompt.tokens[None])[0].double().round())
        if step < len(prompt.steps):
            prompt.write(found[-1], step)
    return torch.stack(found)
