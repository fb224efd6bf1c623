"""The claims of a recurrent network's file, derived again: its cell is run in numpy, node after node."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from vestige.construct.file.check import Derived, Question
from vestige.construct.file.check_transformer import Array, measured
from vestige.construct.file.stored import Stored

EMPTY = -10.0  # depth of a slot that holds nothing


def derive_recurrent(stored: Stored, question: Question) -> Derived:
    """Outputs that are off, in float64 and in the narrower dtype, and all sizes.

    Raises:
        ValueError: no cell, no task that is known, or inputs that do not fit.
    """
    cell = Cell(stored.network, stored.tensors)
    return Derived(tuple(measured(cell, stored.fields, question)), cell.sizes())


@dataclass(frozen=True)
class Cell:
    """The numbers of the file, by their names."""

    network: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    @property
    def width(self) -> int:
        """Of the widest layer."""
        return max(len(t) for t in self.tensors.values())

    def run(self, x: Array, dtype: str) -> Array:
        """The answer on top of the stack after the last node."""
        dim, slots = int(self.network["dim"]), int(self.network["slots"])
        layers = [
            tuple(self.tensors[f"cell.{2 * k}.{p}"].numpy().astype(dtype) for p in ("weight", "bias")) for k in self
        ]
        if x.ndim != 3 or x.shape[2] != dim + 1 or len(layers[-1][1]) != slots * (dim + 1):
            raise ValueError(f"inputs of shape {x.shape} for {slots} slots of {dim + 1} numbers")
        state = np.tile(np.array([0.0] * dim + [EMPTY], dtype=dtype), (len(x), slots))
        for step in range(x.shape[1]):
            state = np.concatenate([x[:, step].astype(dtype), state], 1)
            for place, (weight, bias) in enumerate(layers):
                state = state @ weight.T + bias
                state = state if place == len(layers) - 1 else np.maximum(state, 0)
        return state[:, :dim]

    def __iter__(self):
        """Numbers of the cell's layers."""
        return iter(range(len(self.tensors) // 2))

    def sizes(self) -> dict[str, float | int]:
        """What a certificate may claim, by its names."""
        rows = [len(self.tensors[f"cell.{2 * k}.weight"]) for k in self]
        return {
            "ReLU layers of the cell": len(rows) - 1,
            "numbers of the state": rows[-1],
            "neurons of a layer": max(rows[:-1], default=0),
            "weights other than 0": sum(int(np.count_nonzero(t.numpy())) for t in self.tensors.values()),
            "largest weight": max(float(np.abs(t.numpy()).max()) for t in self.tensors.values()),
        }
