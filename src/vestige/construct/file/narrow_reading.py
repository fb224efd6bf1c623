"""A narrow network read back on symbols: is it its target at every input, or the target in integers at every safe one?

The target in integers is that of arXiv 2202.03841, theorem 13: with q = 2**-bits, A = 2**a > radius, u = floor((x + A)
/ q), the layers compute relu(V g + C) with V = round(W / q) and C = round(b / q^2), from g = u in the first layer,
where A / q sum_j V_kj is taken off, and from g = floor(q relu(...)) after it. It is written down here a second time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from vestige.construct.exact.layers import Layer
from vestige.construct.file.symbolic import NOUGHT, Form, NotRead, Symbols, Word

Sparse = list[tuple[dict[int, Fraction], Fraction]]  # rows of a layer: weights by column, and a bias


@dataclass(frozen=True)
class Whole:
    """One layer of the target in integers: rows (V by column, C), and the ends of each of its inputs."""

    rows: list[tuple[dict[int, int], int]]
    ends: tuple[tuple[int, int], ...]
    dropped: int
    field: int

    def of(self, values: Sequence[int]) -> list[int]:
        """V g + C, where g are the inputs without the bits that are dropped."""
        read = [value >> self.dropped for value in values]
        return [sum(v * read[c] for c, v in row.items()) + constant for row, constant in self.rows]


@dataclass(frozen=True)
class Integers:
    """The target in integers."""

    layers: list[Whole]
    bits: int
    power: int

    def at(self, point: Sequence[Fraction]) -> list[Fraction]:
        """Its outputs at an input."""
        values = [(v * (1 << self.bits)).__floor__() + (1 << self.bits + self.power) for v in point]
        for index, layer in enumerate(self.layers):
            values = layer.of([max(0, value) for value in values] if index else values)
        return [Fraction(value, 1 << 2 * self.bits) for value in values]


def in_integers(target: list[Sparse], inputs: int, radius: Fraction, bits: int) -> Integers:
    """Round the target, and bound every value on the box."""
    power = 0
    while Fraction(2) ** power <= radius:
        power += 1
    while Fraction(2) ** (power - 1) > radius:
        power -= 1
    step, middle = 1 << bits, int(Fraction(2) ** (power + bits))
    words = [(middle - (radius * step).__floor__() - 1, middle + (radius * step).__floor__())] * inputs
    dropped, field, layers = 0, bits + power + 1, []
    for place, rows in enumerate(target):
        whole = [({c: round(w * step) for c, w in row.items()}, round(b * step * step)) for row, b in rows]
        if place == 0:
            whole = [(row, constant - middle * sum(row.values())) for row, constant in whole]
        layers.append(Whole(whole, tuple(words), dropped, field))
        words = [_ends(row, constant, words, dropped) for row, constant in whole]
        dropped, field = bits, max(1, *(high.bit_length() for _, high in words))
    return Integers(layers, bits, power)


def _ends(row: dict[int, int], constant: int, words: list[tuple[int, int]], dropped: int) -> tuple[int, int]:
    low = high = constant
    for c, v in row.items():
        ends = (v * (words[c][0] >> dropped), v * (words[c][1] >> dropped))
        low, high = low + min(ends), high + max(ends)
    return max(0, low), max(0, high)


def outputs_that_differ_everywhere(network: Sequence[Layer], target: Sequence[Layer], work: int) -> int:
    """How many outputs are not shown to be the target's at every input."""
    symbols = Symbols(work)
    inputs = [Form({symbols.variable(None): 1}, 0) for _ in range(target[0].inputs)]
    try:
        wanted = symbols.run(target, inputs)
        found = symbols.run(network, inputs)
    except NotRead:
        return len(target[-1].neurons)
    return sum(not symbols.same(a, b) for a, b in zip(wanted, found, strict=True))


def outputs_that_differ_where_safe(network: Sequence[Layer], target: Integers, ramp: Fraction, work: int) -> int:
    """How many outputs are not shown to be those in integers, wherever bits are `ramp` away from the next integer."""
    symbols, first = Symbols(work), target.layers[0]
    words = [Word((ends,), first.field, ramp, {}) for ends in first.ends]
    shifted = [symbols.rest(word, word.bits) for word in words]
    unit, side = Fraction(1, 1 << target.bits), -(Fraction(2) ** target.power)
    inputs = [symbols.affine([(unit, z)], side) for z in shifted]
    values = [symbols.affine([(1, z), (-1, symbols.rest(w, 0))], 0) for z, w in zip(shifted, words, strict=True)]
    try:
        for index, layer in enumerate(target.layers):
            values = _layer(symbols, layer, values)
            if index < len(target.layers) - 1:
                values = [symbols.relu(value) for value in values]
        found = symbols.run(network, inputs)
    except NotRead:
        return len(target.layers[-1].rows)
    return sum(not symbols.same(symbols.affine([(unit * unit, a)], 0), b) for a, b in zip(values, found, strict=True))


def _layer(symbols: Symbols, layer: Whole, values: list[Form]) -> list[Form]:
    """V g + C on symbols: the inputs' fields become one word, and g what is left of it without its last bits."""
    word = Word(layer.ends, layer.field, 1, {})
    places = [layer.field * (len(values) - 1 - j) for j in range(len(values))]
    joined = symbols.affine(((1 << place, value) for place, value in zip(places, values, strict=True)), 0)
    if joined.terms and symbols.rest(word, word.bits).terms:
        symbols.name(joined, word)
        read = [_field(symbols, word, place, layer) for place in places]
    else:
        whole = [int(value.constant) >> layer.dropped for value in values]
        read = [Form({}, value) for value in whole]
    return [symbols.affine(((v, read[c]) for c, v in row.items() if v), constant) for row, constant in layer.rows]


def _field(symbols: Symbols, word: Word, place: int, layer: Whole) -> Form:
    if layer.field <= layer.dropped:
        return NOUGHT
    end, start = place + layer.field, place + layer.dropped
    unit = Fraction(1, 1 << start)
    return symbols.affine([(unit, symbols.rest(word, end)), (-unit, symbols.rest(word, start))], 0)
