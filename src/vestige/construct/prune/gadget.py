"""One layer out of random weights: rows that keep one entry, and for each weight a subset of the products after them.

Row q of a random matrix M1 keeps its entry a_q in one column i, so that its neuron computes |a_q| relu(+-x_i). A
weight W_ji is the sum of products M2[j, q] |a_q| over a subset of the rows of column i (arXiv 2002.00585; by subset
sums, arXiv 2006.07990). Which column owns a row is free to choose: it goes to the column that still lacks rows of
that sign and has the largest entry. The constant input 1 is one column more, whose entries are the biases of the
random layer.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from vestige.construct.prune.random_layers import random_matrix
from vestige.construct.prune.subset_sum import SOLVERS, PruneMethod
from vestige.core.relu_chain import Affine

ATTEMPTS = 12  # each with new rows for the columns that hold a weight out of reach
WIDEST_SEARCH = 24  # newest rows in a repeated exact search, 2^12 sums a half
FINE = 1e-5  # relative tolerance below which float32 sums are too coarse to search with
NUMBERS_AT_ONCE = 2**22
MOST_RANDOM_WEIGHTS = 2**28
POSITIVE, NEGATIVE = 0, 1


@dataclass(frozen=True)
class Draw:
    """Where the random weights of layer `index` come from; those of the second matrix are multiplied by `scale`."""

    seed: int
    index: int
    distribution: str
    scale: float

    def first(self, hidden: int, columns: int) -> Float[Tensor, "hidden columns"]:
        """The first rows of an endless random matrix."""
        return random_matrix(self.seed, (self.index, 0), (hidden, columns), self.distribution)

    def second(self, hidden: int, out: int) -> Float[Tensor, "hidden out"]:
        """The same for the other matrix, transposed; a power of two scales without rounding."""
        return random_matrix(self.seed, (self.index, 1), (hidden, out), self.distribution) * self.scale


@dataclass(eq=False)
class Gadget:
    """The random layer as far as it is drawn, and the best subsets found.

    Group 2i are the rows of column i with a positive entry, group 2i + 1 those with a negative one. `wanted` is what
    the products of a group must sum to, `error` how far they are off, `keep` the mask of the second matrix.
    """

    draw: Draw
    method: PruneMethod
    wanted: Float[Tensor, "groups out"]
    used: NDArray[np.bool_]
    error: Float[Tensor, "groups out"]
    first: Float[Tensor, "hidden columns"]
    second: Float[Tensor, "hidden out"]
    keep: Bool[Tensor, "hidden out"]
    column: NDArray[np.int64]
    rows: list[list[int]] = field(default_factory=list)
    retried: int = 0


def open_gadget(layer: Affine, draw: Draw, method: PruneMethod, *, signed: bool) -> Gadget:
    """A layer of which nothing is drawn yet."""
    columns = layer.weight if layer.bias is None else torch.cat([layer.weight, layer.bias[:, None]], dim=1)
    used = np.zeros((columns.shape[1], 2), dtype=bool)
    used[:, POSITIVE] = True
    used[: layer.weight.shape[1], NEGATIVE] = signed
    wanted = torch.stack([columns.T, -columns.T], dim=1) * torch.from_numpy(used)[:, :, None]
    wanted, out = wanted.flatten(0, 1), len(columns)
    nothing = torch.zeros(0, out, dtype=torch.float32)
    empty = torch.zeros(0, columns.shape[1], dtype=torch.float32)
    column, rows = np.zeros(0, dtype=np.int64), [[] for _ in range(used.size)]
    return Gadget(draw, method, wanted, used.reshape(-1), wanted.abs(), empty, nothing, nothing.bool(), column, rows)


def approximate(gadget: Gadget, tolerance: float, rows: int, *, fixed: bool) -> None:
    """Find a subset for every weight, in place, drawing more rows for the columns of weights beyond the tolerance.

    It begins with `rows` rows of a column and sign, and draws no more if `fixed`. Weights that are near enough already
    keep their subsets.
    """
    if not len(gadget.column):
        grow(gadget, np.where(gadget.used, rows, 0))
        _solve(gadget, 0.0 if fixed else tolerance, rows)
    for _ in range(0 if fixed else ATTEMPTS):
        failing = (gadget.error > tolerance).any(1).numpy()
        if not failing.any():
            return
        gadget.retried += int((gadget.error > tolerance).sum())
        searched = gadget.method is PruneMethod.SUBSET_SUM
        grow(gadget, np.where(failing, max(2, rows // 4) if searched else rows, 0))
        _solve(gadget, tolerance, max(rows, WIDEST_SEARCH) if searched else None)


def grow(gadget: Gadget, need: NDArray[np.int64]) -> None:
    """Draw rows until every group has as many more as it needs."""
    need, columns, out = need.reshape(-1, 2).copy(), gadget.first.shape[1], gadget.second.shape[1]
    while need.any():
        start = len(gadget.column)
        hidden = start + max(8, int(need.sum()))
        if hidden * (columns + out) > MOST_RANDOM_WEIGHTS:
            raise ValueError(
                f"layer {gadget.draw.index + 1} needs more than {MOST_RANDOM_WEIGHTS:,} random weights by "
                f"method={str(gadget.method)!r}; method='subset_sum' needs fewest, a larger tolerance fewer"
            )
        gadget.first, gadget.second = gadget.draw.first(hidden, columns), gadget.draw.second(hidden, out)
        column = _owners(gadget.first[start:].numpy(), need)
        gadget.column = np.concatenate([gadget.column, column])
        for row in np.flatnonzero(column >= 0):
            negative = bool(gadget.first[start + row, column[row]] < 0)
            gadget.rows[2 * column[row] + negative].append(start + int(row))
    hidden = int(np.flatnonzero(gadget.column >= 0).max(initial=-1)) + 1
    gadget.column, gadget.first, gadget.second = gadget.column[:hidden], gadget.first[:hidden], gadget.second[:hidden]
    more = torch.zeros(hidden - len(gadget.keep), out, dtype=torch.bool)
    gadget.keep = torch.cat([gadget.keep, more])


def _owners(block: NDArray[np.float32], need: NDArray[np.int64]) -> NDArray[np.int64]:
    """The column of each row; counts down what is needed."""
    owner, left = np.full(len(block), -1), int(need.sum())
    for q, row in enumerate(block):
        if not left:
            break
        size = np.abs(row) * (np.where(row > 0, need[:, POSITIVE], need[:, NEGATIVE]) > 0)
        column = int(size.argmax())
        if size[column] > 0:
            owner[q], left = column, left - 1
            need[column, POSITIVE if row[column] > 0 else NEGATIVE] -= 1
    return owner


def _solve(gadget: Gadget, tolerance: float, newest: int | None) -> None:
    """Search anew for the weights that are farther off than the tolerance, with the newest rows of their columns."""
    failing = gadget.error > tolerance
    groups = failing.any(1).nonzero()[:, 0]
    if not len(groups):
        return
    count = min(len(gadget.rows[g]) for g in groups.tolist())
    count = count if newest is None else min(count, newest)
    rows = torch.tensor([gadget.rows[g][-count:] for g in groups.tolist()])
    where, out = failing[groups].nonzero().T
    for part in torch.arange(len(where)).split(max(1, NUMBERS_AT_ONCE // count)):
        _solve_some(gadget, tolerance, (groups[where[part]], out[part]), rows[where[part]])


def _solve_some(gadget: Gadget, tolerance: float, which: tuple[Tensor, Tensor], rows: Tensor) -> None:
    group, out = which
    entry = gadget.first[rows, (group // 2)[:, None]].abs().double()
    factor, wanted = gadget.second[rows, out[:, None]].double(), gadget.wanted[group, out]
    if gadget.method is PruneMethod.CLOSE:
        mask = _both_close(entry, factor, wanted)
    else:
        dtype = torch.float64 if tolerance < FINE * gadget.draw.scale else torch.float32
        mask = SOLVERS[gadget.method]((entry * factor).to(dtype), wanted.to(dtype))
    error = ((entry * factor * mask).sum(1) - wanted).abs()
    better = error < gadget.error[group, out]
    group, out, rows, mask = group[better], out[better], rows[better], mask[better]
    gadget.error[group, out] = error[better]
    for g in group.unique().tolist():
        gadget.keep[torch.tensor(gadget.rows[g])[:, None], out[group == g]] = False
    gadget.keep[rows, out[:, None]] = mask


def _both_close(entry: Tensor, factor: Tensor, wanted: Tensor) -> Tensor:
    """The product whose first factor is near 1 and whose second is near the wanted weight."""
    best = torch.maximum((entry - 1).abs(), (factor - wanted[:, None]).abs()).argmin(1, keepdim=True)
    return torch.zeros_like(entry, dtype=torch.bool).scatter_(1, best, True)
