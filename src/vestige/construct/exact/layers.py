"""Layers of ReLU networks in exact numbers: sparse rows of integers with one power of two below the line."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

Number = int | float | Fraction


@dataclass(frozen=True, slots=True)
class Neuron:
    """One sparse row: x -> (sum_k weights[k] x[columns[k]] + bias) / 2**shift, in integers."""

    columns: tuple[int, ...]
    weights: tuple[int, ...]
    bias: int
    shift: int


@dataclass(frozen=True, slots=True)
class Layer:
    """Neurons that read the same `inputs` values."""

    inputs: int
    neurons: tuple[Neuron, ...]

    @property
    def outputs(self) -> int:
        """Neurons in the layer."""
        return len(self.neurons)


def neuron(weights: Mapping[int, Number], bias: Number = 0) -> Neuron:
    """A row from weights by column and a bias: ints, floats (taken exactly), Fractions; zeros are dropped.

    Raises:
        ValueError: a number that is not an integer over a power of two: NaN, infinite, or a Fraction such as 1/3.

    >>> neuron({0: 0.5, 3: -2}, 1)
    Neuron(columns=(0, 3), weights=(1, -4), bias=2, shift=1)
    """
    ratios = {column: dyadic(weight) for column, weight in weights.items()}
    over, own = dyadic(bias)
    shift = max([own, *(s for _, s in ratios.values())])
    kept = {column: w << (shift - s) for column, (w, s) in ratios.items() if w}
    return Neuron(tuple(kept), tuple(kept.values()), over << (shift - own), shift)


def dyadic(value: Number) -> tuple[int, int]:
    """(a, s) with value = a / 2**s, a odd or s = 0.

    Raises:
        ValueError: the value is not such a number.

    >>> dyadic(0.75), dyadic(Fraction(5, 8)), dyadic(6)
    ((3, 2), (5, 3), (6, 0))
    """
    try:
        over, under = value.as_integer_ratio()
    except (ValueError, OverflowError):
        raise ValueError(
            f"{value} given as a weight; weights are finite. Look for a division by zero or a diverged training."
        ) from None
    if under & (under - 1):
        raise ValueError(
            f"{value} given as a weight; exact networks hold integers over powers of two only. Round it to one, "
            f"for example Fraction(round({value} * 2**52), 2**52)."
        )
    return over, under.bit_length() - 1


def layer(inputs: int, rows: Sequence[tuple[Mapping[int, Number], Number]]) -> Layer:
    """A layer from (weights, bias) rows.

    Raises:
        ValueError: a number that is not dyadic (see `neuron`), or a column outside 0..inputs - 1.
    """
    neurons = tuple(neuron(weights, bias) for weights, bias in rows)
    for row in neurons:
        if row.columns and not (min(row.columns) >= 0 and max(row.columns) < inputs):
            raise ValueError(
                f"a row reads columns {sorted(row.columns)}, allowed are 0 to {inputs - 1}; the layer before it has "
                f"{inputs} outputs."
            )
    return Layer(inputs, neurons)


ONE = "1"  # in a linear expression, the name of the constant
Expression = Mapping[Hashable, Number]
Name = TypeVar("Name", bound=Hashable)


def plus(*parts: tuple[Number, Mapping[Name, Number]]) -> dict[Name, Number]:
    """A sum of multiples of linear expressions in named neurons, without zeros.

    >>> plus((2, {"x": 1, ONE: 3}), (-1, {"x": 2, "y": 1}))
    {'1': 6, 'y': -1}
    """
    total: dict[Name, Number] = {}
    for factor, part in parts:
        for name, weight in part.items():
            total[name] = total.get(name, 0) + factor * weight
    return {name: weight for name, weight in total.items() if weight}


def named_layers(inputs: Sequence[Hashable], stages: Sequence[Mapping[Hashable, Expression]]) -> tuple[Layer, ...]:
    """Layers written with names: each stage maps its neurons' names, in order, to expressions in those before it.

    >>> named_layers(["x"], [{"above": {"x": 1, ONE: -3}}])[0].neurons
    (Neuron(columns=(0,), weights=(1,), bias=-3, shift=0),)
    """
    result = []
    for stage in stages:
        place = {name: k for k, name in enumerate(inputs)}
        rows = [({place[n]: w for n, w in e.items() if n != ONE}, e.get(ONE, 0)) for e in stage.values()]
        result.append(layer(len(inputs), rows))
        inputs = list(stage)
    return tuple(result)


def digits(value: int, shift: int) -> int:
    """Binary digits of |value| / 2**shift before and after the point.

    >>> digits(3, 2), digits(8, 0), digits(4, 1)
    (2, 4, 2)
    """
    if not value:
        return 0
    spare = min(valuation(value), shift)
    return max((abs(value) >> spare).bit_length(), shift - spare)


def valuation(value: int) -> int:
    """The power of two in an integer other than zero.

    >>> valuation(-12)
    2
    """
    return (value & -value).bit_length() - 1
