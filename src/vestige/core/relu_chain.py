"""Reading a chain of linear layers with ReLUs between them out of a module, in the numbers that are stored."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

IDLE = (nn.Identity, nn.modules.dropout._DropoutNd)  # do nothing once training is over
REPAIRS = {
    nn.modules.batchnorm._BatchNorm: "fold it into the linear layer before it",
    nn.modules.conv._ConvNd: "write it out as a linear layer on the flattened image",
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
    """The layers of a network with one hidden layer at least.

    Raises:
        ValueError: as `linear_layers`, and for one layer only.
    """
    layers = linear_layers(model)
    if len(layers) < 2:
        raise ValueError(
            "the network has 1 linear layer; at least 2 are needed. One linear layer is as simple as it gets."
        )
    return ReluChain(
        tuple(layer.weight.detach().double().cpu().numpy().copy() for layer in layers),
        tuple(
            np.zeros(layer.out_features) if layer.bias is None else layer.bias.detach().double().cpu().numpy().copy()
            for layer in layers
        ),
    )


def linear_layers(model: nn.Module) -> list[nn.Linear]:
    """The linear layers of an nn.Sequential of Linear and ReLU; Flatten in front, Identity and Dropout are passed over.

    Returns:
        The model's own layers.

    Raises:
        ValueError: another layer, two linear layers without a ReLU between them, a ReLU at the end, weights that are
            not finite.

    >>> [layer.out_features for layer in linear_layers(nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1)))]
    [2, 1]
    """
    leaves = [(name, leaf) for name, leaf in _leaves(model, "") if not isinstance(leaf, IDLE)]
    if leaves and type(leaves[0][1]) is nn.Flatten:
        leaves = leaves[1:]
    for place, (name, leaf) in enumerate(leaves):
        if type(leaf) is not (nn.Linear, nn.ReLU)[place % 2]:
            _refuse(name, leaf, place)
    if not leaves:
        raise ValueError("the network has no layers; nn.Linear layers with nn.ReLU between them are needed.")
    if len(leaves) % 2 == 0:
        raise ValueError(
            f"the network has {len(leaves)} layers and ends with a ReLU: its last layer must be nn.Linear. Append one, "
            "with the identity as its weights if need be."
        )
    for name, leaf in leaves[::2]:
        for kind, parameter in leaf.named_parameters():
            _check_finite(f"{name}.{kind}".lstrip("."), parameter)
    return [leaf for _, leaf in leaves if isinstance(leaf, nn.Linear)]


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


def _check_finite(name: str, parameter: Float[Tensor, "..."]) -> None:
    bad = int((~torch.isfinite(parameter)).sum())
    if bad:
        raise ValueError(
            f"{name} holds {bad} NaN or infinite values of {parameter.numel()}; training diverged or the file is "
            "damaged: take an earlier checkpoint."
        )
