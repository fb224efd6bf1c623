"""The claims of a narrow network's file, derived again: its agreement with the target, and what was proved of it.

Nothing is shared with what built the network: the error bound and the fields' lengths follow from the target's numbers
by interval arithmetic in Fractions, written a second time (arXiv 2202.03841, theorem 13). That is a proof about the
target in integers; that the network computes these integers is checked at the stored inputs.
"""

import math
from fractions import Fraction
from typing import Any

from vestige.construct.file.check import Derived, Question
from vestige.construct.file.check_points import chosen
from vestige.construct.file.recompute import sizes_of, upwards, values_at
from vestige.construct.file.stored import Stored
from vestige.core.claims import Claim

LARGEST = 1000  # bits
MOST_NUMBERS = 1 << 24  # of a dense layer: a file must not make this fill the memory
Dense = list[tuple[list[list[Fraction]], list[Fraction]]]


def derive_narrow(stored: Stored, question: Question) -> Derived:
    """What a specification of kind "narrow" demands, and the proofs of one that is not promised everywhere."""
    return Derived(_claims(stored, question), sizes_of(stored.layers))


def _claims(stored: Stored, question: Question) -> tuple[Claim, ...]:
    fields = stored.fields
    count = len(fields["points"])
    index = chosen(count, question.points)
    at, tolerance, promise = fields["points"][index], Fraction(fields["tolerance"]), str(fields["source"])
    source = f"{promise}; {len(index):,} of {count:,} inputs"
    sizes = [Fraction(float(size)) for size in fields["sizes"][index]]
    if not min(sizes) > 0 <= tolerance:
        raise ValueError("sizes must be positive and the tolerance at least 0")
    found, wanted = values_at(stored.layers, at, question.on_step), values_at(fields["target"], at)
    errors = [
        max(abs(a - b) for a, b in zip(f, w, strict=True)) / size
        for f, w, size in zip(found, wanted, sizes, strict=True)
    ]
    claims = [
        Claim("inputs where it is off", 0, sum(not error <= tolerance for error in errors), source),
        Claim("largest error", float(tolerance), upwards(max(errors)), source),
    ]
    if fields["values"] is not None:
        pairs = (pair for f, k in zip(found, index, strict=True) for pair in zip(f, fields["values"][k], strict=True))
        other = sum(v != Fraction(w) for v, w in pairs)
        claims.append(Claim("outputs that differ from plain integer arithmetic", 0, other, source))
    weights = (
        Fraction(abs(v), 1 << n.shift) for item in stored.layers for n in item.neurons for v in (*n.weights, n.bias)
    )
    bounds = [c for c in stored.certificate.claims if c.name == "largest weight"]
    claims.extend(Claim(c.name, c.bound, upwards(max(weights)), c.source) for c in bounds)
    if fields["radius"] is not None:
        claims.extend(_proofs(fields, promise))
    return tuple(claims)


def _proofs(fields: Any, promise: str) -> list[Claim]:
    """Error and failure probability at every input of the box, and how many bits that takes beside the paper's."""
    radius, bits, ramp = Fraction(fields["radius"]), int(fields["bits"]), Fraction(fields["ramp"])
    tolerance = float(fields["tolerance"])
    if not (0 < radius < 2**LARGEST and 0 < bits < LARGEST and 0 < ramp < 1 and tolerance > 0):
        raise ValueError(f"radius={float(radius):g}, bits={bits}, ramp={ramp}, tolerance={tolerance:g} bound no region")
    dense = [_dense(item) for item in fields["target"]]
    inputs, unit = len(dense[0][0][0]), Fraction(1, 1 << bits)
    unsafe = (2 * radius + unit) / (2 * radius) * ramp * inputs
    if fields["density"] is not None:
        unsafe *= (2 * radius) ** inputs * Fraction(fields["density"])
    error, longest = _error_and_field(dense, radius, bits)
    largest = max(abs(v) for rows, constants in dense for row in (*rows, constants) for v in row)
    whole = [max(1, math.ceil(v)) for v in (radius, largest)]
    width, depth = max(len(rows) for rows, _ in dense[:-1]), len(dense)
    c0 = 2 * depth * math.log2(5 * whole[0] * whole[1] * width * inputs / tolerance)
    c = 2 * c0 + math.log2(2 * whole[0] * inputs) + depth * math.log2((width + 1) * whole[1])
    in_the_box = all(abs(Fraction(v)) <= radius for v in fields["points"].ravel().tolist())
    return [
        Claim("bits after the point, c0", c0, bits, "arXiv 2202.03841, Theorem 13"),
        Claim("bits a field, c", c, longest, "arXiv 2202.03841, Theorem 13"),
        Claim("error on safe inputs, proved", tolerance, upwards(error) if in_the_box else math.nan, promise),
        Claim("probability of unsafe inputs, proved", float(fields["delta"]), upwards(unsafe), promise),
    ]


def _dense(item: Any) -> tuple[list[list[Fraction]], list[Fraction]]:
    if len(item.neurons) * item.inputs > MOST_NUMBERS:
        raise ValueError(f"a layer of {len(item.neurons):,} x {item.inputs:,} weights; up to {MOST_NUMBERS:,} are read")
    rows = [[Fraction(0)] * item.inputs for _ in item.neurons]
    for row, neuron in zip(rows, item.neurons, strict=True):
        for column, weight in zip(neuron.columns, neuron.weights, strict=True):
            row[column] = Fraction(weight, 1 << neuron.shift)
    return rows, [Fraction(neuron.bias, 1 << neuron.shift) for neuron in item.neurons]


def _error_and_field(dense: Dense, radius: Fraction, bits: int) -> tuple[Fraction, int]:
    """Largest error of the target in integers, and the length of its longest field of bits."""
    unit, step = Fraction(1, 1 << bits), 1 << bits
    power = 0
    while Fraction(2) ** power <= radius:
        power += 1
    while Fraction(2) ** (power - 1) > radius:
        power -= 1
    middle = int(Fraction(2) ** power * step)
    values = [(-radius, radius, Fraction(0))] * len(dense[0][0][0])  # least, greatest, error
    words = [(middle - math.floor(radius * step) - 1, middle + math.floor(radius * step))] * len(values)
    longest = bits + power + 1
    for place, (rows, constants) in enumerate(dense):
        whole = [[round(w * step) for w in row] for row in rows]
        after = [_reach(row, ints, b, values, unit) for row, ints, b in zip(rows, whole, constants, strict=True)]
        shift = middle if place == 0 else 0
        sums = [(_dot(ints, least), _dot(ints, most)) for ints in whole for least, most in [_ends(ints, words)]]
        offsets = [round(b * step * step) - shift * sum(ints) for ints, b in zip(whole, constants, strict=True)]
        fields = [(max(0, low + o), max(0, high + o)) for (low, high), o in zip(sums, offsets, strict=True)]
        if place < len(dense) - 1:
            longest = max(longest, 1, *(high.bit_length() for _, high in fields))
        words = [(low >> bits, high >> bits) for low, high in fields]
        values = [(max(Fraction(0), low), max(Fraction(0), high), error) for low, high, error in after]
    return max(error for _, _, error in values), longest


def _ends(ints: list[int], words: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """The inputs at which a row of integers is least and greatest."""
    least = [low if v >= 0 else high for v, (low, high) in zip(ints, words, strict=True)]
    most = [high if v >= 0 else low for v, (low, high) in zip(ints, words, strict=True)]
    return least, most


def _dot(ints: list[int], values: list[int]) -> int:
    return sum(v * a for v, a in zip(ints, values, strict=True))


def _reach(
    row: list[Fraction],
    ints: list[int],
    bias: Fraction,
    values: list[tuple[Fraction, Fraction, Fraction]],
    unit: Fraction,
) -> tuple[Fraction, Fraction, Fraction]:
    """Least, greatest and error of one neuron before its ReLU."""
    low = high = bias
    error = unit * unit
    for w, v, (least, most, off) in zip(row, ints, values, strict=True):
        ends = (w * least, w * most)
        low, high = low + min(ends), high + max(ends)
        error += abs(v) * unit * (off + unit) + abs(v * unit - w) * max(abs(least), abs(most))
    return low, high, error
