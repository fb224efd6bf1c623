"""How many samples the singular values of a first layer count: down to a gap, or down to the noise it was drawn with.

With weight decay the initialization fades and the values fall at the number of samples. Without it the first layer is
that of the samples plus independent noise, whose singular values are known: s / (sigma sqrt(d)) follows the law of
Marchenko and Pastur (1967). Its edge, sigma (sqrt(d) + sqrt(h)), is what a sample must stand above; sigma is read off
the small values, and where those do not follow the law nothing is claimed.
"""

import torch
from jaxtyping import Float
from torch import Tensor

GAP = 20.0  # ratio of neighbors that is no accident
MISFIT = 0.03  # relative distance of the smaller values from the law; measured: below .02 for noise, .04 for s_k = 1/k
ABOVE = 1.03  # of the edge: what stands out
GRID = 4001


def numerical_rank(singular: Float[Tensor, " k"], shape: tuple[int, int] | None = None) -> tuple[int, bool]:
    """How many singular values belong to samples, and whether that is clear.

    Above the largest gap, a ratio of neighbors of at least GAP; without one above the noise, if the matrix is `shape`
    and its small values are noise; otherwise every value above 1e-6 of the largest counts, and nothing is clear
    unless some lie below.

    Args:
        singular: in descending order.
        shape: of the matrix that they belong to; None: no noise is looked for.
    """
    kept = singular[singular > 1e-6 * singular[0]]
    ratios = kept[:-1] / kept[1:]
    if len(ratios) and ratios.max() >= GAP:
        return int(ratios.argmax()) + 1, True
    if shape is not None and len(kept) == min(shape) and (count := _above_noise(kept.double().cpu(), shape)):
        return count, True
    return len(kept), len(kept) < len(singular)


def _above_noise(singular: Tensor, shape: tuple[int, int]) -> int:
    """Values above the edge of the noise that the smaller ones are; 0 where fewer than half of all are noise."""
    small, large = sorted(shape)
    count, seen = 0, set()
    while count not in seen:
        seen.add(count)
        aspect = (small - count) / large
        noise = singular[count:].flip(0)
        half = noise[: len(noise) // 2]
        if len(half) < 10:
            return 0
        sigma = half / _law(aspect, (torch.arange(len(half)) + 0.5) / len(noise))
        typical = sigma.median()
        misfit = float((sigma / typical - 1).square().mean().sqrt())
        count = int((singular > ABOVE * typical * (1 + aspect**0.5)).sum())
    return count if misfit <= MISFIT and 2 * count <= small else 0


def _law(aspect: float, p: Tensor) -> Tensor:
    """Quantiles of the singular values of a (small, large) matrix of noise of variance 1 / large."""
    low, high = (1 - aspect**0.5) ** 2, (1 + aspect**0.5) ** 2
    angle = torch.linspace(0, torch.pi, GRID, dtype=torch.float64)
    x = low + (high - low) * (1 - angle.cos()) / 2
    density = ((x - low) * (high - x)).clamp(min=0).sqrt() / x.clamp(min=1e-12) * angle.sin()
    share = density.cumsum(0) / density.sum()
    return x[torch.searchsorted(share, p.double()).clamp(max=GRID - 1)].sqrt()
