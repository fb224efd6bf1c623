"""The task that RedEx solves and no fixed embedding of moderate size does: a staircase up to a sparse parity.

For x uniform on {-1, 1}^d and a hidden set I of k coordinates, the targets are p_0, p_2, ..., p_k of their sum, with
Kravchuk's polynomials, orthonormal under that sum. p_k is the parity of the k coordinates up to its sign.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vestige.core.rng import spawn


def kravchuk_polynomials(k: int) -> Float[Tensor, "degrees sums"]:
    """Values of p_0, ..., p_k at the sums -k, -k + 2, ..., k of k signs.

    p_0 = 1, p_1 = s / sqrt(k), s p_i = sqrt((i + 1)(k - i)) p_{i+1} + sqrt(i (k - i + 1)) p_{i-1}.

    Args:
        k: signs, at least 1.

    Raises:
        ValueError: k below 1.

    >>> kravchuk_polynomials(4)[4].round().tolist()  # the parity
    [1.0, -1.0, 1.0, -1.0, 1.0]
    """
    if k < 1:
        raise ValueError(f"k={k} given; at least one sign is needed.")
    s = torch.arange(-k, k + 1, 2, dtype=torch.float64)
    found = [torch.ones_like(s), s / math.sqrt(k)]
    for i in range(1, k):
        rest = s * found[i] - math.sqrt(i * (k - i + 1)) * found[i - 1]
        found.append(rest / math.sqrt((i + 1) * (k - i)))
    return torch.stack(found)


def parity_staircase(
    n: int, *, dimension: int = 24, k: int = 4, generator: torch.Generator | None = None
) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n outputs"], Int[Tensor, " k"]]:
    """Samples of the task.

    Args:
        n: samples.
        dimension: d.
        k: hidden coordinates, even.
        generator: of samples and coordinates; None for seed 0. The coordinates depend on its seed alone.

    Returns:
        Signs, the targets (p_0, p_2, ..., p_k), and the hidden coordinates.

    Raises:
        ValueError: an odd k, or one above d.

    >>> x, y, hidden = parity_staircase(5, dimension=6, k=2)
    >>> torch.allclose(y[:, -1], x[:, hidden].prod(1))
    True
    """
    if k < 2 or k % 2 or k > dimension or n < 1:
        raise ValueError(f"n={n}, k={k}, dimension={dimension} given; needed are n >= 1 and an even k from 2 to d.")
    hidden = torch.randperm(dimension, generator=spawn(generator, "hidden"))[:k].sort().values
    x = 1 - 2 * torch.randint(2, (n, dimension), generator=spawn(generator, "signs", str(n))).double()
    place = ((x[:, hidden].sum(1) + k) / 2).long()
    return x, kravchuk_polynomials(k)[::2, place].T.contiguous(), hidden
