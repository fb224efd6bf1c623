"""Random matrices that a seed gives back bit for bit, on every machine and with every version of the libraries.

What is kept of a pruned network is a seed and masks, so its random weights must come back exactly. They are made from
the raw output of numpy's PCG64, which numpy promises not to change, by integers and correctly rounded operations.
"""

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from vestige.core.choices import ChoiceEnum

SHRINK = 2 / 3  # from one bucket to the next; greedy sums need at least (sqrt(5) - 1) / 2
BUCKETS = 36  # down to (2/3)^36, about 5e-7


class Distribution(ChoiceEnum):
    """UNIFORM in (-1, 1); HYPERBOLIC with a density of about 1/|w|: as many weights of each order of magnitude."""

    UNIFORM = "uniform"
    HYPERBOLIC = "hyperbolic"


def random_matrix(
    seed: int, stream: tuple[int, ...], shape: tuple[int, int], distribution: str = "uniform"
) -> Float[Tensor, "rows columns"]:
    """Independent float32 numbers of magnitude at most 1, none of them zero.

    UNIFORM takes the odd multiples of 2^-24. HYPERBOLIC takes one of the buckets [(2/3)^i, (2/3)^(i-1)], i = 1..36,
    with equal chances, then a uniform number inside it, then a sign. `stream` tells the matrices of one seed apart.

    >>> first, again, other = (random_matrix(7, (0, k), (2, 3)) for k in (1, 1, 2))
    >>> bool((first == again).all()), bool((first == other).any())
    (True, False)
    """
    draw = _uniform if Distribution(distribution) is Distribution.UNIFORM else _hyperbolic
    return torch.from_numpy(draw(np.random.PCG64([seed, *stream]), shape[0] * shape[1]).reshape(shape))


def _uniform(source: np.random.PCG64, count: int) -> NDArray[np.float32]:
    bits = _raw(source, (count + 1) // 2).view("<u4")[:count] >> 8
    return ((2 * bits.astype(np.int32) + 1) - 2**24).astype(np.float32) * np.float32(2.0**-24)


def _hyperbolic(source: np.random.PCG64, count: int) -> NDArray[np.float32]:
    edges = np.cumprod(np.r_[1.0, np.full(BUCKETS, SHRINK)])  # one product after another: rounded alike everywhere
    bits = _raw(source, count)
    bucket = ((bits >> np.uint64(32)) * np.uint64(BUCKETS)) >> np.uint64(32)
    inside = ((bits & np.uint64(2**32 - 1)) >> np.uint64(1)).astype(np.float64) * 2.0**-31
    low, high = edges[bucket + np.uint64(1)], edges[bucket]
    sign = 1.0 - 2.0 * (bits & np.uint64(1)).astype(np.float64)
    return (sign * (low + inside * (high - low))).astype(np.float32)


def _raw(source: np.random.PCG64, count: int) -> NDArray[np.uint64]:
    return np.asarray(source.random_raw(count)).astype("<u8")
