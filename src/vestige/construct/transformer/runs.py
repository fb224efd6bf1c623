"""Products with matrices that mostly move coordinates: what is copied is copied, and not multiplied with zeros.

A constructed weight is a few diagonals, `W[r + k, c + k]`, between blocks of the stream, and a few full rows. A
diagonal is one product of slices, for all tokens.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

MOST, FULL = 8, 8  # diagonals up to which they beat a matrix product; entries beyond which a row counts as full
SMALL = 1 << 14  # numbers below which one product is faster than several slices
DTYPES = (torch.float32, torch.float64)  # half precisions are rounded after each addition here, and once in a product


@dataclass(frozen=True, eq=False)
class Runs:
    """A matrix as diagonals and full rows.

    Attributes:
        diagonals: first row, first column, and entries.
        full: numbers of the full rows.
        rows: them.
        out: rows in all.
    """

    diagonals: tuple[tuple[int, int, Tensor], ...]
    full: Tensor
    rows: Tensor
    out: int

    def __call__(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """(..., columns) -> (..., rows)."""
        shape = (*x.shape[:-1], self.out)
        found = x.new_zeros(shape) if bias is None else bias.expand(shape).contiguous()
        for row, column, entries in self.diagonals:
            found[..., row : row + len(entries)].addcmul_(x[..., column : column + len(entries)], entries)
        if len(self.full):
            found[..., self.full] += x @ self.rows.T
        return found


def runs(weight: Tensor) -> Runs | None:
    """The diagonals of a matrix; None where they are too many.

    >>> found = runs(torch.tensor([[0.0, 2.0, 0.0], [0.0, 0.0, 3.0]]))
    >>> found(torch.tensor([1.0, 10.0, 100.0]), None).tolist()
    [20.0, 300.0]
    """
    nonzero = weight != 0
    full = nonzero.sum(1) > FULL
    row, column = (nonzero & ~full[:, None]).nonzero().T
    order = ((column - row) * len(weight) + row).argsort()
    row, column = row[order], column[order]
    ends = ((row.diff() != 1) | (column.diff() != 1)).nonzero()[:, 0] + 1
    pieces = torch.tensor_split(torch.stack([row, column]), ends, dim=1) if len(row) else ()
    if len(pieces) > MOST:
        return None
    diagonals = tuple((int(p[0, 0]), int(p[1, 0]), weight[p[0], p[1]]) for p in pieces)
    return Runs(diagonals, full.nonzero()[:, 0], weight[full], len(weight))


class Product:
    """x W^T + b by the diagonals of W, which are looked for again whenever W is not what it was."""

    def __init__(self) -> None:
        self.weight, self.runs = torch.empty(0), None

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """(..., columns) -> (..., rows)."""
        if x.numel() < SMALL or weight.requires_grad or weight.dtype not in DTYPES:
            return functional.linear(x, weight, bias)
        known = (self.weight.dtype, self.weight.device) == (weight.dtype, weight.device)
        if not (known and torch.equal(self.weight, weight)):
            self.weight = weight.detach().clone()
            self.runs = runs(self.weight)
        return functional.linear(x, weight, bias) if self.runs is None else self.runs(x, bias)


class Moving(nn.Linear):
    """A fixed linear layer, most of whose weights are 0."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__(weight.shape[1], len(weight), bias=bias is not None, device="meta")
        self.weight = nn.Parameter(weight, requires_grad=False)
        if bias is not None:
            self.bias = nn.Parameter(bias, requires_grad=False)
        self.product = Product()

    def forward(self, x: Tensor) -> Tensor:
        """(..., columns) -> (..., rows)."""
        return self.product(x, self.weight, self.bias)
