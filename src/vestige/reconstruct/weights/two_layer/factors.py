"""Columns of a network whose neurons are still on their way.

Training stops before every neuron has the length that its samples give it. What an open gate shows is then V^T l
times a factor near 1, one for each neuron and the same for all its samples,

    s_ij = f_j g_ij (V^T l_i)_j,                                                                            (1)

so that known columns tell the factors, and factors sharpen the columns. Given gates, multipliers and weights w_ij of
the neurons, the columns of least squares drop out, and what they leave is quadratic in f:

    sum_i |P_i D_i f|^2,     D_i = diag(sqrt(w_ij) g_ij (V^T l_i)_j),                                       (2)

with P_i the projection away from the column space, its rows times sqrt(w_ij).
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from vestige.reconstruct.weights.two_layer.columns import (
    Columns,
    ColumnSpace,
    are_open,
    gaps,
    join,
    measured,
)
from vestige.reconstruct.weights.two_layer.equations import FACTORED, Equations, improved

WIDTHS = ((0.05, 0.02), (0.03, 0.015), (0.02, 0.01))  # of the weights: for the factors, and in the end for the columns
OUTSIDE = 3.0  # widths from which an entry is on a kink, and says nothing of the factor
RIDGE = 1e-3  # of (2), towards factors of 1
SINGULAR = 1e-10  # and of the equations of one column, whose neurons may be fewer than unknowns
REACH = (0.7, 1.4)  # of one step of the factors
SHARPER, WIDE, FALL = 12, 0.1, 0.75  # rounds, and the width of their weights: at first, and of a round to the next


def refined_columns(space: ColumnSpace, columns: Columns) -> tuple[Columns, Float[Tensor, " h"]]:
    """The same columns made more exact, and the factors; V^T l is what (1) has for it, factors included."""
    factors = torch.ones(len(space.first)).to(space.first)
    for width, least in WIDTHS:
        factors = factors * neuron_factors(space, columns, width)
        columns = sharpened(with_factors(space, factors), columns, least)
    return columns, factors


def with_factors(space: ColumnSpace, factors: Float[Tensor, " h"]) -> ColumnSpace:
    """The space of columns that obey (1)."""
    return replace(space, output=torch.linalg.qr(space.output * factors[:, None])[0])


def neuron_factors(space: ColumnSpace, columns: Columns, width: float) -> Float[Tensor, " h"]:
    """f of (2), its median 1, relative to those that the columns have in their V^T l.

    Args:
        space: of the columns.
        columns: known ones, of norm 1.
        width: of the weights, in units of the mean |s|.
    """
    h = len(space.first)
    form = torch.zeros(h, h).to(space.first)
    off = gaps(columns.s, columns.full)
    weight = torch.where(off < OUTSIDE * width, 1 / (off + width), 0.0)
    weight = (weight / weight.mean(1, keepdim=True)).sqrt()
    size = columns.s.abs().mean(1, keepdim=True)
    seen = torch.where(are_open(columns.s, columns.full), columns.full / size, 0.0) * weight
    for w, d in zip(weight.split(space.batch), seen.split(space.batch), strict=True):
        weighted = w[:, :, None] * space.first
        gram = weighted.mT @ weighted
        gram.diagonal(dim1=1, dim2=2).add_(SINGULAR * gram.diagonal(dim1=1, dim2=2).mean(1, keepdim=True))
        lower = torch.linalg.cholesky(gram)
        inside = (torch.linalg.solve_triangular(lower, weighted.mT, upper=False) * d[:, None]).flatten(0, 1)
        form += torch.diag(d.square().sum(0)) - inside.T @ inside
    ridge = RIDGE * form.diagonal().mean()
    factors = torch.linalg.solve(form + ridge * torch.eye(h).to(form), ridge.expand(h))
    return (factors / factors.median()).clamp(*REACH)


def sharpened(space: ColumnSpace, columns: Columns, least: float) -> Columns:
    """Least squares, reweighted until entries further than `least` off say little."""
    parts = (columns[k] for k in torch.arange(len(columns), device=columns.s.device).split(space.batch))
    return join([_sharper(space, part, least) for part in parts])


def _sharper(space: ColumnSpace, columns: Columns, least: float) -> Columns:
    s, full = columns.s, columns.full
    c, factor = s @ space.first, None
    for k in range(SHARPER):
        weight = (gaps(s, full) + max(WIDE * FALL**k, least)) ** -2
        weight = weight / weight.mean(1, keepdim=True)
        equations = Equations.of(space.first, space.output, weight, are_open(s, full))
        c, factor = improved(equations, factor if k % FACTORED else None, c)
        s, full = equations.entries(c)
    return measured(s, full)
