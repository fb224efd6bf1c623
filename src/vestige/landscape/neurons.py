"""A layer of neurons, as the closed forms take it: weights, biases, output weights."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vestige.core.relu_chain import read_relu_chain


@dataclass(frozen=True, eq=False)
class Neurons:
    """The network `x -> sum_i output_i act(weight_i . x + bias_i)`, or a batch of such networks.

    Attributes:
        weight: one row a neuron.
        bias: None where neurons have none, which is faster than zeros.
        output: weight of each neuron in the sum; None for ones.
    """

    weight: Float[Tensor, "*batch n d"]
    bias: Float[Tensor, "*batch n"] | None = None
    output: Float[Tensor, "*batch n"] | None = None

    @property
    def outputs(self) -> Tensor:
        """The output weights, with ones for None."""
        return torch.ones_like(self.weight[..., 0]) if self.output is None else self.output

    def double(self) -> "Neurons":
        """The same in float64, in which all closed forms are computed, cut off from any graph."""
        parts = (self.weight, self.bias, self.output)
        return Neurons(*(None if part is None else part.detach().double() for part in parts))  # type: ignore[arg-type]


def neurons_of(model: nn.Module) -> Neurons:
    """The hidden neurons of a two-layer ReLU network with one output.

    Args:
        model: linear, ReLU, linear, as `vestige.nets.mlp([d, n, 1])`; its output must have no bias.

    Raises:
        ValueError: another network.

    >>> net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1, bias=False))
    >>> neurons_of(net).weight.shape
    torch.Size([4, 3])
    """
    chain = read_relu_chain(model)
    if chain.depth != 2 or chain.outputs != 1 or chain.layers[1].bias is not None:
        raise ValueError(
            f"{chain.depth} layers with {chain.outputs} outputs given; linear, ReLU, and a linear layer with one "
            "output and no bias are needed for closed forms, such as nn.Linear(n, 1, bias=False) at the end."
        )
    hidden, last = chain.affine()
    return Neurons(hidden.weight, hidden.bias, last.weight[0])
