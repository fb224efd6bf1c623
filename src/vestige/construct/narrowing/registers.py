"""Writing a ReLU network down as a program on named registers.

A register's next value is an affine form in the current ones; `tick` ends a layer, after which every register holds the
positive part of its form. Forms that need no ReLU are never given a layer of their own, so steps fuse by themselves.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from vestige.construct.exact.layers import layer
from vestige.construct.exact.network import ExactNetwork

Number = int | Fraction
Form = dict[str, Number]
Row = tuple[dict[int, Number], Number]
ONE = ""  # the constant's key in a form


def total(*terms: tuple[Number, Mapping[str, Number]]) -> Form:
    """The linear combination of forms, without zeros.

    >>> total((2, {"x": 1, ONE: 3}), (-1, {"x": 2, "y": 1}))
    {'': 6, 'y': -1}
    """
    result: Form = {}
    for factor, form in terms:
        for name, coefficient in form.items():
            result[name] = result.get(name, 0) + factor * coefficient
    return {name: coefficient for name, coefficient in result.items() if coefficient}


@dataclass
class Registers:
    """A network under construction.

    Attributes:
        forms: what each register will hold after the next tick; a register that is left out is gone.
        layers: finished layers, each with the names that it reads and its forms.
    """

    forms: dict[str, Form]
    reads: list[str]
    layers: list[tuple[list[str], dict[str, Form]]] = field(default_factory=list)

    def tick(self) -> None:
        """End the layer: each register holds relu(form), and its form is itself."""
        self.layers.append((self.reads, self.forms))
        self.reads = list(self.forms)
        self.forms = {name: {name: 1} for name in self.forms}

    def rows(self, outputs: Iterable[Form]) -> list[list[Row]]:
        """All layers as rows of {column: weight} and a bias, the outputs as the last, affine one."""
        hidden = [_rows(reads, forms.values()) for reads, forms in self.layers]
        return [*hidden, _rows(self.reads, outputs)]


def start(inputs: Iterable[str]) -> Registers:
    """A network that reads these inputs, which may be negative; nothing is computed yet."""
    return Registers({}, list(inputs))


def _rows(reads: list[str], forms: Iterable[Form]) -> list[Row]:
    place = {name: k for k, name in enumerate(reads)}
    return [({place[n]: c for n, c in form.items() if n != ONE}, form.get(ONE, 0)) for form in forms]


def to_network(rows: list[list[Row]], inputs: int) -> ExactNetwork:
    """The rows as a network; every number must be an integer over a power of two."""
    widths = [inputs, *(len(layer_rows) for layer_rows in rows)]
    return ExactNetwork(tuple(layer(size, layer_rows) for size, layer_rows in zip(widths, rows, strict=False)))
