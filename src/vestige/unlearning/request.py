"""Which samples are to be forgotten, and requests that cannot be met."""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor


def forget_index(forget: Sequence[int] | Shaped[Tensor, " given"], n: int) -> Int[Tensor, " k"]:
    """Positions of the samples to forget, sorted and without repetition.

    Args:
        forget: positions, or a mask of length n.
        n: how many samples there are.

    Raises:
        ValueError: none, all, positions out of range, or numbers that are neither.

    >>> forget_index([3, 1, 3], 5).tolist()
    [1, 3]
    """
    given = torch.as_tensor(forget)
    if given.dtype == torch.bool:
        if given.shape != (n,):
            raise ValueError(f"forget is a mask of shape {tuple(given.shape)}; ({n},) is needed, one entry a sample.")
        given = given.nonzero().flatten()
    if given.numel() == 0:
        raise ValueError("forget names no samples; give at least one position, such as [3].")
    if given.is_floating_point() or given.is_complex() or given.ndim != 1:
        raise ValueError(f"forget is {given.dtype} of shape {tuple(given.shape)}; a list of positions is needed.")
    if int(given.min()) < 0 or int(given.max()) >= n:
        raise ValueError(f"forget names positions {int(given.min())} to {int(given.max())}; 0 to {n - 1} are allowed.")
    index = given.long().unique()
    if len(index) == n:
        raise ValueError(
            f"forget names all {n} samples: nothing would be retained. An untrained network knows none of them; forget "
            "fewer at a time, or start again."
        )
    return index


def check_request(x: Float[Tensor, "n ..."], y: Shaped[Tensor, " n"], index: Int[Tensor, " k"]) -> None:
    """Refuse to forget a sample that stays in the data under another position.

    Raises:
        ValueError: an equal sample is among the retained ones.
    """
    flat = x.flatten(1)
    kept = torch.ones(len(x), dtype=torch.bool, device=x.device).index_fill(0, index, False).nonzero().flatten()
    for r in index.tolist():
        same = kept[(flat[kept] == flat[r]).all(1) & (y.reshape(-1)[kept] == y.reshape(-1)[r])]
        if len(same):
            raise ValueError(
                f"sample {r} is to be forgotten, but its equal {same.tolist()[:5]} is retained: the network would "
                "still be trained on it. Forget both, or remove the duplicate from the data."
            )


def class_notes(y: Shaped[Tensor, " n"], index: Int[Tensor, " k"]) -> list[str]:
    """Classes of which nothing would be retained."""
    labels = y.reshape(-1)
    kept = torch.ones(len(labels), dtype=torch.bool, device=labels.device).index_fill(0, index, False)
    gone: Iterable[int] = sorted(set(labels[index].tolist()) - set(labels[kept].tolist()))
    return [
        f"All samples of class {label:g} are forgotten: a network retrained without them never predicts it, and "
        "accuracy on that class should fall to zero."
        for label in gone
    ]
