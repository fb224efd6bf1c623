"""How many bits a float needs so that a network is evaluated without one rounding."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import torch

from vestige.construct.exact.evaluate import LIMIT, Column, ScaledNeuron, chunks_of, run_chunk, scaled_layers
from vestige.construct.exact.layers import Layer, valuation
from vestige.construct.exact.points import integer_points

# dtype: bits of the mantissa with the leading one, exponent of the smallest positive number, of the largest.
FLOATS = {
    torch.float64: (53, -1074, 1023),
    torch.float32: (24, -149, 127),
    torch.bfloat16: (8, -133, 127),
    torch.float16: (11, -24, 15),
}


@dataclass(frozen=True)
class BitAudit:
    """What exact evaluation in floats takes.

    Attributes:
        bits: of the mantissa, for every weight, product and partial sum, in whatever order a sum is taken.
        layer: the first layer that needs as many, counted from 0; an input itself counts for layer 0.
        finest: the smallest unit of any of these numbers is 2**finest.
        largest: all are below 2**(largest + 1).
    """

    bits: int
    layer: int
    finest: int
    largest: int

    def fits(self, dtype: torch.dtype) -> bool:
        """No operation rounds in this dtype."""
        mantissa, finest, largest = _limits(dtype)
        return self.bits <= mantissa and finest <= self.finest and self.largest <= largest

    def check(self, dtype: torch.dtype) -> None:
        """Refuse a dtype that rounds."""
        if self.fits(dtype):
            return
        mantissa, finest, largest = _limits(dtype)
        if self.bits > mantissa:
            raise ValueError(
                f"{dtype} has {mantissa} bits of mantissa, exact evaluation at these points needs {self.bits} (first "
                f"in layer {self.layer}). Take a wider dtype, a construction with fewer bits, or exact=False for a "
                "module that rounds."
            )
        raise ValueError(
            f"{dtype} holds numbers from 2**{finest} to 2**{largest + 1}, this network needs 2**{self.finest} to "
            f"2**{self.largest + 1}. Take float64, or exact=False for a module that rounds."
        )


def _limits(dtype: torch.dtype) -> tuple[int, int, int]:
    if dtype not in FLOATS:
        raise ValueError(f"dtype {dtype} given; allowed are {', '.join(map(str, FLOATS))}.")
    return FLOATS[dtype]


def audit_bits(layers: Sequence[Layer], points: Any) -> BitAudit:
    """See ExactNetwork.audit.

    A partial sum whose finest term has the unit 2**-t is a multiple of 2**-t. So for each t among the units of a row's
    terms, the bits of its partial sums are bounded by the positive (negative) terms at least that coarse, over 2**-t.
    """
    integers, exponent = integer_points(points, layers[0].inputs)
    plan = scaled_layers(layers, [exponent] * layers[0].inputs)
    needs = [(0, 0, 0, 0)]

    def watch(depth: int, columns: list[Column], index: np.ndarray) -> None:
        units = [exponent] * len(columns) if depth == 0 else [row.exponent for row in plan[depth - 1]]
        needs.extend(_column_need(depth, c, unit) for c, unit in zip(columns, units, strict=True) if c.reach)
        for row in plan[depth]:
            needs.extend(_sum_needs(depth, row, columns, index))

    for positions in chunks_of(plan, integers):
        run_chunk(plan, integers[positions], watch)
    for depth, item in enumerate(layers):
        for row in item.neurons:
            needs.extend(_number_need(depth, v, row.shift) for v in (*row.weights, row.bias) if v)
    bits = max(need[0] for need in needs)
    return BitAudit(
        bits, min(need[1] for need in needs if need[0] == bits), min(n[2] for n in needs), max(n[3] for n in needs)
    )


def _need(depth: int, value: int, unit: int) -> tuple[int, int, int, int]:
    """(bits, layer, finest, largest) of numbers up to `value` in units of 2**-unit."""
    return value.bit_length(), depth, -unit, value.bit_length() - 1 - unit


def _number_need(depth: int, value: int, unit: int) -> tuple[int, int, int, int]:
    """The same of this one number, whose trailing zeros cost nothing."""
    value, spare = abs(value), valuation(value)
    return _need(depth, value >> spare, unit - spare)


def _column_need(depth: int, column: Column, unit: int) -> tuple[int, int, int, int]:
    if column.low == column.high:
        return _number_need(depth, column.low, unit)
    return _need(depth, column.reach, unit)


def _sum_needs(
    depth: int, row: ScaledNeuron, columns: list[Column], index: np.ndarray
) -> Iterator[tuple[int, int, int, int]]:
    """Of each product and partial sum, point by point: terms may be large and of opposite signs together only."""
    small = abs(row.bias) + sum(abs(weight) * columns[c].reach for c, weight in row.terms) < LIMIT
    kind = np.dtype(np.int64 if small else object)
    parts = [(columns[c], int(weight)) for c, weight in row.terms if columns[c].reach]
    parts += [(Column(1, 1), int(row.bias))] if row.bias else []
    terms = [_term(column, weight, row.exponent, index, kind) for column, weight in parts]
    low = high = np.zeros(1, dtype=kind)
    for unit, group in itertools.groupby(sorted(terms, key=lambda term: term[0]), key=lambda term: term[0]):
        values = [value for _, value in group]
        least, most = reduce(np.minimum, values), reduce(np.maximum, values)
        negative = reduce(np.add, [np.minimum(v, 0) for v in values])
        positive = reduce(np.add, [np.maximum(v, 0) for v in values])
        # A partial sum with this as its finest unit has one of these terms at least.
        bottom = low + np.where(least < 0, negative, least)
        top = high + np.where(most > 0, positive, most)
        low, high = low + negative, high + positive
        yield _need(depth, max(-int(np.min(bottom)), int(np.max(top)), 0) >> (row.exponent - unit), unit)


def _term(column: Column, weight: int, exponent: int, index: np.ndarray, kind: np.dtype) -> tuple[int, np.ndarray]:
    """(unit, values in units of 2**-exponent) of weight times column."""
    if column.values is None:
        value = weight * column.low
        return exponent - valuation(value), np.array([value], dtype=kind)
    values = column.values[index] if column.shared else column.values
    return exponent - valuation(weight), values.astype(kind) * weight
