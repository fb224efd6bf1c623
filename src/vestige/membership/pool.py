"""The pool of candidates and reference: equal samples are one, and none is on both sides."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor


@dataclass(frozen=True)
class Pool:
    """Different samples, candidates first.

    Attributes:
        x: their inputs.
        y: their labels.
        candidates: how many of them are candidates; the others are the reference.
        of_candidate: where each given candidate is.
    """

    x: Float[Tensor, "pool ..."]
    y: Shaped[Tensor, "pool ..."]
    candidates: int
    of_candidate: Int[Tensor, " n"]

    @property
    def unseen(self) -> int:
        """Reference samples."""
        return len(self.x) - self.candidates


def pool_of(
    x: Float[Tensor, "n ..."], y: Shaped[Tensor, "labels ..."], reference: tuple[Tensor, Tensor] | None
) -> Pool:
    """Group equal samples, and refuse a reference that holds candidates.

    Raises:
        ValueError: samples of two shapes, values that are not finite, samples on both sides.
    """
    _check(x, y, "x")
    if reference is None:
        kept, of_candidate = _distinct(x, y)
        return Pool(x[kept], y[kept], len(kept), of_candidate)
    unseen, labels = reference
    _check(unseen, labels, "reference")
    if unseen.shape[1:] != x.shape[1:]:
        raise ValueError(
            f"reference has samples of shape {tuple(unseen.shape[1:])}, x of {tuple(x.shape[1:])}; they must agree."
        )
    unseen, labels = unseen.to(x), labels.to(y)
    both = len(set(_contents(x)) & set(_contents(unseen)))
    if both:
        raise ValueError(
            f"{both} of the reference samples are among the candidates; a reference that may hold members hides them. "
            "Remove them from one side."
        )
    (kept, of_candidate), (others, _) = _distinct(x, y), _distinct(unseen, labels)
    return Pool(torch.cat([x[kept], unseen[others]]), torch.cat([y[kept], labels[others]]), len(kept), of_candidate)


def _check(x: Tensor, y: Tensor, name: str) -> None:
    if len(x) == 0 or len(x) != len(y):
        raise ValueError(f"{name}: {len(x)} samples with {len(y)} labels given; each sample needs a label.")
    if not bool(torch.isfinite(x).all()):
        raise ValueError(f"{name} holds NaN or infinite values; is a column missing, or a scale zero?")


def _contents(x: Tensor) -> list[bytes]:
    return [row.tobytes() for row in x.detach().cpu().flatten(1).numpy()]


def _distinct(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Positions of the first of each group of equal samples, and the group of each sample."""
    seen: dict[tuple[bytes, bytes], int] = {}
    groups = [
        seen.setdefault(key, len(seen)) for key in zip(_contents(x), _contents(y.reshape(len(y), -1)), strict=True)
    ]
    first = {group: k for k, group in reversed(list(enumerate(groups)))}
    kept = [first[k] for k in range(len(first))]
    return torch.tensor(kept, device=x.device), torch.tensor(groups, device=x.device)
