"""One attack by queries: the model after its first answers, and what is looked for."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vestige.reconstruct.kernels.black_box import BlackBox
from vestige.reconstruct.kernels.functions import Kernel


@dataclass(frozen=True, eq=False, kw_only=True)
class Task:
    """What every solver needs.

    Attributes:
        box: the model.
        kernel: k; the gamma of a Gaussian may be unknown.
        center: about the mean of the data.
        offset: constant part of the scores.
        n: number of points; None where it is read off the scores.
        n_candidates: how many points are looked for at most where n is not known.
        tolerance: relative error up to which a point counts as validated.
        generator: the queries are drawn from it.
        warnings: what the first answers say of their precision.
    """

    box: BlackBox
    kernel: Kernel
    center: Float[Tensor, " d"]
    offset: Float[Tensor, " out"]
    n: int | None
    n_candidates: int
    tolerance: float
    generator: torch.Generator
    warnings: tuple[str, ...]

    @property
    def d(self) -> int:
        """Numbers of one input."""
        return len(self.center)

    @property
    def outputs(self) -> int:
        """C."""
        return len(self.offset)

    @property
    def most(self) -> int:
        """Anchors at most: more than there are points."""
        return int(1.2 * (self.n or self.n_candidates)) + 2
