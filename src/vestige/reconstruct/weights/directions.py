"""Reading the first layer so that its weak directions count.

Where training draws neurons together, as with two classes, the singular values of [W b] = U diag(v) V^T fall over
orders of magnitude: all samples of a class share the large ones, and what tells them apart is in the small ones, which
a sum of squares hardly sees. So a difference D from [W b] is read as

    |diag(v^-p) U^T D V diag(v^-p)|^2  +  |(1 - U U^T) D V diag(v^-p)|^2,     v_1 = 1,                          (1)

with p growing from 0, where (1) is |D|^2, while the search goes on: what all samples share is found first. Singular
values below the noise count as the last one above it.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from vestige.reconstruct.weights.chain import Chain

POWER = 0.3  # p in the end: of 0, .15, .3 and .5 the best on two networks of two classes; at 1 nothing is found
RISE = 0.8  # share of the search in which it grows


@dataclass(frozen=True)
class Directions:
    """Singular vectors of the first layer, and by how much each is strengthened.

    Attributes:
        left: (h, n) U.
        sizes: singular values.
        values: v.
        right: (r1, n) V.
        power: p.
    """

    left: Float[Tensor, "h n"]
    sizes: Float[Tensor, " n"]
    values: Float[Tensor, " n"]
    right: Float[Tensor, "r1 n"]
    power: float = 0.0

    def strengthened(self, progress: float) -> "Directions":
        """As they count when this share of the search is over."""
        return replace(self, power=POWER * min(1.0, progress / RISE))

    def relative(self, gap: Float[Tensor, "*batch h r1"]) -> Float[Tensor, "*batch"]:
        """(1) of D over (1) of [W b] itself."""
        turned = gap @ self.right * self.values**-self.power
        inside = self.left.T @ turned
        outside = (turned - self.left @ inside).square().sum((-2, -1))
        square = outside + (inside * self.values[:, None] ** -self.power).square().sum((-2, -1))
        return square / (self.sizes * self.values ** (-2 * self.power)).square().sum()


def directions_of(chain: Chain, known: Float[Tensor, "h k"] | None = None) -> Directions:
    """Of the first layer of a chain, or of what orthonormal columns leave of it."""
    target = chain.first_augmented()
    if known is not None:
        target = target - known @ (known.T @ target)
    left, sizes, right = torch.linalg.svd(target.double(), full_matrices=False)
    values = (sizes / sizes[0]).clamp(min=float(sizes[min(chain.rank, len(sizes)) - 1] / sizes[0]))
    return Directions(left.to(target), sizes.to(target), values.to(target), right.T.to(target))
