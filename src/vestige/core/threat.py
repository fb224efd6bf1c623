"""The threat model of adversarial examples: an l_p ball around each sample, cut with the box of valid inputs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vestige.core.choices import ChoiceEnum
from vestige.core.space import InputSpace

Radius = float | int | Float[Tensor, " *radii"] | np.ndarray | Sequence[float | int]  # of all samples, or of each


class Norm(ChoiceEnum):
    """The norm that bounds a perturbation; also written "Linf", "L2", "L1", inf, 2 or 1."""

    LINF = "linf"
    L2 = "l2"
    L1 = "l1"

    @classmethod
    def _missing_(cls, value: object) -> "Norm":
        known = {"linf": cls.LINF, "inf": cls.LINF, "l2": cls.L2, "2": cls.L2, "l1": cls.L1, "1": cls.L1}
        text = f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
        return known.get(text.lower()) or super()._missing_(value)

    @property
    def p(self) -> float:
        """The exponent.

        >>> Norm("Linf").p, Norm(2).p
        (inf, 2.0)
        """
        return {Norm.LINF: math.inf, Norm.L2: 2.0, Norm.L1: 1.0}[self]

    @property
    def dual(self) -> float:
        """The exponent q with 1/p + 1/q = 1: a gradient g allows a change of at most eps |g|_q."""
        return {Norm.LINF: 1.0, Norm.L2: 2.0, Norm.L1: math.inf}[self]


def read_norm(norm: Norm | str | float | int) -> float:
    """The exponent p of an l_p norm: a `Norm`, a name such as "linf" or "l2", or any number from 1 on.

    Raises:
        ValueError: less than 1, or not a number.

    >>> read_norm("linf"), read_norm(Norm.L2), read_norm(3)
    (inf, 2.0, 3.0)
    """
    try:
        p = float(str(norm).lower().removeprefix("l"))
    except ValueError:
        p = math.nan
    if not p >= 1:
        raise ValueError(f"norm={norm!r} given; allowed are exponents from 1 to inf, such as 1, 2 or inf.")
    return p


@dataclass(frozen=True, init=False, eq=False)
class Threat:
    """All x' with |x' - x|_p <= eps and low <= x' <= high, in data space.

    Attributes:
        eps: radius, in units of the data; positive and finite. The largest one where every sample has its own.
        norm: of the ball; a name or a number is read as `Norm`.
        space: box and normalization of the inputs; None for [0, 1] and none.
        each: radius of each sample; None where all have the same.

    Raises:
        ValueError: a radius that is not positive and finite, or that in l_inf covers the whole box; an unknown norm.

    >>> Threat(8 / 255, 2).norm
    <Norm.L2: 'l2'>
    >>> Threat([0.1, 0.2]).eps
    0.2
    """

    eps: float
    norm: Norm
    space: InputSpace
    each: Float[Tensor, " n"] | None

    def __init__(
        self, eps: Radius, norm: Norm | str | float | int = Norm.LINF, space: InputSpace | None = None
    ) -> None:
        radii = torch.as_tensor(eps, dtype=torch.float64).detach().cpu()
        if radii.ndim > 1 or not radii.numel():
            raise ValueError(f"eps of shape {tuple(radii.shape)} given; one radius is needed, or one a sample.")
        smallest, largest = float(radii.min()), float(radii.max())
        object.__setattr__(self, "eps", largest)
        object.__setattr__(self, "norm", Norm(norm))
        object.__setattr__(self, "space", space or InputSpace())
        object.__setattr__(self, "each", radii if radii.ndim else None)
        if not 0 < smallest <= largest < math.inf:
            raise ValueError(
                f"eps={smallest} given; eps must be positive and finite, in units of the data, such as 8/255."
            )
        if self.norm is Norm.LINF and self.eps >= self.space.width:
            raise ValueError(
                f"eps={self.eps:g} given for data in [{self.space.low:g}, {self.space.high:g}]: every input is allowed "
                f"then. Is it in units of 0-255? Write {self.eps:g}/255."
            )

    @property
    def given(self) -> float | Tensor:
        """The radius as it was given."""
        return self.eps if self.each is None else self.each

    def radii(self, x: Float[Tensor, " n *feature"]) -> Float[Tensor, " n"]:
        """Radius of each of these samples, in their precision.

        Raises:
            ValueError: another number of radii than of samples.
        """
        if self.each is None:
            return x.new_full((len(x),), self.eps)
        if len(self.each) != len(x):
            raise ValueError(f"{len(self.each)} radii given for {len(x)} samples; one radius is needed, or one each.")
        return self.each.to(x)

    def at(self, rows: Tensor | slice) -> "Threat":
        """The same for some of the samples."""
        return self if self.each is None else Threat(self.each[rows], self.norm, self.space)
