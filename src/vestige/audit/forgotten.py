"""Which samples to forget: given positions, or those that leak."""

import torch
from torch import Tensor


def wanted(text: str, n: int) -> int | list[int] | None:
    """None for all that leak, a number for that many that leak most, or positions."""
    kind, _, count = text.partition(":")
    if kind == "leaked" and (not count or (count.isdecimal() and int(count) > 0)):
        return int(count) if count else None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) < n for part in parts):
        raise ValueError(
            f"forget={text!r} given; leaked, leaked:5, or positions from 0 to {n - 1} with commas are allowed."
        )
    return [int(part) for part in parts]


def picked(text: str, similarity: Tensor, recovered: Tensor) -> Tensor:
    """Positions to forget, given how each sample came back.

    Raises:
        ValueError: unknown text, no sample leaks, or all of them do.
    """
    choice = wanted(text, len(similarity))
    if isinstance(choice, list):
        return torch.tensor(sorted(set(choice)))
    order = similarity.argsort(descending=True, stable=True)
    leaked = order[recovered[order]]
    if not len(leaked):
        raise ValueError(
            "no sample leaks: none was recovered beyond chance, so there is nothing to pick. To forget samples anyway, "
            "give their positions as forget, such as 0,3."
        )
    if len(leaked[:choice]) == len(similarity):
        raise ValueError(
            f"all {len(leaked)} samples leak, and forgetting all of them would leave nothing. Give forget="
            f"leaked:{max(1, len(leaked) // 4)} for those that leak most."
        )
    return leaked[:choice].sort().values
