"""Which of a few random numbers add up to a given one? The step that turns random weights into wanted ones.

With m independent numbers the best subset misses a target by about 2^-m of their size (Lueker 1998, the tool of arXiv
2006.07990); the best single number misses it by 1/m. Three solvers, each for many instances at once:

- SUBSET_SUM, exact: all sums of either half of the numbers, one half sorted, the best partner of each sum of the other
  half by bisection: O(m 2^(m/2)) instead of 2^m.
- GREEDY: from the largest number down, subtract what fits. With a number in each [g^i, g^(i-1)], i = 1..K, the residual
  of a target in [0, 1/g] is at most g^(K-1) for any g in [(sqrt(5) - 1)/2, 1), because before step i it is at most
  g^(i-2) and 1 - g^2 <= g (arXiv 2006.12156).
- RANDOM: the best single number.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vestige.core.choices import ChoiceEnum
from vestige.core.cite import Paper, paper

LARGEST_EXACT = 34  # 2^17 sums a half; more numbers than that never miss a target by more than rounding
SUMS_AT_ONCE = 2**17  # of one half; larger blocks leave the cache and gain nothing


class PruneMethod(ChoiceEnum):
    """How random numbers make a wanted one. CLOSE takes a product whose two factors are each near a wanted value."""

    SUBSET_SUM = "subset_sum"
    GREEDY = "greedy"
    RANDOM = "random"
    CLOSE = "close"


@dataclass(frozen=True, eq=False)
class SubsetSum:
    """`mask` marks the numbers taken of each instance, `error` is |their sum - target| recomputed in float64."""

    mask: Bool[Tensor, "*batch m"]
    error: Float[Tensor, "*batch"]
    source: tuple[Paper, ...] = field(default=(paper("2006.07990"), paper("2006.12156")), repr=False)


def random_subset_sum(
    values: Float[Tensor, "*batch m"],
    target: Float[Tensor, "*targets"],
    *,
    method: PruneMethod | str = PruneMethod.SUBSET_SUM,
) -> SubsetSum:
    """Subsets whose sums are near their targets, many instances at once.

    min over S of |sum_{q in S} values_q - target|, exactly by SUBSET_SUM.

    Args:
        values: m numbers an instance, of either sign.
        target: one number an instance; the empty subset has the sum 0.
        method: subset_sum (the best subset), greedy (largest first, no search) or random (the best single number).

    Raises:
        ValueError: NaN, shapes that do not fit, an unknown method, or more numbers than an exact search can take.

    Example:
        >>> found = random_subset_sum(torch.tensor([3.0, -1.0, 7.0, 0.5]), torch.tensor(2.5))
        >>> found.mask.tolist(), float(found.error)
        ([True, True, False, True], 0.0)
    """
    solver = _checked(values, target, method)
    flat, goal = values.reshape(-1, values.shape[-1]), target.reshape(-1)
    mask = SOLVERS[solver](flat, goal)
    error = ((flat.double() * mask).sum(-1) - goal.double()).abs()
    return SubsetSum(mask.reshape(values.shape), error.reshape(target.shape))


def _checked(values: Tensor, target: Tensor, method: PruneMethod | str) -> PruneMethod:
    if method not in SOLVERS:
        raise ValueError(f"method={str(method)!r} given; allowed are {', '.join(SOLVERS)}.")
    if values.shape[:-1] != target.shape:
        raise ValueError(
            f"values of shape {tuple(values.shape)} with targets of shape {tuple(target.shape)}: one target for each "
            "row of values is needed"
        )
    if not bool(torch.isfinite(values).all() & torch.isfinite(target).all()):
        raise ValueError("values or targets hold NaN or infinite numbers; remove those instances")
    if method == PruneMethod.SUBSET_SUM and values.shape[-1] > LARGEST_EXACT:
        raise ValueError(
            f"{values.shape[-1]} numbers given; an exact search takes at most {LARGEST_EXACT}. Give fewer, which is "
            "enough for any float, or method='greedy'"
        )
    return PruneMethod(method)


def best_subset(values: Float[Tensor, "n m"], target: Float[Tensor, " n"]) -> Bool[Tensor, "n m"]:
    """The subset nearest to each target, by the sums of both halves."""
    n, m = values.shape
    low = m // 2
    mask = torch.zeros(n, m, dtype=torch.bool, device=values.device)
    rows = max(1, SUMS_AT_ONCE >> (m - low))
    for start in range(0, n, rows):
        part = slice(start, start + rows)
        left, right = _sums(values[part, :low]), _sums(values[part, low:])
        first, second = _nearest_pair(left, right, target[part])
        mask[part, :low] = _bits(first, low)
        mask[part, low:] = _bits(second, m - low)
    return mask


def _nearest_pair(left: Tensor, right: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Indices of the sums, one of each half, that add up best."""
    ordered, order = right.sort(dim=1)
    wanted = target[:, None] - left
    above = torch.searchsorted(ordered, wanted).clamp_(max=right.shape[1] - 1)
    below = (above - 1).clamp_(min=0)
    miss_above, miss_below = (ordered.gather(1, k).sub_(wanted).abs_() for k in (above, below))
    miss = torch.minimum(miss_above, miss_below)
    first = miss.argmin(1, keepdim=True)
    nearest = torch.where(
        miss_above.gather(1, first) <= miss_below.gather(1, first), above.gather(1, first), below.gather(1, first)
    )
    return first[:, 0], order.gather(1, nearest)[:, 0]


def _sums(values: Tensor) -> Tensor:
    """All 2^k subset sums of each row; bit q of an index says whether number q is in."""
    sums = values.new_zeros(len(values), 1)
    for q in range(values.shape[1]):
        sums = torch.cat([sums, sums + values[:, q : q + 1]], dim=1)
    return sums


def _bits(index: Tensor, count: int) -> Tensor:
    return (index[:, None] >> torch.arange(count, device=index.device)) & 1 == 1


def largest_first(values: Float[Tensor, "n m"], target: Float[Tensor, " n"]) -> Bool[Tensor, "n m"]:
    """Numbers of the target's sign, largest first, each taken if it fits into what is left."""
    left, sign = target.abs().clone(), target.sign()
    ordered, order = (values * sign[:, None]).sort(dim=1, descending=True)
    taken = torch.zeros_like(order, dtype=torch.bool)
    for q in range(values.shape[1]):
        size = ordered[:, q]
        fits = (size > 0) & (size <= left)
        taken[:, q] = fits
        left -= size * fits
    return torch.zeros_like(taken).scatter_(1, order, taken)


def best_single(values: Float[Tensor, "n m"], target: Float[Tensor, " n"]) -> Bool[Tensor, "n m"]:
    """The number nearest to the target, or none where zero is nearer."""
    miss, index = (values - target[:, None]).abs().min(dim=1)
    mask = torch.zeros_like(values, dtype=torch.bool)
    return mask.scatter_(1, index[:, None], (miss < target.abs())[:, None])


SOLVERS = {
    PruneMethod.SUBSET_SUM: best_subset,
    PruneMethod.GREEDY: largest_first,
    PruneMethod.RANDOM: best_single,
}
