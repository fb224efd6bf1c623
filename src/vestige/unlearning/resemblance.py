"""Before the step: how much of the forgotten terms do retained samples hold as well?

The terms of the forgotten samples are t = sum_r c_r . grad f(theta; x_r), and s of them would leave with the samples
(`gated_machine.resolved`). Taking t out is off by |t - s| and doing nothing by |s|. Where the retained samples keep
their margins, s is the part of t that is orthogonal to their gradients, t - s the part in their span, and the squares
add to |t|^2: the terms alone do harm where the share |t - s|^2 / (|t - s|^2 + |s|^2) is above 1/2.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

HALF = 0.5  # by Pythagoras


@dataclass(frozen=True, eq=False)
class Resemblance:
    """For each forgotten sample the retained one at the largest cosine, that cosine, and the share of all terms."""

    nearest: Int[Tensor, " k"]
    cosine: Float[Tensor, " k"]
    share: float


def resemblance(
    x: Float[Tensor, "n ..."],
    forgotten: Int[Tensor, " k"],
    kept: Int[Tensor, " r"],
    *,
    terms: Mapping[str, Tensor],
    leaving: Mapping[str, Tensor],
) -> Resemblance:
    """Nearest retained inputs, and the share of the forgotten terms that retained samples keep in the weights.

    Args:
        x: all training samples, model space.
        forgotten: positions of the samples to forget.
        kept: positions of the others.
        terms: t, by parameter of the layers that change.
        leaving: s, likewise.
    """
    unit = F.normalize(x.flatten(1), dim=1)
    cosine, nearest = (unit[forgotten] @ unit[kept].T).max(1)
    stay = sum(float((terms[name] - leaving[name]).square().sum()) for name in terms)
    leave = sum(float(leaving[name].square().sum()) for name in terms)
    return Resemblance(kept[nearest], cosine, stay / (stay + leave) if stay else 0.0)
