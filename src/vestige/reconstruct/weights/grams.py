"""Gram matrices of the same rows under many weightings."""

import torch
from jaxtyping import Float
from torch import Tensor


def weighted_grams(rows: Float[Tensor, "h n"], weight: Float[Tensor, "m h"]) -> Float[Tensor, "m n n"]:
    """sum_j w_j b_j b_j^T for each row w: one at a time, since all the weighted rows at once would fill the memory."""
    return torch.stack([(rows * w[:, None]).T @ rows for w in weight])
