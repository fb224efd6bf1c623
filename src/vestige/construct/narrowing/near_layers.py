"""A ReLU chain in integers as a network of few registers (arXiv 2202.03841, theorems 2 and 5, corollary 3).

All inputs of a layer stand in one register, one field of bits after the other. A pass reads that word bit by bit,

    s  =  relu((z - T) / r + 1),   t  =  relu((z - T) / r),   bit  =  s - t,   z  <-  z - T bit,      T = 2**M, ..., 1,

r = 1 for whole z, collects each field and adds its multiples to the accumulators of as many neurons as the width has
room for. What they hold after their ReLU is written to the next word. The input's own bits are read in the same way
with a ramp r < 1: that fails only where (x + A) 2**c0 lies less than r below an integer.

The paper reads bits through iterated triangle functions, in three layers a bit and with all of c0**2 steps at width
d + 2; integers need one layer a bit, and two at width d + 2.
"""

import itertools
from collections.abc import Sequence
from fractions import Fraction

from vestige.construct.exact.layers import ONE, plus
from vestige.construct.narrowing.fixed_point import FixedLayer, FixedPoint
from vestige.construct.narrowing.registers import Form, Registers, Row, start
from vestige.core.choices import ChoiceEnum

BESIDE = 6  # registers of a pass beside its accumulators: both words, what is left of one, two for the bit, the field


class NearWidth(ChoiceEnum):
    """Width of the approximate construction: the input's bits are read side by side, or one coordinate at a time."""

    SIDE_BY_SIDE = "5d"
    ONE_BY_ONE = "d+2"


def bit_width(inputs: int, outputs: int, width: NearWidth) -> int:
    """max(5d, 10) or max(d+2, 10), and room for an accumulator an output."""
    return max(5 * inputs if width is NearWidth.SIDE_BY_SIDE else inputs + 2, 10, outputs + BESIDE - 2)


def bit_depth(fixed: FixedPoint, width: NearWidth) -> int:
    """Layers of weights that `bit_rows` will have."""
    first = fixed.layers[0]
    d, m = len(first.most), first.fields
    room = bit_width(d, len(fixed.layers[-1].biases), width) - BESIDE
    encoding = m if width is NearWidth.SIDE_BY_SIDE else 2 * m * d
    passes = sum(-(-len(layer.biases) // room) * (_reads(layer) + 1) for layer in fixed.layers[:-1])
    return encoding + passes + _reads(fixed.layers[-1]) + 1


def _reads(layer: FixedLayer) -> int:
    return layer.code - layer.dropped if layer.fields > layer.dropped else 0


def bit_rows(fixed: FixedPoint, width: NearWidth, ramp: Fraction) -> list[list[Row]]:
    """The network, exactly: layers of rows {column: weight} with a bias; `ramp` is r for the input's bits."""
    d, outputs = len(fixed.layers[0].most), len(fixed.layers[-1].biases)
    registers = start(f"x{j}" for j in range(d))
    word = (_side_by_side if width is NearWidth.SIDE_BY_SIDE else _one_by_one)(registers, fixed, ramp)
    room = bit_width(d, outputs, width) - BESIDE
    for layer, after in itertools.pairwise(fixed.layers):
        word = _hidden(registers, layer, word, after.fields, room)
    registers.forms = {"z": word}
    sums = _sums(registers, fixed.layers[-1], range(outputs))
    return registers.rows(plus((Fraction(1, 4**fixed.bits), value)) for value in sums)


def _side_by_side(registers: Registers, fixed: FixedPoint, ramp: Fraction) -> Form:
    """The word of all coordinates: the fields' sum minus what is left of each when its whole bits are taken off."""
    d, m = len(fixed.layers[0].most), fixed.layers[0].fields
    shifted = [_shifted(j, fixed) for j in range(d)]
    registers.forms = {f"z{j}": form for j, form in enumerate(shifted)}
    registers.forms["word"] = _concatenated(shifted, m)
    for position in reversed(range(m)):
        bits = _bits(registers, [str(j) for j in range(d)], 1 << position, ramp)
        for j, bit in enumerate(bits):
            registers.forms[f"z{j}"] = plus((1, {f"z{j}": 1}), (-(1 << position), bit))
    left = [registers.forms[f"z{j}"] for j in range(d)]
    return plus((1, {"word": 1}), (-1, _concatenated(left, m)))


def _one_by_one(registers: Registers, fixed: FixedPoint, ramp: Fraction) -> Form:
    """The same with d + 2 registers: g = relu((z - T) / r + 1) and bit = 1 - relu(1 - g), two layers a bit."""
    d, m = len(fixed.layers[0].most), fixed.layers[0].fields
    forms = registers.forms = {f"x{j}": _shifted(j, fixed) for j in range(d)}
    word: Form = {}
    for j in range(d):
        forms = registers.forms
        z = forms.pop(f"x{j}")
        forms["word"], forms["z"] = plus((1, word), (1 << m * (d - 1 - j), z)), z
        for position in reversed(range(m)):
            threshold = 1 << position
            registers.forms["g"] = plus((1 / ramp, registers.forms["z"]), (1 - threshold / ramp, {ONE: 1}))
            registers.tick()
            registers.forms["g"] = {ONE: 1, "g": -1}
            registers.tick()
            registers.forms["z"] = {"z": 1, "g": threshold, ONE: -threshold}
        word = plus((1, {"word": 1}), (-(1 << m * (d - 1 - j)), registers.forms["z"]))
    return word


def _shifted(j: int, fixed: FixedPoint) -> Form:
    """(x_j + A) 2**c0."""
    return {f"x{j}": 1 << fixed.bits, ONE: 1 << (fixed.bits + fixed.shift)}


def _concatenated(forms: Sequence[Form], field: int) -> Form:
    """One field after the other, the first in front."""
    return plus(*((1 << field * (len(forms) - 1 - j), form) for j, form in enumerate(forms)))


def _hidden(registers: Registers, layer: FixedLayer, word: Form, field: int, room: int) -> Form:
    """The word of the layer's neurons, `room` of them computed in a pass."""
    registers.forms = {"word": word, "next": {}}
    for first in range(0, len(layer.biases), room):
        neurons = range(first, min(first + room, len(layer.biases)))
        registers.forms["z"] = registers.forms["word"]
        sums = {f"sum{k}": form for k, form in zip(neurons, _sums(registers, layer, neurons), strict=True)}
        registers.forms = {name: registers.forms[name] for name in ("word", "next")} | sums
        registers.tick()
        done = _concatenated([{name: 1} for name in sums], field)
        following = plus((1 << field * len(sums), {"next": 1}), (1, done))
        registers.forms = {"word": {"word": 1}, "next": following}
    return registers.forms["next"]


def _sums(registers: Registers, layer: FixedLayer, neurons: Sequence[int]) -> list[Form]:
    """Read the word in z once; each neuron before its ReLU, as a form.

    An accumulator starts at what its negative weights can take away, since no register holds a negative number.
    """
    spare = {k: -sum(v * g for v, g in zip(layer.weights[k], layer.most, strict=True) if v < 0) for k in neurons}
    kept = layer.fields - layer.dropped
    registers.forms |= {f"sum{k}": {ONE: spare[k]} for k in neurons}
    for position in reversed(range(layer.code - _reads(layer), layer.code)):
        j, place = divmod(layer.code - 1 - position, layer.fields)
        (bit,) = _bits(registers, [""], 1 << position, Fraction(1))
        registers.forms["z"] = plus((1, {"z": 1}), (-(1 << position), bit))
        if place < kept:
            registers.forms["field"] = plus((2, {"field": 1} if place else {}), (1, bit))
        if place == kept - 1:
            value = registers.forms.pop("field")
            for k in neurons:
                registers.forms[f"sum{k}"] = plus((1, {f"sum{k}": 1}), (layer.weights[k][j], value))
    return [plus((1, registers.forms[f"sum{k}"]), (layer.biases[k] - spare[k], {ONE: 1})) for k in neurons]


def _bits(registers: Registers, names: Sequence[str], threshold: int, ramp: Fraction) -> list[Form]:
    """End a layer that holds, for each z, both parts of its ramp at the threshold; what the bits are then."""
    for name in names:
        high = plus((1 / ramp, registers.forms[f"z{name}"]), (-threshold / ramp, {ONE: 1}))
        registers.forms |= {f"s{name}": plus((1, high), (1, {ONE: 1})), f"t{name}": high}
    registers.tick()
    bits: list[Form] = [{f"s{name}": 1, f"t{name}": -1} for name in names]
    for name in names:
        del registers.forms[f"s{name}"], registers.forms[f"t{name}"]
    return bits
