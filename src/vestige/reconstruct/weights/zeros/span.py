"""Peeling: what is known of the other samples once some columns are known.

Where d is orthogonal to the known columns, d^T [W b] = sum over the others of (d . s_i) [x_i 1]: the samples that are
not known yet span a known subspace of n - k dimensions, and starts are drawn from there.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vestige.reconstruct.weights.zeros.layer import FirstLayer

SPANNED = 0.02  # length that a unit column must have outside the span of those before it


def others(known: Float[Tensor, "k n"]) -> Float[Tensor, "n rest"]:
    """Orthonormal basis of what is orthogonal to the known columns."""
    return torch.linalg.qr(known.T, mode="complete")[0][:, len(known) :]


def span_of_others(layer: FirstLayer, known: Float[Tensor, "k n"]) -> Float[Tensor, "n rest"]:
    """Orthonormal basis of the inputs y that the other samples span."""
    return torch.linalg.qr(layer.values[:, None] * others(known))[0]


def independent(layer: FirstLayer, c: Float[Tensor, "m n"]) -> Int[Tensor, " k"]:
    """Positions of columns that those with more zeros do not span: of samples and their mixtures, the samples."""
    order = layer.zeros(c).argsort(descending=True)
    return order[unspanned(c[order], SPANNED)]


def unspanned(c: Float[Tensor, "m n"], least: float) -> Int[Tensor, " k"]:
    """Positions of columns of norm 1 that those kept before them do not span but for a part of norm `least`."""
    rest, kept = c, []
    for i in range(len(c)):
        length = rest[i].norm()
        if length > least:
            kept.append(i)
            unit = rest[i] / length
            rest = rest - (rest @ unit)[:, None] * unit
    return torch.tensor(kept, dtype=torch.long, device=c.device)
