"""ReLU networks whose weights are dyadic rationals, kept as integers: what they compute is known to the last bit.

A ReLU follows every layer but the last. Every float is a dyadic rational, so a trained network fits in too.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped
from torch import nn

from vestige.construct.exact.audit import BitAudit, audit_bits
from vestige.construct.exact.evaluate import evaluate
from vestige.construct.exact.layers import Layer, digits
from vestige.core.outcome import OnStep
from vestige.core.relu_chain import linear_layer, relu_between


@dataclass(frozen=True)
class ExactNetwork:
    """Layers of exact neurons with a ReLU after all but the last; frozen, and compared by value.

    Attributes:
        layers: each reads what the one before it gives; at least one.

    Raises:
        ValueError: no layer, or sizes that do not chain.

    Example:
        >>> from vestige.construct.exact.layers import layer
        >>> ramp = ExactNetwork((layer(1, [({0: 1}, 0), ({0: 1}, -1)]), layer(2, [({0: 1, 1: -1}, 0)])))
        >>> [str(v) for v in ramp([[-3.0], [0.25], [7.0]])[:, 0]]
        ['0', '1/4', '1']
    """

    layers: tuple[Layer, ...]

    def __post_init__(self):
        if not self.layers:
            raise ValueError("a network without layers given; at least one affine layer is needed.")
        for index, (before, after) in enumerate(zip(self.layers, self.layers[1:], strict=False)):
            if before.outputs != after.inputs:
                raise ValueError(
                    f"layer {index} has {before.outputs} outputs, layer {index + 1} reads {after.inputs}; equal "
                    "numbers are needed."
                )

    def __call__(self, points: Any, *, on_step: OnStep | None = None) -> Shaped[np.ndarray, "n outputs"]:
        """Exact values at many points.

        Args:
            points: (n, inputs): an array or tensor of floats or integers, or nested lists that may hold Fractions; all
                are taken exactly. More axes than two are flattened.
            on_step: called after each chunk of points, with the number of points done as its value.

        Returns:
            Fractions, in an array of objects.

        Raises:
            ValueError: points that are not finite, or of another size than the network's input.
        """
        return evaluate(self.layers, points, on_step=on_step)

    @property
    def inputs(self) -> int:
        """Numbers that the network reads."""
        return self.layers[0].inputs

    @property
    def outputs(self) -> int:
        """Numbers that it gives."""
        return self.layers[-1].outputs

    @property
    def depth(self) -> int:
        """Affine layers, the last one included."""
        return len(self.layers)

    @property
    def width(self) -> int:
        """Neurons in the widest hidden layer; 0 without one."""
        return max((item.outputs for item in self.layers[:-1]), default=0)

    @property
    def nonzeros(self) -> int:
        """Weights and biases that are not zero."""
        return sum(len(row.weights) + (row.bias != 0) for item in self.layers for row in item.neurons)

    @property
    def parameters(self) -> int:
        """Weights and biases of the dense layers, zeros included."""
        return sum((item.inputs + 1) * item.outputs for item in self.layers)

    @property
    def weight_bits(self) -> int:
        """Binary digits of the longest weight or bias, before and after the point, without its sign."""
        rows = (row for item in self.layers for row in item.neurons)
        return max((digits(value, row.shift) for row in rows for value in (*row.weights, row.bias)), default=0)

    def audit(self, points: Any) -> BitAudit:
        """Bits that a float needs so that no operation at these points rounds, in whatever order sums are taken.

        Args:
            points: as for a call.
        """
        return audit_bits(self.layers, points)

    def to_torch(self, dtype: torch.dtype = torch.float64, *, at: Any = None, exact: bool = True) -> nn.Sequential:
        """A module of Linear and ReLU that computes exactly the same at given points.

        Args:
            dtype: of its parameters.
            at: the points at which no operation may round, as for a call.
            exact: False skips the check and rounds the weights: for constructions certified to a tolerance.

        Returns:
            Dense layers, in evaluation mode, without gradients.

        Raises:
            ValueError: the dtype rounds at one of the points (the message names the bits that are needed), or `at` is
                missing.
        """
        if exact:
            if at is None:
                raise ValueError(
                    "no points given; a float module is exact at stated inputs only. Give them as at=points, or "
                    "exact=False for a module that rounds."
                )
            self.audit(at).check(dtype)
        return relu_between([_dense(item) for item in self.layers]).to(dtype).requires_grad_(False)


def _dense(item: Layer) -> nn.Linear:
    weight = np.zeros((item.outputs, item.inputs))
    for dense, row in zip(weight, item.neurons, strict=True):
        dense[list(row.columns)] = [_float(value, row.shift) for value in row.weights]
    return linear_layer(weight, np.array([_float(row.bias, row.shift) for row in item.neurons]))


def _float(value: int, shift: int) -> float:
    try:
        return float(Fraction(value, 1 << shift))
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
