"""How far along each adversarial perturbation the class changes: an upper bound on robustness at every smaller eps.

Each point between a sample and its adversarial example lies in the ball and in the range of inputs too, so that it is
an adversarial example itself wherever the class is another one there.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

HALVINGS = 12
POINTS = 21  # values of eps, from 0 on


@torch.no_grad()
def shortened(
    predict: Callable[[Tensor], Tensor],
    clean: Float[Tensor, " n *feature"],
    adv: Float[Tensor, " n *feature"],
    label: Int[Tensor, " n"],
    broken: Bool[Tensor, " n"],
    distance: Float[Tensor, " n"],
    *,
    batch_size: int = 256,
) -> Float[Tensor, " n"]:
    """Size of the smallest perturbation found on each segment by halving; infinite where none was found.

    Args:
        predict: classes of samples in data space.
        clean: samples.
        adv: their adversarial examples.
        label: their classes.
        broken: which examples change the class.
        distance: their sizes; 0 where the class is wrong without one.
        batch_size: samples handled together.
    """
    found = torch.full_like(distance, torch.inf)
    for rows in broken.nonzero().flatten().split(batch_size):
        start, step = clean[rows], adv[rows] - clean[rows]
        low, high = torch.zeros_like(distance[rows]), torch.ones_like(distance[rows])
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            fooled = predict(start + middle.reshape(-1, *(1,) * (step.ndim - 1)) * step) != label[rows]
            low, high = torch.where(fooled, low, middle), torch.where(fooled, middle, high)
        found[rows] = high * distance[rows]
    return found


def robust_curve(smallest: Float[Tensor, " n"], eps: float | int) -> dict[str, list[float]]:
    """Share of samples that withstand what was found, at values of eps from 0 to the one that was attacked.

    >>> robust_curve(torch.tensor([0.0, 0.5, torch.inf]), 1.0)["robust"][::10]
    [0.6666666666666666, 0.3333333333333333, 0.3333333333333333]
    """
    sizes = [eps * k / (POINTS - 1) for k in range(POINTS)]
    slack = 1e-6 * eps  # a perturbation of size eps, rounded
    return {"eps": sizes, "robust": [float((smallest > size + slack).double().mean()) for size in sizes]}


def confusion(label: Int[Tensor, " n"], predicted: Int[Tensor, " n"], classes: Sequence[str]) -> list[list[int]]:
    """How many samples of each class (row) are taken for each class (column).

    >>> confusion(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]), ("a", "b"))
    [[1, 1], [0, 1]]
    """
    size = len(classes)
    return torch.bincount(label * size + predicted, minlength=size**2).reshape(size, size).tolist()
