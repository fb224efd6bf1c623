"""Token sequences on which counters are checked."""

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from vestige.core.rng import spawn

EXHAUSTIVE, NUMBERS = 1000, 1 << 18  # sequences of one length, and tokens of one length, that are stored at most


def random_counts(
    vocab: int, length: int, n: int, *, largest: int | None = None, generator: torch.Generator | None = None
) -> Int[Tensor, "{n} {length}"]:
    """Sequences whose last token occurs 1..largest times, evenly, among random other tokens.

    Args:
        vocab: different tokens, at least 2.
        length: tokens of each.
        n: sequences; the last tokens go through the vocabulary.
        largest: count; None for the length.
        generator: None for seed 0.
    """
    draw = spawn(generator, "sequences", str(length))
    query = torch.arange(n)[torch.randperm(n, generator=draw)] % vocab
    other = torch.randint(vocab - 1, (n, length), generator=draw)
    other = (query[:, None] + 1 + other) % vocab
    most = length if largest is None else min(largest, length)
    count = 1 + (torch.arange(n) * (most - 1) / max(1, n - 1)).round().long()
    place = torch.rand(n, length, generator=draw)
    place[:, -1] = -1
    return torch.where(place.argsort(1).argsort(1) < count[:, None], query[:, None], other)


def count_sequences(
    vocab: int, lengths: tuple[int, int], *, generator: torch.Generator | None = None
) -> tuple[np.ndarray, ...]:
    """All short sequences where they are few, else random ones: at the largest length, at the middle, at the least."""
    least, most = lengths
    chosen = sorted({least, (least + most + 1) // 2, most})
    return tuple(_stored(_of_length(vocab, n, generator)) for n in chosen)


def _of_length(vocab: int, length: int, generator: torch.Generator | None) -> Tensor:
    if vocab**length <= EXHAUSTIVE:
        return torch.cartesian_prod(*[torch.arange(vocab)] * length).reshape(-1, length)
    n = min(max(vocab, length), max(16, NUMBERS // length))
    return random_counts(vocab, length, n, generator=generator)


def _stored(x: Tensor) -> np.ndarray:
    return x.to(torch.int32).numpy()


def disjointness_sequences(
    universe: int, n: int, *, generator: torch.Generator | None = None
) -> tuple[Int[Tensor, "{n} length"], Int[Tensor, " {n}"]]:
    """Pairs of subsets of half a universe, one after the other, half of the pairs with exactly one common token.

    The most frequent token occurs twice where they meet and once where they do not, which one layer cannot tell at
    few bits (`most_frequent_lower_bound`).

    Args:
        universe: different tokens, at least 4.
        n: sequences.
        generator: None for seed 0.

    Returns:
        Sequences of universe / 2 tokens, and the counts, 1 or 2.

    Raises:
        ValueError: a universe below 4.
    """
    if universe < 4:
        raise ValueError(f"universe={universe} given; it must be at least 4.")
    draw = spawn(generator, "disjointness", str(universe))
    size = universe // 4
    order = torch.rand(n, universe, generator=draw).argsort(1)
    first, second = order[:, :size], order[:, size : 2 * size].clone()
    meets = torch.arange(n) % 2 == 1
    second[meets, 0] = first[meets, 0]
    shuffled = torch.rand(n, size, generator=draw).argsort(1)
    return torch.cat([first, second.gather(1, shuffled)], 1), 1 + meets.long()
