"""What keeps the candidates of an attack on an invariant network from becoming symmetric (arXiv 2411.16458).

The objective of the attack is G-invariant in every candidate, so that at a fixed point x = P_G x its gradient is fixed
too: symmetric candidates stay so. Near x = 0 the network is linear in x, a G-invariant linear function sees P_G x
alone, and only that part grows. Three remedies, which may be combined: a start of the size of the data, a penalty on
too much symmetric energy rho = |P_G x|^2 / |x|^2, and a step size of its own for the rest, x - P_G x.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from vestige.nets.groups import Group

WEIGHT = 10.0  # of the penalty for one candidate, whose residuals are relative


@dataclass(frozen=True)
class Symmetry:
    """Remedies of a search.

    Attributes:
        group: what the network is invariant to.
        most: symmetric energy from which a candidate is penalized, 1: never.
        rate: step size of x - P_G x, in units of that of P_G x.
    """

    group: Group
    most: float = 1.0
    rate: float = 1.0

    def penalty(self, x: Float[Tensor, "m ..."]) -> Float[Tensor, ""]:
        """WEIGHT sum_i max(0, rho(x_i) - most)^2."""
        whole = x.flatten(1).square().sum(1).clamp(min=1e-30)
        energy = self.group.project(x).flatten(1).square().sum(1) / whole
        return WEIGHT * (energy - self.most).relu().square().sum()


class Parts:
    """The free tensors of a search for x: x itself, or one for P_G x and one for the rest with their own step sizes."""

    def __init__(self, x: Float[Tensor, "m ..."], rate: float, symmetry: Symmetry | None):
        self.group = None if symmetry is None or symmetry.rate == 1 else symmetry.group
        self.free: tuple[Tensor, ...] = (x.clone().requires_grad_(),)
        self.rates = [rate]
        if symmetry is not None and self.group is not None:
            self.free, self.rates = (*self.free, x.clone().requires_grad_()), [rate, rate * symmetry.rate]

    def joined(self) -> Float[Tensor, "m ..."]:
        """x."""
        if self.group is None:
            return self.free[0].clone()
        fixed, rest = self.free
        return self.group.project(fixed) + rest - self.group.project(rest)
