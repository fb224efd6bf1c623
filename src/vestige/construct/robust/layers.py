"""The layers of a network that is right on balls, deep and narrow or shallow and wide (arXiv 2502.11162).

With h = P x + B >= 0 on the balls, both layouts compute, over centers c_i with levels v_i > 0,

    F(x) = base + max_i v_i (1 - K (q_i(h) - U)_+)_+ ,      q_i from hinges (+-(h_j - B - c_ij) - s tau)_+

and so are the same function everywhere. Narrow: m carried numbers, the maximum so far, a sum so far and one hinge a
layer, which makes width m + 3 and 1 + N (2 m (S + 1) + 3) hidden layers. Parallel: all hinges in one layer, maxima by
pairs.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from vestige.construct.exact.layers import Layer, Neuron, neuron
from vestige.construct.robust.thresholds import Thresholds
from vestige.core.choices import ChoiceEnum
from vestige.core.outcome import OnStep, Step

Form = dict[int, Fraction | int]  # a linear form in the neurons of a layer


class Layout(ChoiceEnum):
    """How the hinges are arranged."""

    NARROW = "narrow"
    PARALLEL = "parallel"


@dataclass(frozen=True, eq=False, kw_only=True)
class Plan:
    """All numbers of the network: sparse rows of P, c_i, v_i > 0, the base that is added at the end, and thresholds.

    The test q is in the norm 2 (squared, by chords), 1 or inf.
    """

    rows: list[Form]
    inputs: int
    centers: list[list[Fraction]]
    levels: list[Fraction]
    base: Fraction
    numbers: Thresholds
    norm: float

    def first(self) -> Layer:
        """x -> P x + B."""
        return Layer(self.inputs, tuple(neuron(row, self.numbers.shift) for row in self.rows))

    def hinges(self, center: list[Fraction]) -> Iterator[tuple[Form, Fraction, Fraction]]:
        """(form in h, bias, weight in q) of each hinge, coordinate by coordinate."""
        tau = self.numbers.tau
        for j, place in enumerate(center):
            for knot in range(self.numbers.knots):
                weight = tau if knot == 0 else 2 * tau
                for side in (1, -1):
                    yield {j: side}, -side * (place + self.numbers.shift) - knot * tau, weight


def narrow_layers(plan: Plan, on_step: OnStep | None = None) -> tuple[Layer, ...]:
    """Width m + 3: one hinge after the other, one sample after the other."""
    m, numbers = len(plan.rows), plan.numbers
    carried = tuple(neuron({j: 1}) for j in range(m))
    highest, total, spare = m, m + 1, m + 2
    layers, size, best = [plan.first()], m, Form()
    for index, (center, level) in enumerate(zip(plan.centers, plan.levels, strict=True)):
        q = Form()
        for form, bias, weight in plan.hinges(center):
            hinge = {**form, **{c: -w for c, w in q.items()}} if plan.norm == math.inf else form
            layers.append(Layer(size, (*carried, neuron(best), neuron(q), neuron(hinge, bias))))
            size, best, q = m + 3, {highest: 1}, {total: 1, spare: weight}
        layers.append(Layer(size, (*carried, neuron(best), neuron(q, -numbers.limit))))
        raised = neuron({total: -level * numbers.slope, highest: -1}, level)
        layers.append(Layer(m + 2, (*carried, neuron({highest: 1}), raised)))
        layers.append(Layer(m + 2, (*carried, neuron({highest: 1, total: 1}))))
        size = m + 1
        if on_step is not None:
            on_step(Step(index + 1, len(plan.centers), float(len(layers)), "layers"))
    return (*layers, Layer(size, (neuron(best, plan.base),)))


def parallel_layers(plan: Plan) -> tuple[Layer, ...]:
    """Every hinge of every sample at once, then the tests, then the maximum of the levels by pairs."""
    m, numbers = len(plan.rows), plan.numbers
    hinges, forms = [], []
    for center in plan.centers:
        units = list(plan.hinges(center))
        start = len(hinges)
        hinges.extend(neuron(form, bias) for form, bias, _ in units)
        forms.append([{start + k: weight} for k, (_, _, weight) in enumerate(units)])
    layers = [plan.first(), Layer(m, tuple(hinges))]
    if plan.norm == math.inf:
        tests = maxima(forms, layers)
    else:
        tests = [{k: w for form in group for k, w in form.items()} for group in forms]
    layers.append(Layer(_size(layers), tuple(neuron(q, -numbers.limit) for q in tests)))
    raised = (neuron({i: -level * numbers.slope}, level) for i, level in enumerate(plan.levels))
    layers.append(Layer(len(tests), tuple(raised)))
    (best,) = maxima([[{i: 1} for i in range(len(tests))]], layers)
    return (*layers, Layer(_size(layers), (neuron(best, plan.base),)))


def maxima(groups: list[list[Form]], layers: list[Layer]) -> list[Form]:
    """The largest of each group of forms that are not negative: max(a, b) = a + (b - a)_+, pairs of pairs on."""
    while any(len(group) > 1 for group in groups):
        rows: list[Neuron] = []
        groups = [_halved(group, rows) for group in groups]
        layers.append(Layer(_size(layers), tuple(rows)))
    return [group[0] for group in groups]


def _halved(group: list[Form], rows: list[Neuron]) -> list[Form]:
    halved: list[Form] = []
    for k in range(0, len(group), 2):
        place, first = len(rows), group[k]
        rows.append(neuron(first))
        form: Form = {place: 1}
        if k + 1 < len(group):
            second = group[k + 1]
            columns = {*first, *second}
            rows.append(neuron({c: second.get(c, 0) - first.get(c, 0) for c in sorted(columns)}))
            form[place + 1] = 1
        halved.append(form)
    return halved


def _size(layers: list[Layer]) -> int:
    return layers[-1].outputs
