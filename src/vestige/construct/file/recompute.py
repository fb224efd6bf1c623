"""Values and sizes of a stored network, computed a second way.

This shares no code with the evaluator of `ExactNetwork`. A neuron is a column of Python integers, one a point, over a
common power of two, which is reduced after each layer as far as it goes.
"""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from vestige.construct.exact.layers import Layer
from vestige.core.outcome import OnStep, Step

Column = tuple[NDArray[np.object_], int]  # integers and e: the values are integers / 2**e
FIRST, CHUNK = 4, 2000  # points at a time; the first few show how much work a point is
FINEST = 1 << 22  # bits after the binary point: a file must not make this compute without end
A_BIT = 64  # bits of intermediate numbers that a stored bit may cost at each point; honest files need less than 1
MEMORY = 1 << 31  # bits of intermediate numbers in one chunk


def values_at(layers: Sequence[Layer], points: NDArray, on_step: OnStep | None = None) -> list[list[Fraction]]:
    """Outputs at each of (n, inputs) points, exactly."""
    if points.ndim != 2 or points.shape[1] != layers[0].inputs:
        raise ValueError(f"points of shape {points.shape}; the network reads (n, {layers[0].inputs})")
    rows: list[list[Fraction]] = []
    begin, size, most = 0, FIRST, A_BIT * (_stored_bits(layers) + 64 * points.shape[1])
    while begin < len(points):
        part = points[begin : begin + size]
        columns, work = [_column(part[:, k].tolist()) for k in range(points.shape[1])], 0
        for depth, item in enumerate(layers):
            widths = [_bits_of(integers) for integers, _ in columns]
            work += sum(widths[c] + row.shift for row in item.neurons for c in row.columns)
            if work > most:
                raise ValueError(f"a point takes numbers of {work:,} bits; its file's size allows {most:,}")
            columns = [_neuron(row, columns, depth) for row in item.neurons]
            if depth < len(layers) - 1:
                columns = [(np.maximum(integers, 0), e) for integers, e in columns]
        numbers = [[Fraction(int(v)) / 2**e for v in integers] for integers, e in columns]
        rows.extend([list(row) for row in zip(*numbers, strict=True)])
        begin += len(part)
        size = min(CHUNK, max(FIRST, MEMORY // max(work, 1)))
        if on_step is not None:
            on_step(Step(begin, len(points), float(begin), "points"))
    return rows


def _stored_bits(layers: Sequence[Layer]) -> int:
    """What the network takes in its file, roughly: a word and the digits of each number."""
    numbers = (v for item in layers for row in item.neurons for v in (*row.weights, row.bias))
    return sum(64 + int(v).bit_length() for v in numbers)


def _bits_of(integers: NDArray[np.object_]) -> int:
    """Of the longest."""
    return max(map(int.bit_length, map(int, integers)), default=0)


def _column(values: list) -> Column:
    ratios = [value.as_integer_ratio() for value in values]
    below = max(under for _, under in ratios)
    if any(under & (under - 1) for _, under in ratios):
        raise ValueError("a coordinate is not an integer over a power of two")
    return _objects([over * (below // under) for over, under in ratios]), below.bit_length() - 1


def _objects(values: list[int]) -> NDArray[np.object_]:
    return np.array([*values, None], dtype=object)[:-1]


def _neuron(row, columns: list[Column], depth: int) -> Column:
    """(sum_k w_k x_k + b) / 2**shift as integers over the smallest power of two."""
    if depth and row.weights == (1,) and not row.bias and not row.shift:
        return columns[row.columns[0]]
    common = max([columns[c][1] for c in row.columns], default=0)
    total = _objects([row.bias << common] * len(columns[0][0]))
    for c, weight in zip(row.columns, row.weights, strict=True):
        integers, e = columns[c]
        total = total + integers * (weight << (common - e))
    below = common + row.shift
    every = int(np.bitwise_or.reduce(total))
    spare = min(below, (every & -every).bit_length() - 1 if every else below)
    if below - spare > FINEST:
        raise ValueError(f"a value has {below - spare:,} bits after the binary point; up to {FINEST:,} are allowed")
    return (total >> spare if spare > 0 else total), below - spare


def sizes_of(layers: Sequence[Layer]) -> dict[str, int]:
    """What a certificate may claim of a network's size, by the names that certificates use."""
    first, *rest = (
        [_bits(v, row.shift) for row in item.neurons for v in (*row.weights, row.bias) if v] for item in layers
    )
    later = [bits for item in rest for bits in item]
    return {
        "width": max([len(item.neurons) for item in layers[:-1]], default=0),
        "layers": len(layers),
        "hidden layers": len(layers) - 1,
        "nonzeros": len(first) + len(later),
        "parameters": sum((item.inputs + 1) * len(item.neurons) for item in layers),
        "weight bits": max([*first, *later], default=0),
        "weight bits after the first layer": max(later, default=0),
    }


def _bits(value: int, shift: int) -> int:
    """Binary digits of value / 2**shift, before and after the point."""
    number = Fraction(abs(value), 2**shift)
    return max((number.numerator // number.denominator).bit_length() + number.denominator.bit_length() - 1, 1)


def upwards(value: Fraction | int) -> float | int:
    """As a float that is not smaller; whole numbers as they are."""
    value = Fraction(value)
    if value.denominator == 1:
        return int(value)
    near = float(value)
    return near if Fraction(near) >= value else math.nextafter(near, math.inf)
