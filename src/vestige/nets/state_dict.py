"""Reading an architecture off a state dict: the order of a chain of linear and convolutional layers.

Weights hold the widths, kernels and biases; they hold neither the activation nor strides, padding and image size.
ReLU is assumed, and strides are searched in {1, 2} with padding kernel // 2: one fit is taken, several are listed.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

LONGEST_SEARCH = 8


class ArchitectureError(ValueError):
    """An architecture that cannot be read, built or told from the weights."""


@dataclass(frozen=True)
class ChainLayer:
    """One linear (2-d weight) or convolutional (4-d weight) layer: its name in the state dict and its sizes."""

    name: str
    shape: tuple[int, ...]
    has_bias: bool

    @property
    def is_conv(self) -> bool:
        return len(self.shape) == 4


def chain_layers(state: Mapping[str, Tensor]) -> list[ChainLayer]:
    """The layers of a chain in the order of computation.

    Raises:
        ArchitectureError: a tensor that belongs to no linear or convolutional layer, or shapes that do not chain.
    """
    layers: list[ChainLayer] = []
    for name in sorted(state, key=_natural):
        stem, _, kind = name.rpartition(".")
        tensor = state[name]
        if kind == "weight" and tensor.dim() in (2, 4):
            bias = state.get(f"{stem}.bias" if stem else "bias")
            if bias is not None and tuple(bias.shape) != tuple(tensor.shape[:1]):
                raise ArchitectureError(f"{stem}.bias has shape {list(bias.shape)}, its weight {list(tensor.shape)}")
            layers.append(ChainLayer(stem, tuple(tensor.shape), bias is not None))
        elif not (kind == "bias" and (f"{stem}.weight" if stem else "weight") in state):
            raise ArchitectureError(
                f"not a chain of linear and convolutional layers: it holds {name!r} of shape {list(tensor.shape)} "
                "(normalization, attention and other layers cannot be read off weights); give the architecture as "
                "package.module:factory"
            )
    if not layers:
        raise ArchitectureError("no linear or convolutional layer among the tensors")
    return _in_order(layers)


def architecture_of(state: Mapping[str, Tensor], input_shape: Sequence[int] | None = None) -> str:
    """The grammar string that fits a state dict of a chain, with ReLU assumed.

    Args:
        state: names and tensors, in any order.
        input_shape: (channels, height, width), needed when the first layer is a convolution.

    Raises:
        ArchitectureError: not a chain, no input shape for a convolution, or several strides fit.

    Example:
        >>> import torch
        >>> architecture_of({"fc1.weight": torch.zeros(3, 4), "fc2.weight": torch.zeros(1, 3)})
        'mlp:4-3-1:bias=none'
    """
    layers = chain_layers(state)
    biases = [layer.has_bias for layer in layers]
    if any(biases[1:]) and not all(biases):
        named = ", ".join(layer.name for layer in layers if layer.has_bias)
        raise ArchitectureError(f"only {named} carry a bias; the grammar knows all, the first or none: give a factory")
    option = ":bias=all" if any(biases[1:]) else "" if biases[0] else ":bias=none"
    widths = [str(layer.shape[0]) for layer in layers if not layer.is_conv]
    if not layers[0].is_conv:
        return "-".join([f"mlp:{layers[0].shape[1]}", *widths]) + option
    return _with_strides(layers, input_shape, widths) + option


def _with_strides(layers: list[ChainLayer], input_shape: Sequence[int] | None, widths: list[str]) -> str:
    if input_shape is None or len(input_shape) != 3 or input_shape[0] != layers[0].shape[1]:
        raise ArchitectureError(
            f"the first layer is a convolution of {layers[0].shape[1]} channels: its strides and image size are "
            f"not in the weights; got input_shape={input_shape}. Give that, or the architecture: cnn:3x32x32-c64k5s2-10"
        )
    convs = [layer for layer in layers if layer.is_conv]
    if (
        any(layer.shape[2] != layer.shape[3] for layer in convs)
        or len(convs) == len(layers)
        or len(convs) > LONGEST_SEARCH
    ):
        raise ArchitectureError("the grammar knows square kernels followed by a linear layer: give a factory")
    features, fits = layers[len(convs)].shape[1], []
    for strides in itertools.product((1, 2), repeat=len(convs)):
        height, width = input_shape[1:]
        for conv, stride in zip(convs, strides, strict=True):
            kernel = conv.shape[2]
            height, width = ((side + 2 * (kernel // 2) - kernel) // stride + 1 for side in (height, width))
        if convs[-1].shape[0] * height * width == features:
            tokens = [
                f"c{conv.shape[0]}k{conv.shape[2]}" + ("s2" if stride == 2 else "")
                for conv, stride in zip(convs, strides, strict=True)
            ]
            fits.append("-".join(["cnn:" + "x".join(map(str, input_shape)), *tokens, *widths]))
    if len(fits) != 1:
        found = "no strides of 1 or 2 fit" if not fits else f"{len(fits)} sets of strides fit: {', '.join(fits)}"
        raise ArchitectureError(f"{found}; give the architecture, e.g. cnn:3x32x32-c64k5s2p2-a2-10")
    return fits[0]


def _natural(name: str) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d{1,9})", name) if part]


def _follows(before: ChainLayer, after: ChainLayer) -> bool:
    if after.is_conv:
        return before.is_conv and before.shape[0] == after.shape[1]
    return after.shape[1] % before.shape[0] == 0 if before.is_conv else before.shape[0] == after.shape[1]


def _in_order(layers: list[ChainLayer]) -> list[ChainLayer]:
    """The order of the names if it chains, else the only order that does."""
    if all(itertools.starmap(_follows, itertools.pairwise(layers))):
        return layers
    orders: list[list[ChainLayer]] = []
    if len(layers) <= LONGEST_SEARCH:
        orders = [
            list(order)
            for order in itertools.permutations(layers)
            if all(itertools.starmap(_follows, itertools.pairwise(order)))
        ]
    if len(orders) == 1:
        return orders[0]
    broken = next(pair for pair in itertools.pairwise(layers) if not _follows(*pair))
    raise ArchitectureError(
        f"the shapes do not chain: {broken[0].name} {list(broken[0].shape)} is followed by {broken[1].name} "
        f"{list(broken[1].shape)}, and {len(orders) or 'no'} other orders fit; give the architecture"
    )
