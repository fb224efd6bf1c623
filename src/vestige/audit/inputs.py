"""What every audited model says of its inputs, and how data become them."""

import math
from dataclasses import dataclass

from torch import Tensor

from vestige.core.space import UNBOUNDED, InputSpace

LARGEST = 1e15  # squares leave single precision beyond it


@dataclass(frozen=True, eq=False, kw_only=True)
class Audited:
    """A model from outside.

    Attributes:
        name: of the file, the callable, or the class of a module in memory.
        input_shape: of one sample.
        space: range and normalization of the inputs; None where it is unknown.
    """

    name: str
    input_shape: tuple[int, ...]
    space: InputSpace | None

    @property
    def shown_space(self) -> InputSpace:
        """The space for pictures: unbounded where the range is unknown, so that they are stretched."""
        return self.space or UNBOUNDED

    def shaped(self, x: Tensor) -> Tensor:
        """Samples in the shape that the model takes, still in data space.

        Raises:
            ValueError: samples of another size.
        """
        if x[0].numel() != math.prod(self.input_shape):
            wanted, got = ("x".join(map(str, shape)) for shape in (self.input_shape, x.shape[1:]))
            gray = (self.input_shape[0], x.shape[1]) == (1, 3) and self.input_shape[1:] == x.shape[2:]
            likely = "are gray images stored in color? Convert them" if gray else "is it another data set?"
            raise ValueError(f"the data have samples of shape {got}, the model takes {wanted}; {likely}")
        return x.reshape(len(x), *self.input_shape)

    def inputs(self, x: Tensor) -> Tensor:
        """Samples as the model takes them, in model space.

        Raises:
            ValueError: samples of another size, or numbers whose squares no model computes with.
        """
        made = self.shown_space.to_model(self.shaped(x))
        if made.numel() and not bool(made.abs().max() < LARGEST):
            raise ValueError(
                f"the data reach {float(made.abs().max()):.3g} as the model takes them; is their scale right "
                "(--mean, --std, --range)?"
            )
        return made
