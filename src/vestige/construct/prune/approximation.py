"""What a pruned network must do: be near its target, at stored inputs and in a whole ball."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from vestige.construct.prune.compare import certify
from vestige.construct.prune.masked_network import MaskedNetwork
from vestige.construct.prune.sup_error import Ball
from vestige.core.claims import Claim
from vestige.core.kkt import working_copy
from vestige.core.outcome import OnStep
from vestige.core.relu_chain import Affine

AT_POINTS, IN_BALL = "largest error at the stored inputs, l_2", "error anywhere in the ball, l_2"


@dataclass(frozen=True, eq=False, kw_only=True)
class Approximation:
    """The outputs are the target's up to a tolerance, in l_2.

    Attributes:
        points: inputs at which the target's outputs are known, in float64.
        values: the target's outputs there.
        tolerance: largest error allowed.
        source: what promises it.
        radius: of the ball |x| <= radius in which the tolerance holds too; None for at the points only.
        nonnegative: whether the ball is that of inputs >= 0.
        layers: the target's layers, from which the error in the ball follows; not stored, and None after loading.
    """

    points: Float[np.ndarray, "n features"]
    values: Float[np.ndarray, "n out"]
    tolerance: float
    source: str
    radius: float | None = None
    nonnegative: bool = False
    layers: tuple[Affine, ...] | None = field(default=None, repr=False, metadata={"stored": False})
    kind: ClassVar[str] = "pruned"

    def check(self, network: MaskedNetwork, *, on_step: OnStep | None = None) -> tuple[Claim, ...]:
        """The largest error at the points, and with the target's layers the bound on it in the ball."""
        module = network.to_torch()
        with torch.no_grad():
            outputs = working_copy(module)(torch.from_numpy(self.points))
        error = float((outputs - torch.from_numpy(self.values)).norm(dim=1).max())
        at_points = Claim(AT_POINTS, self.tolerance, error, self.source)
        if self.radius is None or self.layers is None:
            return (at_points,)
        ball = Ball(self.tolerance, self.radius, self.nonnegative)
        return at_points, Claim(IN_BALL, self.tolerance, _bound(self.layers, module, ball), self.source)


def _bound(layers: tuple[Affine, ...], module: nn.Sequential, ball: Ball) -> float:
    """NaN where hidden neurons keep several inputs: nothing is known of such a network."""
    try:
        return certify(layers, module, ball)[-1].bound
    except ValueError:
        return math.nan
