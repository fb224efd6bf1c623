"""An exact network run on symbols: its outputs as affine forms, which hold at every input and not at a few points.

A variable is an input, what is left of an integer when its leading bits are gone, or the ReLU of a form. Three facts
simplify, and nothing else is used, so that forms that are equal are equal functions:

- a form that is nowhere negative is its own ReLU, and one that is nowhere positive has the ReLU 0;
- relu(c f) = c relu(f) for c > 0, and relu(-f) = relu(f) - f;
- with z = 2**i b + z', b in {0, 1} and 0 <= z' <= 2**i - r, both ends of a ramp from 2**i - r to 2**i give the bit b.

What is left of z below bit i is the variable z mod 2**i; b is (z mod 2**(i + 1) - z mod 2**i) / 2**i. Nothing here is
shared with what builds such networks.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from vestige.construct.exact.layers import Layer, Neuron

Number = int | Fraction
Key = tuple[tuple[tuple[int, Number], ...], Number]  # a linear part whose first coefficient is 1, and a constant


class NotRead(ValueError):
    """The network is none that these facts explain."""


@dataclass(frozen=True, eq=False, slots=True)
class Form:
    """sum of coefficients times variables, plus a constant."""

    terms: dict[int, Number]
    constant: Number


NOUGHT = Form({}, 0)


@dataclass(frozen=True, eq=False)
class Word:
    """An integer of fields of `field` bits, the first in front, by their ends, plus a rest from 0 to 1 - ramp."""

    ends: tuple[tuple[int, int], ...]
    field: int
    ramp: Number
    place: dict[int, int]  # variable of z mod 2**i, by i

    @property
    def bits(self) -> int:
        """Of the whole integer."""
        return self.field * len(self.ends)

    def between(self, low: int, high: int) -> tuple[int, int]:
        """Least and greatest value of z mod 2**high - z mod 2**low, without what is left below the integer."""
        least = most = 0
        while high > low:
            start, few, many = self._field(high)
            if high < start + (few ^ many).bit_length():
                return least, most + (1 << high) - (1 << low)
            cut, mask = max(0, low - start), (1 << high - start) - 1
            least, most = (sum_ + ((v & mask) >> cut << cut + start) for sum_, v in ((least, few), (most, many)))
            high = start
        return least, most

    def top(self, i: int) -> tuple[int, int]:
        """The least k, and a c, with z mod 2**i = z mod 2**k + c: the bits between them never change."""
        constant = 0
        while i:
            start, few, many = self._field(i)
            changing = (few ^ many).bit_length()
            if i <= start + changing:
                break
            constant += (many & (1 << i - start) - 1) >> changing << changing + start
            i = start + changing
        return i, constant

    def _field(self, i: int) -> tuple[int, int, int]:
        """Where the field of bit i - 1 starts, and its least and greatest value."""
        above = -(-i // self.field)
        return self.field * (above - 1), *self.ends[len(self.ends) - above]

    def below(self, i: int) -> Number:
        """The largest value of z mod 2**i, its rest included."""
        return (1 << i) - self.ramp


class Symbols:
    """Variables with their ranges, and the facts about them; `work` bounds how many terms are added."""

    def __init__(self, work: int):
        self.work = work
        self.most: list[Number | float | None] = []  # None for inputs without bound, whose least value is not 0 either
        self.owner: list[tuple[Word, int] | None] = []
        self.relu_of: list[Key | None] = []
        self.interned: dict[Key, int] = {}
        self.words: dict[tuple, tuple[int, Number, Number]] = {}
        self.meaning: dict[int, Form] = {}

    def variable(
        self, most: Number | float | None, owner: tuple[Word, int] | None = None, relu_of: Key | None = None
    ) -> int:
        """A new one."""
        self.most.append(most)
        self.owner.append(owner)
        self.relu_of.append(relu_of)
        return len(self.most) - 1

    def rest(self, word: Word, i: int) -> Form:
        """z mod 2**i; an integer leaves nothing below its last bit."""
        i, constant = word.top(i)
        if i == 0 and word.ramp == 1:
            return Form({}, constant)
        if i not in word.place:
            word.place[i] = self.variable(word.below(i), (word, i))
        return Form({word.place[i]: 1}, constant)

    def name(self, form: Form, word: Word) -> None:
        """From now on multiples of this form are read as the integer `word`."""
        scale, linear = _normal(form.terms)
        whole = self.rest(word, word.bits)
        (top,) = whole.terms
        self.words[linear] = top, scale, form.constant - whole.constant
        self.meaning[top] = Form(form.terms, form.constant - whole.constant)

    def same(self, a: Form, b: Form) -> bool:
        """Whether two forms are the same function, as far as these facts tell."""
        first, second = self.canonical(a), self.canonical(b)
        return first.constant == second.constant and first.terms == second.terms

    def run(self, layers: Sequence[Layer], forms: list[Form]) -> list[Form]:
        """What the layers give on these inputs."""
        for depth, item in enumerate(layers):
            last = depth == len(layers) - 1
            forms = [self._neuron(row, forms, bool(depth), last) for row in item.neurons]
        return forms

    def _neuron(self, row: Neuron, forms: list[Form], positive: bool, last: bool) -> Form:
        if row.weights == (1,) and not row.bias and not row.shift and positive:
            form = forms[row.columns[0]]
            return self.affine(((1, form),), 0) if self._rewritable(form) else form
        scale = Fraction(1, 1 << row.shift) if row.shift else 1
        parts = ((w * scale, forms[c]) for c, w in zip(row.columns, row.weights, strict=True))
        form = self.affine(parts, row.bias * scale)
        return form if last else self.relu(form)

    def _rewritable(self, form: Form) -> bool:
        return bool(self.words) and len(form.terms) > 0 and _normal(form.terms)[1] in self.words

    def affine(self, parts, constant: Number) -> Form:
        """A sum of multiples of forms, with bits in place of ramps and words in place of their fields."""
        terms: dict[int, Number] = {}
        for factor, form in parts:
            self.work -= 1 + len(form.terms)
            constant += factor * form.constant
            for v, a in form.terms.items():
                terms[v] = terms.get(v, 0) + factor * a
        if self.work < 0:
            raise NotRead("it takes more work to read than a file of its size may ask for")
        form = self._bits(Form({v: _whole(a) for v, a in terms.items() if a}, _whole(constant)))
        for top in form.terms.keys() & self.meaning.keys():
            meaning = self.meaning[top]
            if form.terms.keys() & meaning.terms.keys():  # both the integer and what it is made of: take one
                others = Form({v: a for v, a in form.terms.items() if v != top}, form.constant)
                form = _plus(others, _times(meaning, form.terms[top]))
        if not form.terms or not self.words:
            return form
        scale, linear = _normal(form.terms)
        if linear not in self.words:
            return form
        top, unit, offset = self.words[linear]
        factor = scale / Fraction(unit)
        constant = form.constant - factor * offset
        if factor.numerator > 1 or factor.denominator & (factor.denominator - 1) or (constant / factor).denominator > 1:
            return form  # a neuron whose weights happen to be a multiple
        return Form({top: _whole(factor)}, _whole(constant))

    def _bits(self, form: Form) -> Form:
        """a (relu(z + k) - relu(z + m)) is a (k - m) b, where the ramp between them lies within the gap below 2**i."""
        ramps: dict[tuple, list[int]] = {}
        for v in form.terms:
            key = self.relu_of[v]
            if key is not None and len(key[0]) == 1 and self.owner[key[0][0][0]] is not None:
                ramps.setdefault(key[0], []).append(v)
        for ((z, _),), pair in ramps.items():
            if len(pair) != 2 or form.terms[pair[0]] + form.terms[pair[1]]:
                continue
            first, second = sorted(pair, key=lambda v: -self._offset(v))
            k, m, bit = self._offset(first), self._offset(second), self._bit(z)
            if bit is not None and k <= -bit[1] and m >= -bit[2]:
                others = Form({v: a for v, a in form.terms.items() if v not in pair}, form.constant)
                form = _plus(others, _times(bit[0], form.terms[first] * (k - m)))
        return form

    def _offset(self, v: int) -> Number:
        key = self.relu_of[v]
        assert key is not None
        return key[1]

    def _bit(self, z: int) -> tuple[Form, Number, int] | None:
        """The leading bit of z = z mod 2**(i + 1), the most that z is without it, and the least with it."""
        owner = self.owner[z]
        if owner is None or not owner[1]:
            return None
        word, i = owner[0], owner[1] - 1
        step = 1 << i
        return _times(_plus(Form({z: 1}, 0), _times(self.rest(word, i), -1)), Fraction(1, step)), word.below(i), step

    def relu(self, form: Form) -> Form:
        """relu(form)."""
        low, high = self.range(form)
        if low is not None and low >= 0:
            return form
        if high is not None and high <= 0:
            return NOUGHT
        if (off := self._off(form)) is not None:
            return off
        form = self.canonical(form)
        scale, linear = _normal(form.terms)
        key = (linear, _whole(form.constant / Fraction(scale)))
        bit = self._bit(linear[0][0]) if len(linear) == 1 and linear[0][1] > 0 else None
        if bit is not None:
            least, most = self.range(Form(dict(linear), -bit[2]))
            if most == 0 and key[1] <= -bit[1]:
                return _times(bit[0], scale * (bit[2] + key[1]))  # with its bit, z is 2**i and no more
            if least == -1 and -bit[2] <= key[1] <= 1 - bit[2] and bit[1] == bit[2] - 1:  # without it, 2**i - 1
                return _plus(form, _times(_plus(Form({}, 1), _times(bit[0], -1)), scale * (1 - bit[2] - key[1])))
        if key not in self.interned:
            self.interned[key] = self.variable(math.inf if high is None else high / Fraction(scale), relu_of=key)
        return Form({self.interned[key]: scale}, 0)

    def canonical(self, form: Form) -> Form:
        """The same function with relu(f) - f in place of relu(-f)."""
        for v, a in list(form.terms.items()):
            key = self.relu_of[v]
            if key is not None and key[0][0][1] < 0:
                inner = Form({u: -c for u, c in key[0]}, -key[1])
                others = Form({u: c for u, c in form.terms.items() if u != v}, form.constant)
                form = _plus(others, _times(_plus(self.relu(inner), _times(inner, -1)), a))
        return form

    def _off(self, form: Form) -> Form | None:
        """relu(c - a relu(z + k)) is c (1 - b): the inner one is 0 without the bit b, at least c / a with it."""
        if len(form.terms) != 1:
            return None
        ((v, a),) = form.terms.items()
        key, c = self.relu_of[v], form.constant
        bit = self._bit(key[0][0][0]) if key is not None and len(key[0]) == 1 and a < 0 < c else None
        if key is None or bit is None or not (key[1] <= -bit[1] and -a * (bit[2] + key[1]) >= c):
            return None
        return _plus(Form({}, c), _times(bit[0], -c))

    def range(self, form: Form) -> tuple[Number | None, Number | None]:
        """Least and greatest value, or what bounds them; None for no bound."""
        low: Any = form.constant
        high: Any = form.constant
        words: dict[int, tuple[Word, list[tuple[int, Number]]]] = {}
        for v, a in form.terms.items():
            owner, most = self.owner[v], self.most[v]
            if owner is not None:
                words.setdefault(id(owner[0]), (owner[0], []))[1].append((owner[1], a))
            elif most is None:
                return None, None
            elif a > 0:
                high = high + a * most
            else:
                low = low + a * most
        for word, parts in words.values():
            parts.sort()
            slope: Number = sum(a for _, a in parts)
            ends = [(None, parts[0][0]), *((a[0], b[0]) for a, b in itertools.pairwise(parts))]
            for (begin, end), (_, a) in zip(ends, parts, strict=True):
                few, many = word.between(begin or 0, end)
                reach = slope * few, slope * (many if begin is not None else many + 1 - word.ramp)
                low, high, slope = low + min(reach), high + max(reach), slope - a
        return (None if low == -math.inf else low), (None if high == math.inf else high)


def _normal(terms: dict[int, Number]) -> tuple[Number, tuple[tuple[int, Number], ...]]:
    """|first coefficient|, and the linear part divided by it."""
    items = sorted(terms.items())
    scale = abs(items[0][1])
    if scale == 1:
        return 1, tuple(items)
    return scale, tuple((v, _whole(a / Fraction(scale))) for v, a in items)


def _whole(value: Number) -> Number:
    return value.numerator if value.denominator == 1 else value


def _times(form: Form, factor: Number) -> Form:
    return Form({v: _whole(a * factor) for v, a in form.terms.items()}, _whole(form.constant * factor))


def _plus(a: Form, b: Form) -> Form:
    terms = dict(a.terms)
    for v, c in b.terms.items():
        terms[v] = terms.get(v, 0) + c
    return Form({v: _whole(c) for v, c in terms.items() if c}, _whole(a.constant + b.constant))
