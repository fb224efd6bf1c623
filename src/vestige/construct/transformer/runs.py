"""Products with matrices that mostly move coordinates: what is copied is copied, and not multiplied with zeros.

A constructed weight is a few diagonals, `W[r + k, c + k]`, between blocks of the stream, and a few full rows. A
diagonal is one product of slices, for all tokens.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

MOST, FULL = 8, 8  # diagonals up to which they beat a matrix product; entries beyond which a row counts as full


@dataclass(frozen=True, eq=False)
class Runs:
    """A matrix as diagonals and full rows.

    Attributes:
        diagonals: first row, first column, and entries.
        full: numbers of the full rows.
        rows: them.
    """

    diagonals: tuple[tuple[int, int, Tensor], ...]
    full: Tensor
    rows: Tensor

    def add_to(self, found: Tensor, x: Tensor) -> None:
        """(..., columns) times the matrix, added to (..., rows)."""
        for row, column, entries in self.diagonals:
            found[..., row : row + len(entries)].addcmul_(x[..., column : column + len(entries)], entries)
        if len(self.full):
            found[..., self.full] += x @ self.rows.T


def runs(weight: Tensor) -> Runs | None:
    """The diagonals of a matrix; None where they are too many.

    >>> sums = torch.tensor([1.0, 1.0])
    >>> runs(torch.tensor([[0.0, 2.0, 0.0], [0.0, 0.0, 3.0]])).add_to(sums, torch.tensor([1.0, 10.0, 100.0]))
    >>> sums.tolist()
    [21.0, 301.0]
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
    return Runs(diagonals, full.nonzero()[:, 0], weight[full])
