"""A ReLU chain in integers: weights times 2**c0 rounded, activations in fields of bits, and how far that is off.

With q = 2**-c0 and inputs in [-radius, radius], shifted by A = 2**a > radius so that they are positive:

    u    =  floor((x + A) / q)                                       m = c0 + a + 1 bits
    H_k  =  relu(sum_j V_kj u_j + C_k),   V = round(W / q),          C_k = round(b_k / q^2) - A / q sum_j V_kj (first)
    g    =  floor(q H),                                              the next layer's input; the last one is affine.

The error e_l after layer l follows from |V q - W|, exact for floats, and from e_{l-1} + q; arXiv 2202.03841 bounds it
by (5 n B)^l A sqrt(d) q.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestige.core.relu_chain import ReluChain


@dataclass(frozen=True)
class FixedLayer:
    """One layer in integers: V, one row a neuron, and C.

    Each input's field has `fields` bits, of which the last `dropped` are not read; `most` is the largest value read
    from each field.
    """

    weights: tuple[tuple[int, ...], ...]
    biases: tuple[int, ...]
    fields: int
    dropped: int
    most: tuple[int, ...]

    @property
    def code(self) -> int:
        """Bits of the word that holds all inputs."""
        return self.fields * len(self.most)


@dataclass(frozen=True)
class FixedPoint:
    """The chain in integers; outputs are in units of 4**-bits, and at most `error` from the chain's on safe inputs."""

    layers: tuple[FixedLayer, ...]
    bits: int
    shift: int
    error: Fraction

    @property
    def field(self) -> int:
        """Bits of the longest field: c in the paper."""
        return max(layer.fields for layer in self.layers)


def shift_exponent(radius: float) -> int:
    """The a with radius < 2**a <= 2 radius.

    >>> shift_exponent(1.0), shift_exponent(0.7), shift_exponent(3.0)
    (1, 0, 2)
    """
    return math.frexp(radius)[1]


def fewest_bits(chain: ReluChain, radius: float, tolerance: float) -> int:
    """The smallest c0 at which the error is certified to be at most tolerance."""
    least = max(1, -shift_exponent(radius))
    for bits in range(least, 901):
        if all(error_bound(chain, radius, bits, kind) <= kind(tolerance) for kind in (float, Fraction)):
            return bits
    raise ValueError(
        f"tolerance={tolerance:g} given; 900 bits after the binary point are not enough. Their certified error is "
        f"{float(error_bound(chain, radius, 900)):.3g}: a larger tolerance would work."
    )


def error_bound(chain: ReluChain, radius: float, bits: int, number: type[Fraction] | type[float] = Fraction) -> Any:
    """Largest possible |output in integers - output| over safe inputs in the box; number=float for a first look."""
    to: Any = np.asarray if number is float else np.frompyfunc(number, 1, 1)
    unit, side = number(Fraction(1, 1 << bits)), number(Fraction(radius))
    low: Any = np.full(chain.inputs, -side)
    high: Any = np.full(chain.inputs, side)
    error: Any = np.full(chain.inputs, 0 * side)
    for floats, constants in zip(chain.weights, chain.biases, strict=True):
        weight, bias, (stored, off) = to(floats), to(constants), _rounded(floats, bits)
        error = to(stored) @ (error + unit) + to(off) @ np.maximum(abs(low), abs(high)) + unit * unit
        positive, negative = np.maximum(weight, 0), np.minimum(weight, 0)
        low, high = positive @ low + negative @ high + bias, positive @ high + negative @ low + bias
        low, high = np.maximum(low, 0), np.maximum(high, 0)
    return error.max()


def _rounded(weight: NDArray[np.float64], bits: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """|V q| and |V q - W|; both are exact, since scaling by a power of two and the distance to an integer are."""
    scaled = np.ldexp(weight, bits)
    whole = np.rint(scaled)
    return np.ldexp(abs(whole), -bits), np.ldexp(abs(scaled - whole), -bits)


def fixed_point(chain: ReluChain, radius: float, bits: int) -> FixedPoint:
    """The chain in integers with `bits` bits after the point; fields are as long as the largest value needs."""
    a = shift_exponent(radius)
    middle, reach = 1 << (bits + a), math.floor(Fraction(radius) * (1 << bits))
    low, high = [middle - reach - 1] * chain.inputs, [middle + reach] * chain.inputs
    fields, dropped, layers = bits + a + 1, 0, []
    for place, (weight, bias) in enumerate(zip(chain.weights, chain.biases, strict=True)):
        rows = tuple(tuple(int(v) for v in np.rint(np.ldexp(row, bits))) for row in weight)
        constants = [round(Fraction(b) * 4**bits) for b in bias]
        if place == 0:
            constants = [c - middle * sum(row) for c, row in zip(constants, rows, strict=True)]
        layers.append(FixedLayer(rows, tuple(constants), fields, dropped, tuple(high)))
        least, most = _range(rows, constants, low, high)
        fields, dropped = max(1, *(value.bit_length() for value in most)), bits
        low, high = [value >> bits for value in least], [value >> bits for value in most]
    return FixedPoint(tuple(layers), bits, a, error_bound(chain, radius, bits))


def _range(
    rows: tuple[tuple[int, ...], ...], constants: list[int], low: list[int], high: list[int]
) -> tuple[list[int], list[int]]:
    """Least and largest value of each neuron after its ReLU."""
    least, most = [], []
    for row, constant in zip(rows, constants, strict=True):
        ends = [(v * a, v * b) for v, a, b in zip(row, low, high, strict=True)]
        least.append(max(0, constant + sum(map(min, ends))))
        most.append(max(0, constant + sum(map(max, ends))))
    return least, most


def integer_outputs(fixed: FixedPoint, points: NDArray[np.float64]) -> NDArray[np.object_]:
    """(n, outputs) Fractions: the chain in integers, layer by layer, which is what its network must give."""
    unit, middle = 1 << fixed.bits, 1 << (fixed.bits + fixed.shift)
    outputs = np.empty((len(points), len(fixed.layers[-1].biases)), dtype=object)
    for place, point in enumerate(points.tolist()):
        values = [math.floor(Fraction(t) * unit) + middle for t in point]
        for layer in fixed.layers:
            assert 0 <= min(values) and max(values).bit_length() <= layer.fields
            read = [value >> layer.dropped for value in values]
            sums = [
                sum(v * w for v, w in zip(read, row, strict=True)) + constant
                for row, constant in zip(layer.weights, layer.biases, strict=True)
            ]
            values = [max(0, value) for value in sums]
        outputs[place] = [Fraction(value, unit * unit) for value in sums]
    return outputs


def paper_bits(chain: ReluChain, radius: float, tolerance: float) -> tuple[float, float]:
    """c0 and c of theorem 13: 2 L log2(5 A B n d / tolerance), and 2 c0 + log2(2 A d) + L log2((n + 1) B)."""
    largest = max(float(abs(values).max(initial=0)) for values in (*chain.weights, *chain.biases))
    a, b, n = max(1, math.ceil(radius)), max(1, math.ceil(largest)), max(chain.hidden)
    c0 = 2 * chain.depth * math.log2(5 * a * b * n * chain.inputs / tolerance)
    return c0, 2 * c0 + math.log2(2 * a * chain.inputs) + chain.depth * math.log2((n + 1) * b)
