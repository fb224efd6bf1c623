"""Exact evaluation of sparse ReLU networks at many points at once.

The value of a neuron times 2**e is an integer at every point, with one exponent e for the neuron: the largest that its
terms need. So one column of integers stands for a neuron; a ReLU commutes with the scale. Columns are int64 wherever
the range of their values shows that no partial sum overflows, and Python or GMP integers elsewhere.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from vestige.construct.exact.layers import Layer, Neuron, valuation
from vestige.construct.exact.points import integer_points
from vestige.construct.exact.rounding import unit_of
from vestige.core.outcome import OnStep, Step

try:
    from gmpy2 import mpz as big  # type: ignore[import-not-found]
except ImportError:  # slower for words of many thousand bits, otherwise alike
    big = int

LIMIT = 1 << 62
CHUNK = 4096  # points at a time: numpy's cost a call is spread, and columns stay in the cache
CELLS = 1 << 21  # values of one layer at a time: 16 MB, and 100 MB of long integers


@dataclass(frozen=True, slots=True)
class ScaledNeuron:
    """Integers (long ones of GMP's) for the columns' scales; it makes the column of its value times 2**exponent."""

    terms: tuple[tuple[int, Any], ...]
    bias: Any
    exponent: int


@dataclass(frozen=True, slots=True)
class Column:
    """One neuron over the points of a chunk: values one a point, or one a class of points where `shared`.

    A constant column has no values; low and high are the least and the greatest value.
    """

    low: int
    high: int
    values: np.ndarray | None = None
    shared: bool = False

    @property
    def reach(self) -> int:
        """Largest magnitude."""
        return max(-self.low, self.high)


def scaled_layers(layers: Sequence[Layer], exponents: Sequence[int]) -> list[list[ScaledNeuron]]:
    """The layers in integers, for inputs whose values times 2**exponents are integers."""
    result = []
    for item in layers:
        result.append([_scaled(row, exponents) for row in item.neurons])
        exponents = [row.exponent for row in result[-1]]
    return result


def _scaled(row: Neuron, exponents: Sequence[int]) -> ScaledNeuron:
    needed = [exponents[c] + row.shift - valuation(w) for c, w in zip(row.columns, row.weights, strict=True)]
    if row.bias:
        needed.append(row.shift - valuation(row.bias))
    exponent = max(needed, default=0)
    terms = (
        (c, _shifted(w, exponent - exponents[c] - row.shift)) for c, w in zip(row.columns, row.weights, strict=True)
    )
    return ScaledNeuron(tuple(terms), _shifted(row.bias, exponent - row.shift) if row.bias else 0, exponent)


def _shifted(value: int, by: int) -> Any:
    value = value << by if by >= 0 else value >> -by
    return value if -LIMIT < value < LIMIT else big(value)


def evaluate(
    layers: Sequence[Layer], points: Any, *, on_step: OnStep | None = None, chunk: int | None = None
) -> np.ndarray:
    """Fractions (n, outputs): see ExactNetwork.__call__."""
    integers, exponent = integer_points(points, layers[0].inputs)
    plan = scaled_layers(layers, [exponent] * layers[0].inputs)
    result = np.empty((len(integers), layers[-1].outputs), dtype=object)
    chunks = chunks_of(plan, integers, chunk)
    done = 0
    for index, positions in enumerate(chunks):
        outputs = run_chunk(plan, integers[positions])
        for k, (column, row) in enumerate(zip(outputs, plan[-1], strict=True)):
            result[positions, k] = _fractions(column, row.exponent, len(positions))
        done += len(positions)
        if on_step is not None:
            on_step(Step(index + 1, len(chunks), float(done), "points"))
    return result


def chunks_of(plan: list[list[ScaledNeuron]], integers: np.ndarray, chunk: int | None = None) -> list[np.ndarray]:
    """Positions of the points of each chunk, sorted by the first neuron.

    Points near each other there often agree in most other neurons, which then are constant over a chunk and free.
    """
    chunk = chunk or max(8, min(CHUNK, CELLS // max(map(len, plan))))
    if len(integers) <= chunk:
        return [np.arange(len(integers))]
    column = affine(plan[0][0], input_columns(integers), np.arange(len(integers)))
    order = np.arange(len(integers)) if column.values is None else np.argsort(column.values, kind="stable")
    return [order[start : start + chunk] for start in range(0, len(order), chunk)]


def run_chunk(
    plan: list[list[ScaledNeuron]],
    integers: np.ndarray,
    watch: Callable[[int, list[Column], np.ndarray], None] | None = None,
) -> list[Column]:
    """Columns of the last layer, one value a point; `watch` sees the columns that each layer reads, and the
    class of each point."""
    columns, classes = input_columns(integers), Classes(len(integers))
    for depth, rows in enumerate(plan):
        if watch is not None:
            watch(depth, columns, classes.index)
        if depth < len(plan) - 1:
            columns = [_rectified(row, columns, classes.index) for row in rows]
        else:
            columns = [affine(row, columns, classes.index) for row in rows]
        columns = classes.regroup(columns, depth)
    return [_expanded(column, classes.index) for column in columns]


def input_columns(integers: np.ndarray) -> list[Column]:
    """The points as columns."""
    return [_ranged(integers[:, k]) for k in range(integers.shape[1])]


def affine(row: ScaledNeuron, columns: list[Column], index: np.ndarray) -> Column:
    """The neuron before its ReLU; constant columns join the bias."""
    terms, bias = [], row.bias
    for c, weight in row.terms:
        column = columns[c]
        if column.values is None:
            bias += weight * column.low
        elif weight == 1 and len(row.terms) == 1 and not row.bias:
            return column
        else:
            terms.append((column, column.values, weight))
    if not terms:
        return Column(int(bias), int(bias))
    shared = all(column.shared for column, _, _ in terms)
    small = abs(bias) + sum(abs(weight) * column.reach for column, _, weight in terms) < LIMIT
    total: Any = int(bias) if small else bias
    for column, values, weight in terms:
        values = values if shared or not column.shared else values[index]
        if small:
            total = total + values * int(weight)
        else:
            total = total + (values if values.dtype == object else values.astype(object)) * weight
    return _ranged(total, shared)


def _ranged(values: np.ndarray, shared: bool = False) -> Column:
    low, high = int(values.min()), int(values.max())
    if low == high:
        return Column(low, high)
    if values.dtype == object and -LIMIT < low and high < LIMIT:
        values = values.astype(np.int64)
    return Column(low, high, values, shared)


def _rectified(row: ScaledNeuron, columns: list[Column], index: np.ndarray) -> Column:
    most = row.bias
    for c, weight in row.terms:
        most += weight * (columns[c].high if weight > 0 else columns[c].low)
    if most <= 0:  # the ranges show that it is off at every point: most thresholds are, points being sorted
        return Column(0, 0)
    column = affine(row, columns, index)
    if column.low >= 0:
        return column
    if column.high <= 0 or column.values is None:
        return Column(0, 0)
    return Column(0, column.high, np.maximum(column.values, 0), column.shared)


def _expanded(column: Column, index: np.ndarray) -> Column:
    if not column.shared or column.values is None:
        return column
    return Column(column.low, column.high, column.values[index])


def _fractions(column: Column, exponent: int, size: int) -> list[Fraction]:
    scale = unit_of(exponent)
    if column.values is None:
        return [column.low * scale] * size
    return [int(value) * scale for value in column.values]


class Classes:
    """Points of a chunk that agree in long integers: a code word that many points share is computed with once."""

    def __init__(self, size: int):
        self.size, self.index = size, np.arange(size)
        self.next_try, self.wait = 0, 1

    def regroup(self, columns: list[Column], depth: int) -> list[Column]:
        """The columns; long ones have one value a class where there are at most half as many classes as points."""
        long = [c for c in columns if c.values is not None and c.values.dtype == object]
        if all(c.shared for c in long) or depth < self.next_try:
            return columns
        numbers = [self.index if c.shared or c.values is None else _numbered(c.values) for c in long]
        repeat = [2 * (int(ids.max()) + 1) <= self.size for ids in numbers]
        codes = np.zeros(self.size, dtype=np.int64)
        for ids, repeats in zip(numbers, repeat, strict=True):
            if repeats:
                codes = np.unique(codes * (self.size + 1) + ids, return_inverse=True)[1]
        if not any(repeat) or 2 * (int(codes.max()) + 1) > self.size:
            self.next_try, self.wait = depth + self.wait, min(2 * self.wait, 256)
            return columns
        chosen = {id(column) for column, repeats in zip(long, repeat, strict=True) if repeats}
        # A column that repeats nowhere, such as a long key, stays one a point; asking again costs more than it saves.
        self.next_try, self.wait = (depth, 1) if all(repeat) else (depth + self.wait, min(2 * self.wait, 256))
        old, (_, first) = self.index, np.unique(codes, return_index=True)
        self.index = codes
        return [_placed(column, old, first, id(column) in chosen) for column in columns]


def _placed(column: Column, old: np.ndarray, first: np.ndarray, shared: bool) -> Column:
    column = _expanded(column, old)
    if not shared or column.values is None:
        return column
    return Column(column.low, column.high, column.values[first], True)


def _numbered(values: np.ndarray) -> np.ndarray:
    """Equal values get equal numbers."""
    table: dict[Any, int] = {}
    return np.fromiter((table.setdefault(v, len(table)) for v in values), dtype=np.int64, count=len(values))
