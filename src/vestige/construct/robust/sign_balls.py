"""What a robust classifier of two classes must do: keep the sign of its output in a ball around every sample."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vestige.core.claims import Claim
from vestige.core.outcome import OnStep

UNIT = 2.0**-52  # float64
LOSS = 1000, 16  # units of the network's dtype that margins and radius may lose: at least, and a term of a sum


@dataclass(frozen=True, eq=False, kw_only=True)
class SignBalls:
    """No perturbation of a sample that is shorter than eps, in l_2, changes the sign of the output.

    What `check` proves, of a network out relu(W x + b): where some unit that votes for the sample's class stays on in
    its whole ball, and every unit that votes against it stays off, the output keeps its sign. Sums are taken in float64
    and rounded to the safe side.

    Attributes:
        points: samples, in model space.
        signs: 1 or -1 for each.
        eps: radius of the balls.
        source: what promises it.
    """

    points: Float[np.ndarray, "n features"]
    signs: Int[np.ndarray, " n"]
    eps: float
    source: str
    kind: ClassVar[str] = "sign balls"

    def check(self, network: nn.Module, *, on_step: OnStep | None = None) -> tuple[Claim, ...]:
        """Wrong signs, the smallest margin, the radius, and how much of it rounding took."""
        hidden, out = (layer for layer in network.modules() if isinstance(layer, nn.Linear))
        weight, vote = _wide(hidden.weight), _wide(out.weight)[0]
        bias = torch.zeros_like(weight[:, 0]) if hidden.bias is None else _wide(hidden.bias)
        x, sign = torch.from_numpy(self.points), torch.from_numpy(self.signs)
        margins = sign * ((x @ weight.T + bias).relu() @ vote)
        best = best_radius(x, sign)
        units = (LOSS[0] + LOSS[1] * x.shape[1]) * float(x.norm(dim=1).max()) / best
        allowed = 1 + units * torch.finfo(hidden.weight.dtype).eps
        return (
            Claim("samples of the wrong sign", 0, int((~(margins > 0)).sum()), self.source),
            Claim("1 / smallest margin", allowed, _inverse(float(margins.min())), self.source),
            Claim("radius", kept_radius(weight, bias, vote, x, sign), self.eps, self.source),
            Claim("radius without rounding / radius", allowed, best / self.eps, self.source),
        )


def _inverse(margin: float) -> float:
    return 1 / margin if margin > 0 else math.inf


def _wide(parameter: Tensor) -> Tensor:
    return parameter.detach().cpu().double()


def kept_radius(weight: Tensor, bias: Tensor, vote: Tensor, x: Tensor, sign: Tensor, rounding: int = 1) -> float:
    """The radius at which the first unit may change sides, less `rounding` times the rounding error of a sum.

    `weight` and `bias` are those of the hidden layer, `vote` the weights of the output.
    """
    size = weight.norm(dim=1)
    before = x @ weight.T + bias
    off_by = rounding * (x.shape[1] + 2) * UNIT * (x.norm(dim=1)[:, None] * size + bias.abs())
    helps, harms = (sign[:, None] * vote * s > 0 for s in (1, -1))
    on = ((before - off_by) / size).masked_fill(~helps, -torch.inf).amax(1)
    off = ((-before - off_by) / size).masked_fill(~harms, torch.inf).amin(1)
    return float(torch.minimum(on, off).min())


def best_radius(x: Tensor, sign: Tensor) -> float:
    """min_i (|x_i|^2 - p_i) / (2 |x_i|), p_i = max <x_i, x_j> over the samples of the other class."""
    products = (x @ x.T).masked_fill(sign[:, None] == sign, -torch.inf).amax(1)
    own = x.square().sum(1)
    return float(((own - products) / (2 * own.sqrt())).min())
