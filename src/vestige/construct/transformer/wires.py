"""ReLU networks as formulas: sums of a stream's coordinates and of ReLUs of such sums, compiled to dense layers.

    relu(x + 1) - 2 relu(x) + relu(x - 1)        is 1 at x = 0 and 0 at every other integer

A ReLU's depth is one more than that of the deepest ReLU in its argument. A value that a later layer needs is carried
there: a coordinate as relu(x) - relu(-x), a ReLU as itself, both without rounding.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Union

import torch
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Unit:
    """One ReLU of a wire."""

    argument: "Wire"
    depth: int


@dataclass(frozen=True, eq=False)
class Wire:
    """An affine sum; a source is a coordinate of the stream or a unit."""

    terms: Mapping[int | Unit, float | int]
    constant: float | int = 0.0

    def __add__(self, other: Union["Wire", float, int]) -> "Wire":
        """Sum."""
        if not isinstance(other, Wire):
            return Wire(self.terms, self.constant + other)
        terms = dict(self.terms)
        for source, factor in other.terms.items():
            terms[source] = terms.get(source, 0.0) + factor
        return Wire(terms, self.constant + other.constant)

    def __mul__(self, factor: float | int) -> "Wire":
        """Multiple by a number."""
        return Wire({source: factor * f for source, f in self.terms.items()}, factor * self.constant)

    def __neg__(self) -> "Wire":
        """Negative."""
        return self * -1.0

    def __sub__(self, other: Union["Wire", float, int]) -> "Wire":
        """Difference."""
        return self + -other

    def __rsub__(self, other: float | int) -> "Wire":
        """Number less wire."""
        return -self + other

    __radd__ = __add__
    __rmul__ = __mul__


def total(wires: Iterable[Wire]) -> Wire:
    """Their sum, without a copy for each."""
    terms: dict[int | Unit, float] = {}
    constant = 0.0
    for wire in wires:
        constant += wire.constant
        for source, factor in wire.terms.items():
            terms[source] = terms.get(source, 0.0) + factor
    return Wire(terms, constant)


def relu(wire: Wire) -> Wire:
    """max(wire, 0)."""
    depth = 1 + max((source.depth for source in wire.terms if isinstance(source, Unit)), default=0)
    return Wire({Unit(wire, depth): 1.0})


def affine(rows: Sequence[Wire], width: int, *, bias: bool = True) -> nn.Linear:
    """A linear layer whose outputs are the rows, which hold coordinates only.

    Args:
        rows: affine sums of coordinates.
        width: number of coordinates.
        bias: whether the constants are kept.
    """
    return _linear([(row.terms, row.constant) for row in rows], width, bias=bias)


def compiled(rows: Sequence[Wire], width: int) -> nn.Sequential:
    """Dense layers with ReLUs between, in float64, that compute the rows from a stream of `width` coordinates."""
    last = _last_uses(rows)
    depth = max((source.depth for source in last if isinstance(source, Unit)), default=0)
    where: dict[int | Unit, dict[int, float]] = {s: {s: 1.0} for s in last if isinstance(s, int)}
    layers: list[nn.Module] = []
    for level in range(1, depth + 1):
        made = [
            (source, factor, unit)
            for source, until in last.items()
            for factor, unit in _pieces(source, level, until, where)
        ]
        # Equal neurons of different coordinates stand together, so that weights are few diagonals: see `runs`.
        made.sort(key=lambda piece: (sorted(piece[2][0].values()), piece[2][1], sorted(piece[2][0])))
        where = {}
        for place, (source, factor, _) in enumerate(made):
            where.setdefault(source, {})[place] = factor
        layers += [_linear([unit for _, _, unit in made], width), nn.ReLU()]
        width = len(made)
    layers.append(_linear([(_placed(row, where), row.constant) for row in rows], width))
    return nn.Sequential(*layers)


def _pieces(
    source: int | Unit, level: int, until: int, where: Mapping[int | Unit, Mapping[int, float]]
) -> list[tuple[float, tuple[Mapping[int, float], float]]]:
    """The neurons of a layer that a source takes there, with the factors that give the source back."""
    if isinstance(source, Unit) and source.depth == level:
        return [(1.0, (_placed(source.argument, where), source.argument.constant))]
    if until < level or source not in where:
        return []
    signs = (1.0, -1.0) if level == 1 else (1.0,)
    return [(f * sign, ({place: sign}, 0.0)) for place, f in where[source].items() for sign in signs]


def _last_uses(rows: Sequence[Wire]) -> dict[int | Unit, int]:
    """Each source with the last layer in which it must be there; rows are read behind the deepest."""
    uses: list[tuple[Wire, int | None]] = [(row, None) for row in rows]
    found: dict[int | Unit, int | None] = {}
    seen: set[Unit] = set()
    deepest = 0
    while uses:
        wire, at = uses.pop()
        for source in wire.terms:
            known = found.get(source, 0)
            found[source] = None if at is None or known is None else max(known, at)
            if isinstance(source, Unit) and source not in seen:
                seen.add(source)
                deepest = max(deepest, source.depth)
                uses.append((source.argument, source.depth - 1))
    return {source: deepest if at is None else at for source, at in found.items()}


def _placed(wire: Wire, where: Mapping[int | Unit, Mapping[int, float]]) -> dict[int, float]:
    """Its terms as multiples of a layer's neurons."""
    row: dict[int, float] = {}
    for source, factor in wire.terms.items():
        for place, f in where[source].items():
            row[place] = row.get(place, 0.0) + factor * f
    return row


def _linear(rows: Sequence[tuple[Mapping, float]], width: int, *, bias: bool = True) -> nn.Linear:
    places = [(k, int(column)) for k, (terms, _) in enumerate(rows) for column in terms]
    weight = torch.zeros(len(rows), width, dtype=torch.float64)
    if places:
        weight[tuple(torch.tensor(places).T)] = torch.tensor(
            [float(f) for terms, _ in rows for f in terms.values()], dtype=torch.float64
        )
    return fixed_linear(weight, _column([constant for _, constant in rows]) if bias else None)


def fixed_linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A linear layer of these tensors, which are not trained."""
    made = nn.Linear(weight.shape[1], len(weight), bias=bias is not None, device="meta")
    made.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        made.bias = nn.Parameter(bias, requires_grad=False)
    return made


def _column(values: Sequence[float]) -> Tensor:
    return torch.tensor([float(v) for v in values], dtype=torch.float64)
