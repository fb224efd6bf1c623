"""Inputs whose hidden activations lie in the row space of the second layer.

With weight decay the second layer forgets its start as the first one does: it is sum_i t_i a_i^T with
a_i = relu(W x_i + b) the activations of the samples. For given gates D that is linear in the input,

    (I - P) D A y  =  0,      P the projection onto the row space of the second layer,                           (2)

h equations for the n coordinates of an input. Gates and the smallest generalized singular vector of (2) are found in
turn; half of all random starts end near a sample, where the zeros of columns alone find one in seven.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vestige.reconstruct.weights.chain import Chain
from vestige.reconstruct.weights.zeros.layer import FirstLayer

ROUNDS = 15
FAINT = 1e-4  # of the largest singular value: smaller ones are what is left of the start
MOST = 0.5  # of the neurons: a row space of more dimensions says nothing


def activation_space(chain: Chain, layer: FirstLayer) -> Float[Tensor, "h q"] | None:
    """Orthonormal basis of the row space of the second layer over the neurons alive; None where it says nothing.

    Too many dimensions are those of a start that training did not forget; too few are those of a network that has
    collapsed, whose samples share their activations.
    """
    if len(chain.weights) < 3:
        return None
    _, values, right = torch.linalg.svd(chain.target_weights[1].double()[:, layer.alive], full_matrices=False)
    count = int((values > FAINT * values[0]).sum())
    n = len(layer.values)
    return right[:count].T.contiguous() if 0.8 * n <= count <= MOST * len(layer.columns) else None


def near_activations(
    slopes: Float[Tensor, "h n"], space: Float[Tensor, "h q"], y: Float[Tensor, "m n"]
) -> Float[Tensor, "m n"]:
    """Solutions of (2) near each start, of norm 1.

    Args:
        slopes: A, or A restricted to a subspace of inputs.
        space: of the activations.
        y: starts.
    """
    for _ in range(ROUNDS):
        gates = y @ slopes.T > 0
        total, outside = (torch.stack(part) for part in zip(*(_grams(slopes, space, g) for g in gates), strict=True))
        diagonal = outside.diagonal(dim1=1, dim2=2)
        diagonal += 1e-7 * total.diagonal(dim1=1, dim2=2).mean(1, keepdim=True)
        factor, _ = torch.linalg.cholesky_ex(outside)
        for _ in range(3):
            y = F.normalize(torch.cholesky_solve(total @ y[:, :, None], factor)[:, :, 0], dim=1)
        y = torch.where((((y @ slopes.T) * gates).sum(1) < 0)[:, None], -y, y)
    return y


def _grams(slopes: Tensor, space: Tensor, gates: Tensor) -> tuple[Tensor, Tensor]:
    """|D A y|^2 and |(I - P) D A y|^2 as matrices."""
    rows = slopes[gates]
    inside = space[gates].T @ rows
    total = rows.T @ rows
    return total, total - inside.T @ inside
