"""The first layer as it is searched: [W b] = A y~ on its span, and where a sample's column must vanish.

Gradient descent from a small start, or with weight decay, leaves

    [W b]  =  sum_i  s_i [x_i 1]^T                                                                          (1)

with one column s_i in R^h a sample, whatever stands above the first layer (2206.07758 equation 3): entry j is what the
layers above send back to neuron j, times its gate. Where sample i leaves neuron j off, s_ij = 0: at a third to a half
of all neurons, where any other vector of the column space vanishes at few more than its dimension allows.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from vestige.reconstruct.weights.chain import Chain
from vestige.reconstruct.weights.neurons import distinct_neurons

ZERO = 0.01  # of a column's mean |s|: below this an entry is zero


@dataclass(frozen=True)
class FirstLayer:
    """(1) over the neurons that training left alive, in coordinates y = right [x 1] of its row space.

    Attributes:
        columns: (h, n) orthonormal basis of the column space, in which columns are c: s = columns c.
        values: the singular values.
        right: (n, r + 1) orthonormal rows on span coordinates with the bias last; (n, r) without a bias.
        has_bias: whether that coordinate is there.
        weight: of each neuron, summing to 1; copies of one share theirs.
        directions: how many neurons differ.
        alive: which neurons of the network these are.
    """

    columns: Float[Tensor, "h n"]
    values: Float[Tensor, " n"]
    right: Float[Tensor, "n r1"]
    has_bias: bool
    weight: Float[Tensor, " h"]
    directions: int
    alive: Bool[Tensor, " width"]

    @property
    def slopes(self) -> Float[Tensor, "h n"]:
        """A: pre-activations are A y."""
        return self.columns * self.values

    def coordinates(self, s: Float[Tensor, "m h"]) -> Float[Tensor, "m n"]:
        """c of columns, of norm 1."""
        return F.normalize(s @ self.columns, dim=1)

    def zeros(self, c: Float[Tensor, "m n"]) -> Float[Tensor, " m"]:
        """Share of the neurons at which the columns vanish."""
        return self.vanishes(c).to(c) @ self.weight

    def vanishes(self, c: Float[Tensor, "m n"], below: float = ZERO) -> Bool[Tensor, "m h"]:
        """Where the columns are zero: `below` that part of their mean size."""
        s = (c @ self.columns.T).abs()
        return s < below * s.mean(1, keepdim=True)

    def smallest(
        self, weight: Float[Tensor, "m h"], c: Float[Tensor, "m n"] | None, *, steps: int, single: bool = False
    ) -> Float[Tensor, "m n"]:
        """Inverse iteration for the unit c of least  sum_j weight_j (columns c)_j^2, from c, or from a fixed start.

        Args:
            weight: of each neuron, not negative.
            c: start.
            steps: of the iteration.
            single: in single precision, at twice the speed.
        """
        if not len(weight):
            return self.columns.new_zeros(0, self.columns.shape[1])
        basis = self.columns.float() if single else self.columns
        weight, ridge = weight.to(basis), 1e-5 if single else 1e-12
        gram = torch.stack([(basis[w > 0] * w[w > 0, None]).T @ basis[w > 0] for w in weight])
        diagonal = gram.diagonal(dim1=1, dim2=2)
        diagonal += ridge * diagonal.mean(1, keepdim=True)
        factor, _ = torch.linalg.cholesky_ex(gram)
        start = basis.sum(0).expand(len(weight), -1) if c is None else c.to(basis)
        unit = F.normalize(start, dim=1)[:, :, None]
        for _ in range(steps):
            unit = F.normalize(torch.cholesky_solve(unit, factor), dim=1)
        return unit[:, :, 0].to(self.columns)


def first_layer(chain: Chain) -> FirstLayer:
    """Of a chain of any depth."""
    augmented = chain.first_augmented().double()
    weight = distinct_neurons(augmented).to(augmented)
    alive = weight > 0
    left, values, right = torch.linalg.svd(augmented[alive], full_matrices=False)
    n = min(chain.rank, len(values))
    share = weight[alive] / weight.sum()
    directions = round(float(weight.sum()))
    return FirstLayer(left[:, :n], values[:n], right[:n], chain.has_bias[0], share, directions, alive)
