"""From candidates of an invariant network to the views of them that its base network was trained on.

The gradient of F(x) = mean_t f(view_t(x)) is the mean over t of those of f, so that equation (1) of
`joint` holds for f with every view of every training sample, all views of a sample with the same
multipliers. Candidates x = E z have coordinates z of their own; their views are linear in them.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vestige.nets.groups import Permutations
from vestige.nets.invariant import InvariantNetwork
from vestige.reconstruct.weights.chain import Chain

INSIDE = 1e-4  # squared share of a direction's views that may lie outside the span of the first layer


@dataclass(frozen=True)
class Lift:
    """view_t(E z) = basis (L_t z), with the basis of the base network's chain.

    Attributes:
        inputs: E, orthonormal columns.
        maps: the transposed L_t.
    """

    inputs: Float[Tensor, "d q"]
    maps: Float[Tensor, "t q r"]

    @property
    def count(self) -> int:
        """Views of an input."""
        return len(self.maps)

    def views(self, z: Float[Tensor, "*batch m q"]) -> Float[Tensor, "*batch mt r"]:
        """Span coordinates of all views, those of a candidate next to one another."""
        return torch.einsum("...mq,tqr->...mtr", z, self.maps).flatten(-3, -2)

    def shared(self, multipliers: Float[Tensor, "*batch m out"]) -> Float[Tensor, "*batch mt out"]:
        """The multipliers of all views: the t-th part of their candidate's."""
        return multipliers.repeat_interleave(self.count, -2) / self.count


def lift_of(net: InvariantNetwork, chain: Chain, shape: tuple[int, ...]) -> Lift:
    """The inputs whose views the first layer spans, and how their views follow from their coordinates."""
    basis, size = chain.basis, torch.Size(shape).numel()
    if isinstance(net.group, Permutations):
        inputs = torch.kron(torch.eye(net.group.count).to(basis), basis)
    elif net.window is None:
        inputs = basis
    else:
        inputs = torch.eye(size).to(basis)
        views = net.views(inputs.reshape(-1, *shape)).flatten(2)
        if basis.shape[1] < basis.shape[0]:
            outside = (views - views @ basis @ basis.T).flatten(1).double()
            share, axes = torch.linalg.eigh(outside @ outside.T)
            inputs = axes[:, share <= INSIDE * views[0].square().sum()].to(basis)
    views = net.views(inputs.T.reshape(-1, *shape)).flatten(2)
    return Lift(inputs, (views @ basis).transpose(0, 1).contiguous())
