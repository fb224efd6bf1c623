"""Columns with many zeros, from a rough idea of the pre-activations.

The smallest right singular vector of some rows of the column space's basis vanishes at those rows if a column does.
Which rows is found by trimming: at first the most negative pre-activations of the start, then those at which the vector
found so far is smallest, more and more of them. What is nearly right is sharpened by weights that forget all others.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vestige.reconstruct.weights.zeros.layer import FirstLayer

FIRST, LAST = 0.15, 0.42  # share of the neurons that are taken for zeros, at first and in the end
LOW = 0.62  # share of the neurons, those of the lowest pre-activations, that may be zeros at all
TRIMS = 25
SHARPER = 20  # rounds of `sharpened`
WIDTH, FALL, NARROW = 0.1, 0.7, 1e-3  # of the weights, in units of the mean |s|: at first, of a round, in the end


def trimmed_columns(layer: FirstLayer, u: Float[Tensor, "m h"]) -> Float[Tensor, "m n"]:
    """Columns near each row of pre-activations.

    Args:
        layer: the first layer.
        u: pre-activations over the norm of their neuron.
    """
    h, n = layer.columns.shape
    first, last = max(int(FIRST * h), int(1.5 * n)), int(LAST * h)
    order = u.argsort(1)
    barred = torch.full_like(u, torch.inf).scatter_(1, order[:, : int(LOW * h)], 0.0)
    size, rows, c = layer.columns.norm(dim=1).clamp(min=1e-12), order[:, :first], None
    for k in range(TRIMS):
        weight = torch.zeros_like(u).scatter_(1, rows, 1.0)
        c = layer.smallest(weight, c, steps=12 if k == 0 else 3, single=True)
        count = int(first + (last - first) * min(1.0, k / (0.7 * TRIMS)))
        rows = ((c @ layer.columns.T).abs() / size + barred).argsort(1)[:, :count]
    assert c is not None
    return sharpened(layer, c, barred == 0)


def columns_of(layer: FirstLayer, y: Float[Tensor, "m n"]) -> Float[Tensor, "m n"]:
    """The columns that vanish where these inputs close the neurons.

    Neurons near a kink do not take part at first. Then all that are closed do, and those at which the column does not
    vanish are forgotten: weights 1 / (s^2 + width^2) with a falling width.
    """
    u = y @ layer.slopes.T / layer.slopes.norm(dim=1)
    c = layer.smallest((u < -0.1 * u.abs().mean(1, keepdim=True)).to(u), None, steps=10)
    return sharpened(layer, c, u < 0)


def sharpened(layer: FirstLayer, c: Float[Tensor, "m n"], closed: Bool[Tensor, "m h"]) -> Float[Tensor, "m n"]:
    """The same columns with their zeros made exact.

    Args:
        layer: the first layer.
        c: columns that are nearly right.
        closed: the neurons that may be zeros. Where all may, a column that is right is lost to one with more small
            entries.
    """
    for k in range(SHARPER):
        s = (c @ layer.columns.T).abs()
        s = s / s.mean(1, keepdim=True)
        width = max(WIDTH * FALL**k, NARROW)
        weight = torch.where(closed, 1 / (s.square() + width**2), 0.0)
        c = layer.smallest(weight / weight.amax(1, keepdim=True), c, steps=3)
    return c
