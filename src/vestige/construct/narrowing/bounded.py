"""The same outputs from weights of bounded size, for more depth (arXiv 2202.03841, corollary 3).

A ReLU network is positively homogeneous layer by layer: with layer i divided by 2**k_i, and its bias by 2**(k_1 + ... +
k_i), every value after it is 2**-(k_1 + ... + k_i) of what it was. Layers that only double bring the outputs back.
"""

from fractions import Fraction

from vestige.construct.exact.layers import Number
from vestige.construct.exact.network import ExactNetwork
from vestige.construct.narrowing.registers import Row


def halvings(rows: list[list[Row]], bound: int) -> list[int]:
    """The smallest k_i >= 0, one a layer, with which no weight and no bias exceeds the bound."""
    result, so_far = [], 0
    for layer in rows:
        weight = max((abs(w) for row, _ in layer for w in row.values()), default=0)
        bias = max(abs(b) for _, b in layer) * Fraction(1, 1 << so_far)
        result.append(max(_halvings(weight, bound), _halvings(bias, bound)))
        so_far += result[-1]
    return result


def _halvings(value: Number, bound: int) -> int:
    ratio = Fraction(value) / bound
    guess = max(0, ratio.numerator.bit_length() - ratio.denominator.bit_length())
    return next(k for k in (guess, guess + 1) if ratio <= 1 << k)


def bounded_depth(rows: list[list[Row]], bound: int) -> int:
    """Layers that `bounded_rows` will have."""
    return len(rows) + -(-sum(halvings(rows, bound)) // (bound.bit_length() - 1))


def bounded_rows(rows: list[list[Row]], bound: int) -> list[list[Row]]:
    """The same function; no weight or bias exceeds the bound, a power of two from 2 on."""
    parts, so_far = halvings(rows, bound), 0
    scaled: list[list[Row]] = []
    for layer, k in zip(rows, parts, strict=True):
        so_far += k
        scaled.append([({c: Fraction(w) / 2**k for c, w in row.items()}, Fraction(b) / 2**so_far) for row, b in layer])
    if not so_far:
        return scaled
    *hidden, last = scaled
    split = [part for row in last for part in (row, ({c: -w for c, w in row[0].items()}, -row[1]))]
    step = bound.bit_length() - 1
    doublings = [min(step, so_far - done) for done in range(0, so_far, step)]
    carried: list[list[Row]] = [[({c: 1 << k}, 0) for c in range(len(split))] for k in doublings[:-1]]
    joined: list[Row] = [({2 * k: 1 << doublings[-1], 2 * k + 1: -(1 << doublings[-1])}, 0) for k in range(len(last))]
    return [*hidden, split, *carried, joined]


def largest_weight(network: ExactNetwork) -> Fraction:
    """Largest |weight| or |bias|."""
    rows = (row for item in network.layers for row in item.neurons)
    return max(Fraction(int(max(map(abs, (*row.weights, row.bias)))), 1 << row.shift) for row in rows)
