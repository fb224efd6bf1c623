"""The claims of a narrow network's file, derived again: that it is its target, or near it wherever it is safe.

Nothing is shared with what built the network. It is read back on symbols, see `narrow_reading`: the outputs are the
target's at every input, or those of the target in integers at every safe one. How far the target in integers may be off
follows from the target's numbers by interval arithmetic in Fractions, written a second time (arXiv 2202.03841, theorem
13). A network of width 2d+2 rounds, so that nothing but the stored inputs is claimed of it.
"""

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from vestige.construct.exact.layers import Layer
from vestige.construct.file.check import Derived, Question
from vestige.construct.file.check_points import chosen
from vestige.construct.file.narrow_reading import (
    Integers,
    Sparse,
    in_integers,
    outputs_that_differ_everywhere,
    outputs_that_differ_where_safe,
)
from vestige.construct.file.recompute import sizes_of, upwards, values_at
from vestige.construct.file.stored import Stored
from vestige.core.claims import Claim

LARGEST = 1000  # bits
ROUNDS = Fraction(1e-12)  # of the largest output: what rounding may take of a network that is equal otherwise
WORK = 64  # terms added for each number in the file; 2 suffice
EVERYWHERE = "outputs that are not the target's at every input"
INTEGERS = "outputs that are not those in integers at every safe input"
THEOREMS = {"everywhere": ("7",), "safe": ("2", "5")}


def derive_narrow(stored: Stored, question: Question) -> Derived:
    """What a specification of kind "narrow" demands, and the proofs of what is promised beyond the stored inputs."""
    fields, target = stored.fields, stored.fields["target"]
    kind = "everywhere" if fields["radius"] is None else "safe"
    source = fields["source"]
    if source not in [f"arXiv 2202.03841, Theorem {number}" for number in THEOREMS[kind]] or len(target) < 2:
        raise ValueError(f"source {str(source)[:80]!r} of a promise that holds {kind}")
    rest = [fields[name] for name in ("bits", "ramp", "density", "delta", "values")]
    if kind == "everywhere" and any(value is not None for value in rest):
        raise ValueError("bits, ramp, density, delta or values without a radius")
    integers = None if kind == "everywhere" else _integers(fields, target)
    claims = (*_at_the_inputs(stored, question, integers), *_largest_weight(stored))
    proofs = _equal(stored) if integers is None else _near(stored, integers)
    numbers = {**_numbers(stored), **_numbers_near(fields, proofs, claims, integers)}
    return Derived((*claims, *proofs), sizes_of(stored.layers), bounds=_bounds(stored), numbers=numbers)


def _at_the_inputs(stored: Stored, question: Question, integers: Integers | None) -> list[Claim]:
    fields = stored.fields
    count = len(fields["points"])
    index = chosen(count, question.points)
    at, tolerance = fields["points"][index], _finite(fields["tolerance"])
    source = f"{fields['source']}; {len(index):,} of {count:,} inputs"
    found, wanted = values_at(stored.layers, at, question.on_step), values_at(fields["target"], fields["points"])
    units = _units(fields, wanted, tolerance)
    errors = [
        max(abs(a - b) for a, b in zip(f, wanted[k], strict=True)) / units[k]
        for f, k in zip(found, index.tolist(), strict=True)
    ]
    claims = [
        Claim("stored inputs where it is off", 0, sum(not error <= tolerance for error in errors), source),
        Claim("largest error at the stored inputs", float(tolerance), upwards(max(errors)), source),
    ]
    if integers is not None:
        again = [integers.at([Fraction(v) for v in row]) for row in at.tolist()]
        stated = [[Fraction(v) for v in fields["values"][k]] for k in index.tolist()]
        rows = zip(again, found, stated, strict=True)
        other = sum(a != b or a != c for three in rows for a, b, c in zip(*three, strict=True))
        claims.append(Claim("outputs that differ from plain integer arithmetic", 0, other, source))
    return claims


def _units(fields: Mapping[str, Any], wanted: list[list[Fraction]], tolerance: Fraction) -> list[Fraction]:
    """What an error counts in units of: 1, or the largest output of the target among the inputs of one unit."""
    sizes = [float(size) for size in fields["sizes"]]
    if len(sizes) != len(wanted):
        raise ValueError(f"{len(sizes)} sizes for {len(wanted)} inputs")
    largest: dict[float, float] = {}
    for size, row in zip(sizes, wanted, strict=True):
        largest[size] = max(largest.get(size, 0.0), *(float(abs(v)) for v in row))
    near = fields["radius"] is not None
    if not all(size == (1.0 if near or not most else most) for size, most in largest.items()):
        raise ValueError("sizes are 1 on a box, and the target's largest output elsewhere")
    if not (0 < tolerance if near else tolerance in (0, ROUNDS)):
        raise ValueError("the tolerance is positive on a box, and 0 or 1e-12 elsewhere")
    return [Fraction(size) for size in sizes]


def _finite(value: Any) -> Fraction:
    if not isinstance(value, int | float | Fraction) or isinstance(value, bool) or not abs(value) < 2**LARGEST:
        raise ValueError(f"{str(value)[:40]} where a finite number is needed")
    return Fraction(value)


def _largest_weight(stored: Stored) -> list[Claim]:
    bounds = [c.bound for c in stored.certificate.claims if c.name == "largest weight"]
    weights = (
        Fraction(max(map(abs, (*n.weights, n.bias))), 1 << n.shift) for item in stored.layers for n in item.neurons
    )
    source = "arXiv 2202.03841, Corollary 3"
    return [Claim("largest weight", bound, upwards(max(weights)), source) for bound in bounds[:1]]


def _work(stored: Stored) -> int:
    layers = (*stored.layers, *stored.fields["target"])
    return 10_000 + WORK * sum(1 + len(row.weights) for item in layers for row in item.neurons)


def _equal(stored: Stored) -> list[Claim]:
    """Of a network whose weights are not rounded."""
    if stored.fields["tolerance"]:
        return []
    differ = outputs_that_differ_everywhere(stored.layers, stored.fields["target"], _work(stored))
    return [Claim(EVERYWHERE, 0, differ, "arXiv 2202.03841, Theorem 7, read back on symbols")]


def _near(stored: Stored, integers: Integers) -> list[Claim]:
    """Error and failure probability at every input of the box, and how many bits that takes beside the paper's."""
    fields = stored.fields
    radius, bits, ramp = _finite(fields["radius"]), int(fields["bits"]), _finite(fields["ramp"])
    tolerance, promise, target = float(fields["tolerance"]), str(fields["source"]), fields["target"]
    dense = [_rows(item) for item in target]
    inputs, unit = target[0].inputs, Fraction(1, 1 << bits)
    unsafe = (2 * radius + unit) / (2 * radius) * ramp * inputs
    if fields["density"] is not None:
        unsafe *= (2 * radius) ** inputs * _finite(fields["density"])
    largest = max(abs(v) for rows in dense for row, bias in rows for v in (*row.values(), bias))
    whole = [max(1, math.ceil(v)) for v in (radius, largest)]
    width, depth = max(len(rows) for rows in dense[:-1]), len(dense)
    c0 = 2 * depth * math.log2(5 * whole[0] * whole[1] * width * inputs / tolerance)
    c = 2 * c0 + math.log2(2 * whole[0] * inputs) + depth * math.log2((width + 1) * whole[1])
    in_the_box = all(abs(Fraction(v)) <= radius for v in fields["points"].ravel().tolist())
    differ = outputs_that_differ_where_safe(stored.layers, integers, ramp, _work(stored))
    error = upwards(_error(dense, inputs, radius, bits)) if in_the_box and not differ else math.nan
    longest = max(layer.field for layer in integers.layers)
    return [
        Claim(INTEGERS, 0, differ, f"{promise}, read back on symbols"),
        Claim("bits after the point, c0", c0, bits, "arXiv 2202.03841, Theorem 13"),
        Claim("bits a field, c", c, longest, "arXiv 2202.03841, Theorem 13"),
        Claim("error on safe inputs, proved", tolerance, error, promise),
        Claim("probability of unsafe inputs, proved", float(_finite(fields["delta"])), upwards(unsafe), promise),
    ]


def _integers(fields: Mapping[str, Any], target: tuple[Layer, ...]) -> Integers:
    radius, bits, ramp = _finite(fields["radius"]), fields["bits"], _finite(fields["ramp"])
    density, delta = fields["density"], _finite(fields["delta"])
    if type(bits) is not int or not 0 < bits < LARGEST or not (2**-LARGEST < radius and 0 < ramp < 1):
        raise ValueError(f"radius={float(radius):g}, bits={bits}, ramp={ramp} bound no region")
    if ramp.numerator > 1 or ramp.denominator & (ramp.denominator - 1) or not 0 < delta < 1:
        raise ValueError(f"ramp={ramp} is a power of two, delta={float(delta):g} a probability")
    if density is not None and not _finite(density) * (2 * radius) ** target[0].inputs >= 1:
        raise ValueError("a density that is below the uniform one everywhere")
    return in_integers([_rows(item) for item in target], target[0].inputs, radius, bits)


def _rows(item: Layer) -> Sparse:
    return [
        (
            {c: Fraction(w, 1 << row.shift) for c, w in zip(row.columns, row.weights, strict=True)},
            Fraction(row.bias, 1 << row.shift),
        )
        for row in item.neurons
    ]


def _error(target: list[Sparse], inputs: int, radius: Fraction, bits: int) -> Fraction:
    """Largest error of the target in integers."""
    unit, step = Fraction(1, 1 << bits), 1 << bits
    values = [(-radius, radius, Fraction(0))] * inputs  # least, greatest, error
    for rows in target:
        after = []
        for row, bias in rows:
            low = high = bias
            error = unit * unit
            for c, w in row.items():
                least, most, off = values[c]
                v, ends = round(w * step), (w * least, w * most)
                low, high = low + min(ends), high + max(ends)
                error += abs(v) * unit * (off + unit) + abs(v * unit - w) * max(abs(least), abs(most))
            after.append((max(Fraction(0), low), max(Fraction(0), high), error))
        values = after
    return max(error for _, _, error in values)


def _bounds(stored: Stored) -> dict[str, tuple[tuple[int, ...], str]]:
    """Width and depth that the theorems promise."""
    fields, target, promise = stored.fields, stored.fields["target"], str(stored.fields["source"])
    d, depth, outputs = target[0].inputs, len(target), len(target[-1].neurons)
    if fields["radius"] is None:
        widest = max(len(item.neurons) for item in target[:-1])
        width = 2 * (d + depth - 2 + outputs) + (not fields["tolerance"])
        return {"width": ((width,), promise), "layers": (((2 * widest) ** (depth - 1) + 2,), promise)}
    width = max(5 * d if promise.endswith("2") else d + 2, 10, outputs + 4)
    bounded = any(c.name == "largest weight" for c in stored.certificate.claims)
    return {"width": ((max(width, 2 * outputs) if bounded else width,), promise)}


def _numbers(stored: Stored) -> dict[str, int]:
    sizes, target = sizes_of(stored.layers), sizes_of(stored.fields["target"])
    names = {"depth": "layers", "width": "width", "parameters": "parameters", "nonzeros": "nonzeros"}
    own = {name: sizes[size] for name, size in (*names.items(), ("weight_bits", "weight bits"))}
    return own | {f"target_{name}": target[names[name]] for name in ("depth", "width", "parameters")}


def _numbers_near(
    fields: Mapping[str, Any], proofs: list[Claim], claims: tuple[Claim, ...], integers: Integers | None
) -> dict[str, float | int]:
    if integers is None:
        return {}
    named = {claim.name: claim for claim in (*proofs, *claims)}
    bits, field = named["bits after the point, c0"], named["bits a field, c"]
    return {
        "c0": bits.measured,
        "c": field.measured,
        "paper_c0": bits.bound,
        "paper_c": field.bound,
        "tolerance": float(fields["tolerance"]),
        "delta": float(fields["delta"]),
        "radius": float(fields["radius"]),
        "certified_error": named["error on safe inputs, proved"].measured,
        "sampled_error": named["largest error at the stored inputs"].measured,
    }
