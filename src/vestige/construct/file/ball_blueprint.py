"""The network on balls read back: its numbers taken off its layers, and the layers that these numbers stand for.

Part of the independent checker: it shares no code with `ball_layers`, which wrote the network. If the layers are what
the numbers stand for, weight by weight, the inequalities between the numbers prove what the network does.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from vestige.construct.exact.layers import Layer, Neuron

Row = tuple[dict[int, Fraction], Fraction]  # weights by column and bias
ONE, NOUGHT = Fraction(1), Fraction(0)


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """P, B, centers c_i, levels v_i, tau, the number of knots, U, K, the base; whether narrow; the norm of the test."""

    rows: list[dict[int, Fraction]]
    shift: Fraction
    centers: list[list[Fraction]]
    levels: list[Fraction]
    tau: Fraction
    knots: int
    limit: Fraction
    slope: Fraction
    base: Fraction
    narrow: bool
    norm: float

    @property
    def m(self) -> int:
        """Carried coordinates."""
        return len(self.rows)


def exact(row: Neuron) -> Row:
    """A stored neuron as rational numbers."""
    if row.weights == (1,) and not row.bias and not row.shift:  # most of a narrow network hands numbers on
        return {row.columns[0]: ONE}, NOUGHT
    below = 1 << row.shift
    pairs = zip(row.columns, row.weights, strict=True)
    return {c: Fraction(w, below) for c, w in pairs if w}, Fraction(row.bias, below)


def read_blueprint(layers: Sequence[Layer], n: int, narrow: bool, norm: float) -> Blueprint | None:
    """Numbers from where they should stand, for n samples; None where the sizes say that this is another network."""
    m, hidden = len(layers[0].neurons), len(layers) - 1
    hinges = (hidden - 1) // n - 3 if narrow else len(layers[1].neurons) // n if hidden > 2 else 0
    if hinges < 2 * m or hinges % (2 * m) or hidden < 4:
        return None
    try:
        unit = [[_hinge(layers, i, k, hinges, m, narrow) for k in range(hinges)] for i in range(n)]
        tests = [_test(layers, i, hinges, m, narrow, norm) for i in range(n)]
    except IndexError:
        return None
    shift, knots = exact(layers[0].neurons[0])[1], hinges // (2 * m)
    tau, limit, fall, _ = tests[0]
    levels = [level for _, _, _, level in tests]
    if not all(levels):
        return None
    return Blueprint(
        rows=[exact(row)[0] for row in layers[0].neurons],
        shift=shift,
        centers=[[-unit[i][2 * knots * j][1] - shift for j in range(m)] for i in range(n)],
        levels=levels,
        tau=tau,
        knots=knots,
        limit=limit,
        slope=fall / levels[0],
        base=exact(layers[-1].neurons[0])[1],
        narrow=narrow,
        norm=norm,
    )


def _hinge(layers: Sequence[Layer], i: int, k: int, hinges: int, m: int, narrow: bool) -> Row:
    if narrow:
        return exact(layers[1 + i * (hinges + 3) + k].neurons[m + 2])
    return exact(layers[1].neurons[i * hinges + k])


def _test(layers: Sequence[Layer], i: int, hinges: int, m: int, narrow: bool, norm: float) -> tuple[Fraction, ...]:
    """(weight of the first hinge, U, v K, v) of sample i."""
    if narrow:
        start = 1 + i * (hinges + 3)
        tau = exact(layers[start + 1].neurons[m + 1])[0].get(m + 2, NOUGHT)
        test, raised = exact(layers[start + hinges].neurons[m + 1]), exact(layers[start + hinges + 1].neurons[m + 1])
        return tau, -test[1], -raised[0].get(m + 1, NOUGHT), raised[1]
    place = 2 + (_rounds(hinges) if norm == math.inf else 0)
    test, raised = exact(layers[place].neurons[i]), exact(layers[place + 1].neurons[i])
    tau = ONE if norm == math.inf else test[0].get(i * hinges, NOUGHT)
    return tau, -test[1], -raised[0].get(i, NOUGHT), raised[1]


def _rounds(count: int) -> int:
    return (count - 1).bit_length()


def layers_that_differ(layers: Sequence[Layer], plan: Blueprint) -> int:
    """How many layers are not those that the numbers stand for."""
    expected = list(_narrow(plan) if plan.narrow else _parallel(plan))
    differ = sum(
        [exact(row) for row in stored.neurons] != [(_nonzero(w), b) for w, b in rows]
        for stored, rows in zip(layers, expected, strict=False)
    )
    return differ + abs(len(layers) - len(expected))


def _nonzero(weights: dict[int, Fraction]) -> dict[int, Fraction]:
    return {c: w for c, w in weights.items() if w}


def _hinges(plan: Blueprint, center: list[Fraction]) -> Iterator[tuple[int, int, Fraction, Fraction]]:
    """(coordinate, sign, bias, weight in the sum)."""
    for j, c in enumerate(center):
        for s in range(plan.knots):
            for sign in (1, -1):
                yield j, sign, -sign * (c + plan.shift) - s * plan.tau, plan.tau * (1 if s == 0 else 2)


def _first(plan: Blueprint) -> list[Row]:
    return [(row, plan.shift) for row in plan.rows]


def _narrow(plan: Blueprint) -> Iterator[list[Row]]:
    m = plan.m
    keep: list[Row] = [({j: ONE}, NOUGHT) for j in range(m)]
    yield _first(plan)
    top: Row = ({}, NOUGHT)
    for center, level in zip(plan.centers, plan.levels, strict=True):
        added: dict[int, Fraction] = {}
        for j, sign, bias, weight in _hinges(plan, center):
            hinge = {j: Fraction(sign)}
            if plan.norm == math.inf:
                hinge |= {c: -w for c, w in added.items()}
            yield [*keep, top, (added, NOUGHT), (hinge, bias)]
            top, added = ({m: ONE}, NOUGHT), {m + 1: ONE, m + 2: weight}
        yield [*keep, top, (added, -plan.limit)]
        yield [*keep, top, ({m: -ONE, m + 1: -level * plan.slope}, level)]
        yield [*keep, ({m: ONE, m + 1: ONE}, NOUGHT)]
    yield [({m: ONE}, plan.base)]


def _parallel(plan: Blueprint) -> Iterator[list[Row]]:
    yield _first(plan)
    rows, sums = [], []
    for center in plan.centers:
        sums.append([])
        for j, sign, bias, weight in _hinges(plan, center):
            sums[-1].append({len(rows): weight})
            rows.append(({j: Fraction(sign)}, bias))
    yield rows
    if plan.norm == math.inf:
        tests = yield from _largest(sums)
    else:
        tests = [{c: w for form in group for c, w in form.items()} for group in sums]
    yield [(form, -plan.limit) for form in tests]
    yield [({i: -level * plan.slope}, level) for i, level in enumerate(plan.levels)]
    (best,) = yield from _largest([[{i: ONE} for i in range(len(plan.levels))]])
    yield [(best, plan.base)]


def _largest(groups: list[list[dict[int, Fraction]]]):
    """Layers that halve each group by max(a, b) = a + (b - a)_+; returns the form of each group's maximum."""
    while max(len(group) for group in groups) > 1:
        rows: list[Row] = []
        halved = []
        for group in groups:
            halved.append([])
            for a, b in zip(group[::2], [*group[1::2], None], strict=False):
                halved[-1].append({len(rows): ONE})
                rows.append((a, NOUGHT))
                if b is not None:
                    halved[-1][-1][len(rows)] = ONE
                    rows.append(({c: b.get(c, NOUGHT) - a.get(c, NOUGHT) for c in a | b}, NOUGHT))
        yield rows
        groups = halved
    return [group[0] for group in groups]
