"""A transformer of as many layers as the tree is high, all with the same weights (arXiv 2503.01544, Theorem 4.1)."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vestige.construct.construction import Construction
from vestige.construct.transformer.blocks import Embedding, Layer, Transformer, attention_head, mlp
from vestige.construct.transformer.composition.question import CompositionalQuestion, node_codes, random_question
from vestige.construct.transformer.computes import Computes, constructed
from vestige.construct.transformer.counting.capacity import coherence
from vestige.construct.transformer.gadgets import gated, lookup_temperature
from vestige.construct.transformer.stream import Stream
from vestige.construct.transformer.tasks import Task
from vestige.core.cite import paper
from vestige.core.rng import spawn

PAPER, LEFT, TOLERANCE, CHECKED = "2503.01544", 1e-9, 1e-6, 24


def question_tokens(
    question: CompositionalQuestion, codes: Float[np.ndarray, "most k"]
) -> Float[Tensor, "1 n features"]:
    """What the deep solver reads: each node's label, code, parent's code, and whether it is a leaf; the root first.

    Args:
        question: a tree.
        codes: of nodes, see `node_codes`; at least as many as the tree has.

    Raises:
        ValueError: more nodes than codes.
    """
    n = len(question.parents)
    if n > len(codes):
        raise ValueError(f"a tree of {n} nodes given for {len(codes)} codes; build the solver for n={n}.")
    order = [question.root, *(node for node in range(n) if node != question.root)]
    place = {node: k for k, node in enumerate(order)}
    table = torch.from_numpy(codes)
    above = [place.get(int(question.parents[node]), -1) for node in order]
    parent = torch.stack([table[k] if k >= 0 else torch.zeros_like(table[0]) for k in above])
    leaf = torch.tensor([[float(not question.children[node])] for node in order], dtype=torch.float64)
    return torch.cat([question.labels[order].double(), table[:n], parent, leaf], 1)[None]


def check_sizes(n: int, dim: int, largest: int) -> None:
    """Refuse what is no tree.

    Raises:
        ValueError: a size below 1.
    """
    if min(n, dim, largest) < 1:
        raise ValueError(f"n={n}, dim={dim}, largest={largest} given; each must be at least 1.")


def temperatures(n: int, dim: int, largest: int, codes: Float[np.ndarray, "n k"]) -> tuple[float, float]:
    """Factors of scores and of codes: scores are integers, and a child outweighs every other token.

    A child's logit is at least B - b S, another token's at most B mu + b S, with S the largest score.
    """
    beta = lookup_temperature(1.0, n, LEFT / (2 * largest))
    score = dim * largest**2
    mu = coherence(torch.from_numpy(codes)) if len(codes) > 1 else 0.0
    return beta, (2 * beta * score + beta) / (1 - mu)


def build_crq_transformer(
    n: int,
    dim: int,
    height: int,
    *,
    largest: int = 2,
    one_hot: bool = False,
    dtype: torch.dtype = torch.float32,
    generator: torch.Generator | None = None,
) -> Construction:
    """A transformer that answers every question of at most n nodes, of a height up to its depth.

    In each layer a node looks its children up by the code of their parent, B <code, parent's code>, with their scores
    b <x_v, A(u)> beside, and takes the winner's answer over. After t layers all nodes of height t are right.

    Args:
        n: nodes, at most.
        dim: of the labels, which are integers.
        height: of the trees, at most, and layers; at least 1.
        largest: absolute value of a label's entries, at most.
        one_hot: codes in n dimensions instead of 16 log2 n random signs.
        dtype: in which every answer must come out right, after rounding.
        generator: of the codes and of the trees that are checked; None for seed 0.

    Returns:
        A `Construction`: `network(question_tokens(question, codes))` is (1, dim), the root's answer, to be rounded;
        the codes are `specification.given`.

    Raises:
        ValueError: a size below 1.

    >>> built = build_crq_transformer(7, 1, 2)
    >>> question = CompositionalQuestion(torch.tensor([-1, 0, 0]), torch.tensor([[-1.0], [2.0], [1.0]]))
    >>> built.network(question_tokens(question, built.specification.given)).round().item()
    1.0
    """
    check_sizes(n, dim, largest)
    if height < 1:
        raise ValueError(f"height={height} given; it must be at least 1, a layer each.")
    codes = node_codes(n, one_hot=one_hot, generator=generator)
    beta, sharp = temperatures(n, dim, largest, codes)
    network = _network(n, dim, height, largest, (codes.shape[1], beta, sharp))
    specification = Computes(
        task=Task.COMPOSITION,
        points=_trees(n, dim, height, largest, codes, generator),
        given=codes,
        tolerance=TOLERANCE,
        dtype=str(dtype).removeprefix("torch."),
        source=f"arXiv {PAPER}, Theorem 4.1",
    )
    bounds = {"layers": height, "heads in a layer": 1, "stream width": 3 * dim + 2 * codes.shape[1] + 1}
    numbers = {"nodes": n, "height": height, "score temperature": beta, "code temperature": sharp}
    return constructed(network, specification, bounds=bounds, numbers=numbers, source=(paper(PAPER),))


def _network(n: int, dim: int, height: int, largest: int, factors: tuple[int, float, float]) -> Transformer:
    size, beta, sharp = factors
    stream = Stream({"label": dim, "answer": dim, "code": size, "parent": size, "leaf": 1, "found": dim})
    label, answer, code, parent, found = (stream.wires(k) for k in ("label", "answer", "code", "parent", "found"))
    inner = 1 - stream.wire("leaf")

    def layer() -> Layer:
        head = attention_head(
            stream,
            query=[*(sharp * w for w in code), *(beta * w for w in label)],
            key=[*parent, *answer],
            value=answer,
            to=list(stream.places("found")),
        )
        change = [gated(inner, new - old, 2 * largest + 1) for new, old in zip(found, answer, strict=True)]
        return Layer([head], mlp(stream, {"answer": change}, clear=["found"]))

    return Transformer(stream, _embedding(stream, dim, size, n), [layer() for _ in range(height)], answer, read=0)


def _embedding(stream: Stream, dim: int, size: int, n: int) -> Embedding:
    table = torch.zeros(dim + 2 * size + 1, stream.width, dtype=torch.float64)
    rows = list(range(len(table)))
    table[rows, [*stream.places("label"), *stream.places("code"), *stream.places("parent"), *stream.places("leaf")]] = (
        1.0
    )
    table[rows[:dim], list(stream.places("answer"))] = 1.0
    return Embedding(table, (1, n), ids=False)


def _trees(
    n: int, dim: int, height: int, largest: int, codes: Float[np.ndarray, "n k"], generator: torch.Generator | None
) -> tuple[np.ndarray, ...]:
    """Random trees of n nodes, or fewer, that are low enough, and a chain as high as may be."""
    chain = random_question(min(n, height + 1), dim, largest=largest, most_children=1, generator=generator)
    found: dict[int, list[Tensor]] = {len(chain.parents): [question_tokens(chain, codes)]}
    for k in range(CHECKED):
        draw = spawn(generator, "tree", str(k))
        size = n if k % 2 else 1 + n // 2
        while True:
            question = random_question(size, dim, largest=largest, generator=draw)
            if question.height <= height:
                found.setdefault(size, []).append(question_tokens(question, codes))
                break
            draw = spawn(draw, "again")
            size = max(1, size - 1)
    return tuple(torch.cat(group).numpy() for group in found.values())
