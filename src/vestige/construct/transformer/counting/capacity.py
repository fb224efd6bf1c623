"""How many tokens a vocabulary, a dimension and a dtype allow to count (arXiv 2407.15160).

Unit vectors of m tokens in d < m dimensions have an inner product of at least sqrt((m - d) / (d (m - 1))), Welch's
bound. A histogram of n tokens is then read with cross-talk, and a softmax needs logits of ln(n / error) / (1 - mu).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vestige.construct.transformer.gadgets import inverse_hinges, lookup_temperature
from vestige.core.rng import spawn

LEFT_OVER = 1 / 8  # probability that a head may give to all other tokens, times the count
NO_ERROR = 1e-3  # of what is exact but for rounding
INVERSE_ERROR = 0.3  # of the MLP; with what is left over still less than 1/2


def unit_embeddings(
    vocab: int, dim: int, *, generator: torch.Generator | None = None
) -> Float[Tensor, "{vocab} {dim}"]:
    """Orthonormal rows where dim >= vocab, else random ones of length 1, in float64.

    Args:
        vocab: number of tokens.
        dim: of the stream's part for them.
        generator: of the directions; None for seed 0.
    """
    draw = torch.randn(max(vocab, dim), dim, generator=spawn(generator, "tokens"), dtype=torch.float64)
    if dim >= vocab:
        return torch.linalg.qr(draw[:dim])[0].T[:vocab].contiguous()
    return draw[:vocab] / draw[:vocab].norm(dim=1, keepdim=True)


def coherence(embeddings: Float[Tensor, "vocab dim"]) -> float:
    """The largest |<e_i, e_j>| / (|e_i| |e_j|) of two different rows.

    >>> coherence(torch.eye(3))
    0.0
    """
    rows = embeddings.double()
    rows = rows / rows.norm(dim=1, keepdim=True)
    return float((rows @ rows.T).fill_diagonal_(0).abs().max())


def welch_bound(vocab: int, dim: int) -> float:
    """The least coherence that vocab directions in dim dimensions can have.

    >>> round(welch_bound(500, 50), 4), welch_bound(3, 3)
    (0.1343, 0.0)
    """
    return math.sqrt(max(0, vocab - dim) / (dim * max(1, vocab - 1)))


@dataclass(frozen=True, kw_only=True)
class CountingCapacity:
    """What counting takes at a vocabulary, dimension and length.

    Attributes:
        coherence: of the embeddings.
        welch: the least that any have.
        temperature: factor of the attending head's logits.
        pieces: of the MLP that inverts a weight, to less than 1/2.
        pieces_exact: of an MLP that is exact at every count; a convex function's chord has two of them.
        largest_slope: of that MLP, about the square of the length.
        cross_talk: error that a histogram in these embeddings may have, in counts; 0 for orthonormal ones.
        largest_count: that the dtype resolves to less than 1/2.
        histogram_fits: whether dim >= vocab.
    """

    coherence: float
    welch: float
    temperature: float
    pieces: int
    pieces_exact: int
    largest_slope: float
    cross_talk: float
    largest_count: int
    histogram_fits: bool


def counting_capacity(
    vocab: int,
    dim: int,
    length: int,
    *,
    dtype: torch.dtype = torch.float32,
    generator: torch.Generator | None = None,
) -> CountingCapacity:
    """What the two ways of counting need: a histogram, which wants dim >= vocab, and attending to the query.

    Args:
        vocab: different tokens, at least 2.
        dim: of their embeddings, at least 2.
        length: tokens at most.
        dtype: that counts are computed in: a relative error of eps / 2 shifts a count c by about c eps / 2.
        generator: of the embeddings; None for seed 0.

    Raises:
        ValueError: a size below 2, or embeddings of which two agree.

    >>> found = counting_capacity(500, 50, 4096)
    >>> found.pieces, found.pieces_exact, found.largest_count, counting_capacity(4, 4, 9).cross_talk < 1e-12
    (82, 2048, 8388608, True)
    """
    check_sizes(vocab, dim, length)
    embeddings = unit_embeddings(vocab, dim, generator=generator)
    mu = coherence(embeddings)
    _, weights, _ = inverse_hinges(length, INVERSE_ERROR)
    return CountingCapacity(
        coherence=mu,
        welch=welch_bound(vocab, dim),
        temperature=lookup_temperature(1 - mu, length, LEFT_OVER),
        pieces=len(weights),
        pieces_exact=max(1, length // 2),
        largest_slope=sum(weights),
        cross_talk=length * mu,
        largest_count=round(1 / torch.finfo(dtype).eps),
        histogram_fits=dim >= vocab,
    )


def check_sizes(vocab: int, dim: int, length: int) -> None:
    """Refuse what is no vocabulary.

    Raises:
        ValueError: a size below 2.
    """
    if not (vocab >= 2 and dim >= 2 and length >= 2):
        raise ValueError(f"vocab={vocab}, dim={dim}, length={length} given; each must be at least 2.")


def most_frequent_lower_bound(vocab: int, length: int) -> int:
    """Bits that the heads of one layer must carry together to give the count of the most frequent token.

    Two sets in a universe of k = min(vocab, length / 2) tokens, one written after the other, have a token twice exactly
    where they meet, and telling that takes k bits between their holders. The holder of the second tells which token it
    reads with, log2 vocab bits; the first answers with each head's values and its normalizer, p bits a number. So

        heads (values + 1) p  >=  k - ceil(log2 vocab).

    One layer only: two layers do it at any vocabulary with two numbers a head.

    Args:
        vocab: different tokens.
        length: tokens.

    >>> most_frequent_lower_bound(1000, 400)
    190
    """
    check_sizes(vocab, 2, length)
    return max(0, min(vocab, length // 2) - math.ceil(math.log2(vocab)))
