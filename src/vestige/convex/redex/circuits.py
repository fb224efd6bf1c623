"""Any Boolean circuit as layers of RedEx (Theorem 2): each gate is one entry of (V x)(V x)^T, or two layers of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vestige.convex.redex.layer import RedExLayer
from vestige.core.choices import ChoiceEnum


class Gate(ChoiceEnum):
    """Of one or two earlier values."""

    NOT = "not"
    AND = "and"
    OR = "or"


@dataclass(frozen=True, eq=False)
class RedExCircuit:
    """Layers that compute a circuit exactly on {0, 1}^d.

    Attributes:
        layers: each maps (1, values) to (1, values and one more).
        depth: layers.
    """

    layers: tuple[RedExLayer, ...]

    @property
    def depth(self) -> int:
        """Layers."""
        return len(self.layers)

    def __call__(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """The last gate's value."""
        values = torch.cat([torch.ones_like(x[:, :1]), x], 1).double()
        for layer in self.layers:
            values = layer(values)
        return values[:, -1]


def compile_circuit(inputs: int, gates: Sequence[tuple[Gate | str, tuple[int, ...]]]) -> RedExCircuit:
    """A circuit as RedEx layers, one layer a gate and two for each "or".

    With the constant 1 as coordinate 0, identity is the product of a value and 1, "and" the product of two values,
    "not" the product of 1 - value and 1, and "or" is 1 - (1 - a)(1 - b): a product of two negations, negated.

    Args:
        inputs: d.
        gates: kind, and the values that it takes: inputs are 0, ..., d - 1, the first gate is d.

    Raises:
        ValueError: no inputs or gates, another number of arguments, or a value that is not there yet.

    >>> xor = compile_circuit(2, [("or", (0, 1)), ("and", (0, 1)), ("not", (3,)), ("and", (2, 4))])
    >>> xor(torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])).round().tolist()
    [0.0, 1.0, 1.0, 0.0]
    """
    if inputs < 1 or not gates:
        raise ValueError(f"{inputs} inputs and {len(gates)} gates given; at least one of each is needed.")
    layers = []
    for number, (kind, taken) in enumerate(gates):
        gate, known = Gate(kind), inputs + number
        if len(taken) != (1 if gate is Gate.NOT else 2) or not all(0 <= i < known for i in taken):
            raise ValueError(f"Gate {number}, {gate} of {taken}, given; it takes earlier values, below {known}.")
        one = torch.zeros(known + 1, dtype=torch.float64)
        one[0] = 1
        left, right = (torch.eye(known + 1, dtype=torch.float64)[i + 1] for i in (taken[0], taken[-1]))
        match gate:
            case Gate.NOT:
                layers.append(_layer(known + 1, (one - left, one)))
            case Gate.AND:
                layers.append(_layer(known + 1, (left, right)))
            case Gate.OR:
                layers.append(_layer(known + 1, (one - left, one - right)))
                last = torch.eye(known + 2, dtype=torch.float64)
                layers.append(_layer(known + 2, (last[0] - last[-1], last[0]), replace=True))
    return RedExCircuit(tuple(layers))


def _layer(width: int, product: tuple[Tensor, Tensor], *, replace: bool = False) -> RedExLayer:
    """Copies all values, or all but the last, and adds the product of two linear functions.

    Row i of V is coordinate i, and two more rows are the functions; their entries of (V x)(V x)^T are what P picks.
    V is not made orthogonal here: the theorem's own construction is not.
    """
    v = torch.cat([torch.eye(width, dtype=torch.float64), torch.stack(product)])
    kept = width - 1 if replace else width
    p = torch.zeros(kept + 1, width + 2, width + 2, dtype=torch.float64)
    for i in range(kept):
        p[i, 0, i] += 0.5
        p[i, i, 0] += 0.5
    p[kept, width, width + 1] = p[kept, width + 1, width] = 0.5
    return RedExLayer(v, p)
