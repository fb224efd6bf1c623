"""Layers that find a point's group by its key, and read keys and labels off the group's code words.

Stages II and III of arXiv 2110.03187 (proof of Theorem 3.1), with fewer neurons. A group's threshold is
s(x) = relu(1 - 4 relu(x - b - 3/4)): 1 up to 3/4 above its last key b, 0 from 1 above it, and exactly so in floats.
Going from the last group to the first, y + (u_j - u_{j+1}) s_j is always a code word, so it never is negative.

A word u of B bits is read with Telgarsky's triangle map phi(z) = relu(2 z) - relu(4 z - 2) on [0, 1] from
z = v / 2**B + 2**-(B+1): bit l of the Gray decoding is 1 iff the l-th iterate exceeds 1/2. Storing v, the prefix
parities of u, makes those bits u's own, and one orbit is enough where the paper compares two. The second relu is at
least 2**(l-B) when it is not 0, so relu(1 - 2**(B-l) relu(4 z - 2)) is 1 minus the bit, exactly.
"""

from collections.abc import Hashable
from fractions import Fraction

from vestige.construct.exact.layers import ONE, Expression, Layer, Number, named_layers, plus
from vestige.construct.memorization.packing import Packing

Group = list[tuple[int, int]]  # (key, label) of its points, by key
Rows = dict[Hashable, Expression]
PLATEAU = Fraction(3, 4)  # a key answers to x within 3/4, and to nothing from 1 on


def memorizer_layers(
    lanes: list[list[Group]], packing: Packing, *, step: Number = 1, offset: Number = 0
) -> list[Layer]:
    """The layers after the projection: x -> offset + step * the label whose key is within 3/4 of x, else offset.

    Lanes hold groups, ordered by key; at most `packing.slots` points a group, and `packing.groups` groups a lane.
    """
    stages: list[Rows] = [{} for _ in range(packing.depth - 1)]
    for stage in stages[: packing.depth - 4]:
        stage["x"] = {"x": 1}
    for lane, groups in enumerate(lanes):
        fields = enumerate((packing.key_bits, packing.label_bits))
        words = [_packed(groups, which, bits, packing.slots) for which, bits in fields]
        key, label = _select(stages, lane, [group[-1][0] for group in groups], words, packing)
        key_stream = _Stream(stages, (lane, "key"), key, packing.key_bits, packing)
        label_stream = _Stream(stages, (lane, "label"), label, packing.label_bits, packing)
        for slot in range(packing.slots):
            read = key_stream.read(slot), label_stream.read(slot)
            _compare(stages, lane, *read, _ready(packing, slot), packing.label_bits)
    _collect(stages, len(lanes), packing, step, offset)
    return list(named_layers(["x"], stages))


def _ready(packing: Packing, slot: int) -> int:
    """The stage in which a slot's key and label can be read."""
    return packing.groups + (slot + 1) * packing.slot_bits + 1


def _packed(groups: list[Group], which: int, bits: int, slots: int) -> list[int]:
    """One word a group: the keys (which=0) or labels (1) of its points, first slot first, as prefix parities."""
    words = []
    for group in groups:
        fields = [pair[which] for pair in group]
        # A repeated key with label 0 changes nothing: the sum over slots is that of the first.
        fields += [group[-1][0] if which == 0 else 0] * (slots - len(group))
        word = 0
        for value in fields:
            word = word << bits | value
        words.append(_prefix_parities(word, slots * bits))
    return words


def _prefix_parities(word: int, bits: int) -> int:
    """Bit l of the result is the parity of the first l bits of the word.

    >>> bin(_prefix_parities(0b1011, 4))
    '0b1101'
    """
    shift = 1
    while shift < bits:
        word ^= word >> shift
        shift *= 2
    return word


def _select(
    stages: list[Rows], lane: int, last_keys: list[int], words: list[list[int]], packing: Packing
) -> list[Expression]:
    """Expressions, ready for stage `packing.groups`, of the words of the group that x lies in."""
    current: list[Expression] = [{ONE: word[-1]} for word in words]
    first = packing.groups - len(last_keys)
    for index, j in enumerate(reversed(range(len(last_keys) - 1))):
        above, before, total = (lane, "above"), (lane, "before"), first + index + 2
        stages[total - 2][above] = {"x": 1, ONE: -last_keys[j] - PLATEAU}
        stages[total - 1][before] = {ONE: 1, above: -4}
        if index:
            for which, expression in enumerate(current):
                stages[total - 1][lane, "word", which] = expression
            current = [{(lane, "word", which): 1} for which in range(len(words))]
        current = [
            plus((1, expression), (word[j] - word[j + 1], {before: 1}))
            for expression, word in zip(current, words, strict=True)
        ]
    return current


class _Stream:
    """Reads a word bit by bit, one layer a bit, the first bit first; z is the current iterate of the triangle map."""

    def __init__(self, stages: list[Rows], name: Hashable, word: Expression, bits: int, packing: Packing):
        self.stages, self.name, self.bits, self.packing = stages, name, bits, packing
        self.left = packing.slots * bits
        scale = Fraction(1, 1 << self.left)
        self.z: Expression = plus((scale, word), (scale / 2, {ONE: 1}))

    def read(self, slot: int) -> Expression:
        """The slot's value, ready for stage `_ready(packing, slot)`."""
        end = _ready(self.packing, slot) - 1
        rise, fold, wait, off, value = ((self.name, part) for part in ("rise", "fold", "wait", "off", "value"))
        for stage in range(end - self.packing.slot_bits, end - self.bits):
            self.stages[stage][wait] = self.z
            self.z = {wait: 1}
        result: Expression = {}
        for stage in range(end - self.bits, end):
            self.left -= 1
            if self.left:
                self.stages[stage][rise] = plus((2, self.z))
            self.stages[stage][fold] = plus((4, self.z), (-2, {ONE: 1}))
            self.z = {rise: 1, fold: -1}
            self.stages[stage + 1][off] = {ONE: 1, fold: -(1 << self.left)}
            if result:
                self.stages[stage + 1][value] = result
                result = {value: 2}
            result = plus((1, result), (1, {ONE: 1, off: -1}))
        return result


def _compare(stages: list[Rows], lane: int, key: Expression, label: Expression, at: int, bits: int) -> None:
    """The label where x is on the key's plateau, 0 from 1 beside the key: relu(label - 2**(c+2) (how far beside))."""
    under, over, held = (lane, "under"), (lane, "over"), (lane, "held")
    stages[at][under] = plus((1, key), (-1, {"x": 1, ONE: PLATEAU}))
    stages[at][over] = plus((-1, key), (1, {"x": 1, ONE: -PLATEAU}))
    stages[at][held] = label
    stages[at + 1][lane, "hit"] = {held: 1, under: -(4 << bits), over: -(4 << bits)}


def _collect(stages: list[Rows], lanes: int, packing: Packing, step: Number, offset: Number) -> None:
    """The sum of all hits: at most one slot of one lane answers."""
    total: Expression = {}
    first, last = _ready(packing, 0) + 2, len(stages) - 1
    arrivals = {_ready(packing, slot) + 2 for slot in range(packing.slots)}
    for stage in range(first, last + 1):
        if stage in arrivals:
            total = plus((1, total), (1, {(lane, "hit"): 1 for lane in range(lanes)}))
        stages[stage]["y"] = plus((step, total), (1, {ONE: offset})) if stage == last else total
        total = {"y": 1}
