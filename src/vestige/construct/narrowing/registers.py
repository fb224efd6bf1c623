"""Writing a ReLU network down as a program on named registers.

A register's next value is an affine form in the current ones; `tick` ends a layer, after which every register holds the
positive part of its form. Forms that need no ReLU are never given a layer of their own, so steps fuse by themselves.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from vestige.construct.exact.layers import ONE, Number, layer
from vestige.construct.exact.network import ExactNetwork

Form = dict[str, Number]  # a linear expression in registers; see `plus`
Row = tuple[dict[int, Number], Number]


@dataclass
class Registers:
    """A network under construction: `forms` says what each register will hold after the next tick; others are gone.

    Finished layers are kept with the names that they read and their forms.
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
