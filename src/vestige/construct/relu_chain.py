"""Reading a chain of linear layers with ReLUs between them out of a module, in the numbers that are stored."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

REPAIRS = {
    nn.modules.batchnorm._BatchNorm: "fold it into the linear layer before it",
    nn.modules.conv._ConvNd: "write it out as a linear layer on the flattened image",
    nn.modules.dropout._DropoutNd: "it does nothing once training is over; leave it out",
}


@dataclass(frozen=True, eq=False)
class ReluChain:
    """x -> W_L relu(... relu(W_1 x + b_1) ...) + b_L, in float64, which holds every narrower float exactly.

    Args:
        weights: W_1 to W_L, each (outputs, inputs).
        biases: b_1 to b_L, zeros where a layer has none.
    """

    weights: tuple[NDArray[np.float64], ...]
    biases: tuple[NDArray[np.float64], ...]

    @property
    def inputs(self) -> int:
        """Input dimension d."""
        return self.weights[0].shape[1]

    @property
    def outputs(self) -> int:
        """Number of outputs."""
        return len(self.weights[-1])

    @property
    def depth(self) -> int:
        """Number L of linear layers."""
        return len(self.weights)

    @property
    def hidden(self) -> tuple[int, ...]:
        """Widths of the hidden layers."""
        return tuple(len(weight) for weight in self.weights[:-1])

    def module(self) -> nn.Sequential:
        """The chain as float64 layers of its own."""
        layers = [linear_layer(w, b) for w, b in zip(self.weights, self.biases, strict=True)]
        return relu_between(layers)


def linear_layer(weight: NDArray[np.float64], bias: NDArray[np.float64]) -> nn.Linear:
    """A float64 nn.Linear with these numbers; nothing is drawn."""
    layer = nn.Linear(weight.shape[1], len(weight), dtype=torch.float64, device="meta").to_empty(device="cpu")
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))
    return layer


def relu_between(layers: list[nn.Linear]) -> nn.Sequential:
    """The layers with a ReLU behind each but the last."""
    return nn.Sequential(*[m for layer in layers[:-1] for m in (layer, nn.ReLU())], layers[-1]).eval()


def read_relu_chain(model: nn.Module) -> ReluChain:
    """The layers of an nn.Sequential of Linear and ReLU, with Flatten in front and Identity anywhere allowed.

    Raises:
        ValueError: another layer, two linear layers without a ReLU between them, one layer only, a ReLU at the end,
            weights that are not finite.
    """
    leaves = [(name, leaf) for name, leaf in _leaves(model, "") if type(leaf) is not nn.Identity]
    if leaves and type(leaves[0][1]) is nn.Flatten:
        leaves = leaves[1:]
    linears = [(name, leaf) for name, leaf in leaves if type(leaf) is nn.Linear]
    for place, (name, leaf) in enumerate(leaves):
        if type(leaf) is not (nn.Linear, nn.ReLU)[place % 2]:
            _refuse(name, leaf, place)
    if len(leaves) % 2 == 0:
        raise ValueError(
            f"the network has {len(leaves)} layers and ends with a ReLU: its last layer must be nn.Linear. Append one, "
            "with the identity as its weights if need be."
        )
    if len(linears) < 2:
        raise ValueError(
            "the network has 1 linear layer; at least 2 are needed. One linear layer is as simple as it gets."
        )
    weights = [_array(f"{name}.weight".lstrip("."), leaf.weight) for name, leaf in linears]
    biases = [
        np.zeros(leaf.out_features) if leaf.bias is None else _array(f"{name}.bias".lstrip("."), leaf.bias)
        for name, leaf in linears
    ]
    return ReluChain(tuple(weights), tuple(biases))


def _leaves(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    if not isinstance(module, nn.Sequential):
        yield name, module
        return
    for key, child in module.named_children():
        yield from _leaves(child, f"{name}.{key}".lstrip("."))


def _refuse(name: str, leaf: nn.Module, place: int) -> None:
    kind, where = type(leaf).__name__, f"layer {name!r}" if name else "the network"
    if type(leaf) is nn.Linear:
        raise ValueError(f"{where} is a Linear behind another Linear; multiply the two into one layer first.")
    if type(leaf) is nn.ReLU:
        cause = "stands before any linear layer" if place == 0 else "follows another ReLU"
        raise ValueError(f"{where} is a ReLU that {cause}; the network must be Linear, ReLU, Linear, ..., Linear.")
    repair = next((text for base, text in REPAIRS.items() if isinstance(leaf, base)), "")
    raise ValueError(
        f"{where} is a {kind}; an nn.Sequential of nn.Linear with nn.ReLU between them is needed"
        + (f": {repair}." if repair else ".")
    )


def _array(name: str, parameter: Float[Tensor, "..."]) -> NDArray[np.float64]:
    values = parameter.detach().cpu().double()
    bad = int((~torch.isfinite(values)).sum())
    if bad:
        raise ValueError(
            f"{name} holds {bad} NaN or infinite values of {values.numel()}; training diverged or the file is damaged: "
            "take an earlier checkpoint."
        )
    return values.numpy().copy()
