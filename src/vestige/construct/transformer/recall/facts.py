"""Tables of facts: facts[s, r] is the entity that relation r leads to from entity s (arXiv 2605.12426).

Subjects and attributes are the same n entities, so that a question may take several hops. In a question

    r_1, ..., r_k, s                     ids n + r_1, ..., n + r_k, s

the relations come first and the subject last; a chain of thought appends the entities that it finds.
"""

import math

import torch
from jaxtyping import Int
from torch import Tensor

from vestige.core.rng import spawn

MOST_QUESTIONS = 1 << 20  # that are stored with a network, each of them


def random_facts(n: int, relations: int, *, generator: torch.Generator | None = None) -> Int[Tensor, "{n} {relations}"]:
    """A table in which every relation is a random bijection.

    Args:
        n: entities, at least 2.
        relations: at least 1.
        generator: None for seed 0.

    Raises:
        ValueError: a smaller size.
    """
    if n < 2 or relations < 1:
        raise ValueError(f"n={n}, relations={relations} given; at least 2 entities and 1 relation are needed.")
    draw = spawn(generator, "facts")
    return torch.stack([torch.randperm(n, generator=draw) for _ in range(relations)], 1)


def compose_facts(facts: Int[Tensor, "n relations"], hops: int) -> Int[Tensor, "n paths"]:
    """Where every path of so many relations leads, the first relation's number the slowest to change.

    Args:
        facts: a table.
        hops: at least 1.

    Raises:
        ValueError: no hops, or a table that is none.

    >>> compose_facts(torch.tensor([[1, 0], [0, 1]]), 2).tolist()
    [[0, 1, 1, 0], [1, 0, 0, 1]]
    """
    check_facts(facts, hops)
    found = torch.arange(len(facts))[:, None]
    for _ in range(hops):
        found = facts[found].flatten(1)
    return found


def check_facts(facts: Tensor, hops: int = 1) -> None:
    """Refuse what is no table of facts, or too many questions about one.

    Raises:
        ValueError: what is wrong with it.
    """
    if facts.ndim != 2 or facts.is_floating_point() or facts.numel() == 0 or len(facts) < 2:
        raise ValueError(f"facts of shape {tuple(facts.shape)} and type {facts.dtype} given; (n, relations) integers.")
    n, relations = facts.shape
    if not 0 <= int(facts.min()) <= int(facts.max()) < n:
        wrong = int(((facts < 0) | (facts >= n)).sum())
        raise ValueError(
            f"{wrong} facts outside of 0..{n - 1} given; subjects and attributes are the same {n} entities, and every "
            "subject has an attribute under every relation: give a missing one an entity that stands for 'none'."
        )
    if hops < 1 or n * relations**hops * hops > MOST_QUESTIONS:
        raise ValueError(
            f"hops={hops} given, {n * relations ** max(hops, 0):,} questions; at least one hop, and at most "
            f"{MOST_QUESTIONS:,} questions are asked one by one."
        )


def repeated(facts: Int[Tensor, "n relations"]) -> list[int]:
    """Relations that lead to one entity from two others."""
    return [r for r, column in enumerate(facts.T) if len(column.unique()) < len(column)]


def questions(facts: Int[Tensor, "n relations"], hops: int) -> Int[Tensor, "many length"]:
    """Every question of so many hops, subject by subject."""
    n, relations = facts.shape
    parts = [torch.arange(n), *[torch.arange(n, n + relations)] * hops]
    table = torch.cartesian_prod(*parts)
    return torch.cat([table[:, 1:], table[:, :1]], 1)


def chain_questions(facts: Int[Tensor, "n relations"], hops: int) -> list[Int[Tensor, "many length"]]:
    """The same with the first 0, 1, ... hops - 1 answers written behind."""
    found = [questions(facts, hops)]
    for step in range(hops - 1):
        before = found[-1]
        found.append(torch.cat([before, facts[before[:, -1], before[:, step] - len(facts)][:, None]], 1))
    return found


def recall_lower_bound(n: int, relations: int, hops: int = 1) -> float:
    """Bits of a subject's embedding that any network needs whose other weights do not depend on the facts.

    The answers to all questions about one subject are a function of its embedding. One hop has n^R answers. With more,
    and n > R + R^2 + ... + R^k so that no two paths need meet, every tuple of R^k different entities occurs:

        bits  >=  log2 n (n - 1) ... (n - R^k + 1).

    Args:
        n: entities.
        relations: R.
        hops: k, at least 1.

    Returns:
        Bits; NaN where the paths from a subject have to meet.

    >>> recall_lower_bound(256, 3), round(recall_lower_bound(256, 3, hops=2), 1)
    (24.0, 71.8)
    """
    if n < 2 or relations < 1 or hops < 1:
        raise ValueError(f"n={n}, relations={relations}, hops={hops} given; 2, 1 and 1 are the least.")
    if hops == 1:
        return relations * math.log2(n)
    if sum(relations**k for k in range(1, hops + 1)) >= n:
        return math.nan
    return sum(math.log2(n - k) for k in range(relations**hops))
