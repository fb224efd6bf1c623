"""Small convolutional networks, homogeneous by default: strides or pooling, a bias in the first layer only."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from vestige.nets.layers import (
    ACTIVATION_MODULES,
    activation_rule,
    bias_rule,
    check_sizes,
    empty_linear,
    has_bias,
    initialize,
)


@dataclass(frozen=True)
class Conv:
    """A square convolution; padding None means kernel // 2."""

    channels: int
    kernel: int
    stride: int = 1
    padding: int | None = None

    @property
    def pad(self) -> int:
        return self.kernel // 2 if self.padding is None else self.padding


@dataclass(frozen=True)
class AvgPool:
    """Average over size x size blocks: linear, so it keeps the network homogeneous."""

    size: int


@dataclass(frozen=True)
class MaxPool:
    """Largest entry of size x size blocks: not linear, but it keeps the network homogeneous too."""

    size: int


Pool = AvgPool | MaxPool


def spatial_size(size: int, layer: Conv | Pool) -> int:
    """Side length after a convolution or a pooling of an image of side `size`."""
    if isinstance(layer, Pool):
        return size // layer.size
    return (size + 2 * layer.pad - layer.kernel) // layer.stride + 1


def flat_features(input_shape: Sequence[int], image_layers: Sequence[Conv | Pool]) -> int:
    """Number of features that reach the first linear layer."""
    channels, height, width = input_shape
    for layer in image_layers:
        check_sizes(
            [layer.size] if isinstance(layer, Pool) else [layer.channels, layer.kernel, layer.stride],
            "channels, kernel, stride and pool sizes",
        )
        channels = channels if isinstance(layer, Pool) else layer.channels
        height, width = spatial_size(height, layer), spatial_size(width, layer)
        if height < 1 or width < 1:
            raise ValueError(
                f"{layer} leaves no pixel of an image of shape {list(input_shape)}: fewer strides or pools"
            )
    return channels * height * width


def _empty_conv(
    channels: int, layer: Conv, bias: bool, dtype: torch.dtype | None, device: torch.device | str | None
) -> nn.Conv2d:
    conv = nn.Conv2d(
        channels, layer.channels, layer.kernel, layer.stride, layer.pad, bias=bias, dtype=dtype, device="meta"
    )
    return conv.to_empty(device=device or "cpu")


def cnn(
    input_shape: Sequence[int],
    layers: Sequence[Conv | Pool | int],
    *,
    bias: str = "first",
    activation: str = "relu",
    first_init: float | int | None = None,
    init_scale: float | int = 1.0,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> nn.Sequential:
    """Convolutions and poolings, Flatten, then linear layers; the activation follows all but pools and the last layer.

    Args:
        input_shape: (channels, height, width).
        layers: Conv, AvgPool and MaxPool first, then the widths of the linear layers, the last of which is the output.
        bias: "first", "all" or "none".
        activation: relu, leaky_relu, gelu, silu, softplus or tanh.
        first_init: standard deviation of the first layer; None for U(+-1/sqrt(fan_in)).
        init_scale: factor on the U(+-1/sqrt(fan_in)) of every other layer.
        generator: source of the initial weights; None for a fixed seed.
        dtype: of the parameters; None for torch's default.
        device: of the parameters; "meta" leaves them unset.

    Returns:
        A plain nn.Sequential.

    Raises:
        ValueError: a shape that is not three positive sizes, linear layers before convolutions, nothing left to pool.

    Example:
        >>> [tuple(p.shape) for p in cnn((3, 8, 8), [Conv(4, 5, stride=2), 10]).parameters()]
        [(4, 3, 5, 5), (4,), (10, 64)]
    """
    rule, non_linearity = bias_rule(bias), ACTIVATION_MODULES[activation_rule(activation)]
    image_layers, widths = _split(input_shape, layers)
    features = flat_features(input_shape, image_layers)
    modules: list[nn.Module] = []
    weighted: list[nn.Linear | nn.Conv2d] = []
    channels = input_shape[0]
    for layer in image_layers:
        if isinstance(layer, Pool):
            modules.append((nn.AvgPool2d if isinstance(layer, AvgPool) else nn.MaxPool2d)(layer.size))
            continue
        weighted.append(_empty_conv(channels, layer, has_bias(rule, len(weighted)), dtype, device))
        modules += [weighted[-1], non_linearity()]
        channels = layer.channels
    modules.append(nn.Flatten())
    for index, out in enumerate(widths):
        if index:
            modules.append(non_linearity())
        weighted.append(empty_linear(features, out, bias=has_bias(rule, len(weighted)), dtype=dtype, device=device))
        modules.append(weighted[-1])
        features = out
    initialize(weighted, first_init=first_init, init_scale=init_scale, generator=generator)
    return nn.Sequential(*modules)


def _split(input_shape: Sequence[int], layers: Sequence[Conv | Pool | int]) -> tuple[list[Conv | Pool], list[int]]:
    if len(input_shape) != 3:
        raise ValueError(f"a CNN reads images of shape (channels, height, width); got {list(input_shape)}")
    check_sizes(input_shape, "the input shape of a CNN")
    image_layers = [layer for layer in layers if not isinstance(layer, int)]
    widths = [layer for layer in layers if isinstance(layer, int)]
    if not widths or list(layers) != [*image_layers, *widths]:
        raise ValueError("a CNN lists convolutions and pools first and ends in at least one linear width")
    check_sizes(widths, "the linear widths of a CNN")
    return image_layers, widths
