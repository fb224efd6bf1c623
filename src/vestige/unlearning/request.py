"""Which samples are to be forgotten, and requests that cannot be met."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

Forget = Sequence[int] | Shaped[Tensor, " given"]


def forget_positions(forget: Forget, n: int) -> Int[Tensor, " k"]:
    """Positions of the samples to forget, sorted and without repetition.

    Args:
        forget: positions, or a mask of length n.
        n: how many samples there are.

    Raises:
        ValueError: none, all, positions out of range, or numbers that are neither.

    >>> forget_positions([3, 1, 3], 5).tolist()
    [1, 3]
    """
    given = torch.as_tensor(forget)
    if given.dtype == torch.bool:
        if given.shape != (n,):
            raise ValueError(f"forget is a mask of shape {tuple(given.shape)}; it must be ({n},), one entry a sample.")
        given = given.nonzero().flatten()
    if given.numel() == 0:
        raise ValueError("forget names no samples; give at least one position, such as [3].")
    if given.is_floating_point() or given.is_complex() or given.ndim != 1:
        raise ValueError(f"forget is {given.dtype} of shape {tuple(given.shape)}; it must be a list of positions.")
    if int(given.min()) < 0 or int(given.max()) >= n:
        raise ValueError(f"forget names positions {int(given.min())} to {int(given.max())}; 0 to {n - 1} are allowed.")
    index = given.long().unique()
    if len(index) == n:
        raise ValueError(
            f"forget names all {n} samples: nothing would be retained. An untrained network knows none of them; forget "
            "fewer at a time, or start again."
        )
    return index


def forgotten_and_retained(forget: Forget, n: int) -> tuple[Int[Tensor, " k"], Int[Tensor, " r"]]:
    """Positions of the samples to forget, and of all others.

    >>> [part.tolist() for part in forgotten_and_retained([True, False, True], 3)]
    [[0, 2], [1]]
    """
    index = forget_positions(forget, n)
    return index, torch.ones(n, dtype=torch.bool, device=index.device).index_fill(0, index, False).nonzero().flatten()


def check_duplicates(
    x: Float[Tensor, "n ..."], y: Shaped[Tensor, " n"], forgotten: Int[Tensor, " k"], kept: Int[Tensor, " r"]
) -> None:
    """Refuse to forget a sample that stays in the data under another position.

    Raises:
        ValueError: an equal sample is among the retained ones.
    """
    flat, labels = x.flatten(1), y.reshape(-1)
    for r in forgotten.tolist():
        same = kept[(flat[kept] == flat[r]).all(1) & (labels[kept] == labels[r])]
        if len(same):
            raise ValueError(
                f"sample {r} is to be forgotten, but its equal {same.tolist()[:5]} is retained: the network would "
                "still be trained on it. Forget both, or remove the duplicate from the data."
            )


def class_notes(y: Shaped[Tensor, " n"], forgotten: Int[Tensor, " k"], kept: Int[Tensor, " r"]) -> list[str]:
    """Classes of which nothing would be retained."""
    labels = y.reshape(-1)
    gone = sorted(set(labels[forgotten].tolist()) - set(labels[kept].tolist()))
    return [
        f"All samples of class {label:g} are forgotten: a network retrained without them never predicts it, and "
        "accuracy on that class should fall to zero."
        for label in gone
    ]
