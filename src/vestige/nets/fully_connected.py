"""Fully connected networks as the reconstruction papers train them (arXiv 2206.07758, section 5)."""

import itertools
from collections.abc import Sequence

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


def mlp(
    widths: Sequence[int],
    *,
    bias: str = "first",
    activation: str = "relu",
    first_init: float | int | None = None,
    init_scale: float | int = 1.0,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> nn.Sequential:
    """Flatten, then linear layers of the given widths with the activation between them.

    With bias "first" or "none" and relu, f(a theta; x) = a^L f(theta; x) for a > 0, L the number of linear layers
    ("first" only: the bias of layer 1 scales with its weights).

    Args:
        widths: input size, hidden sizes, output size; [64, 1000, 10] has two linear layers.
        bias: "first", "all" or "none".
        activation: relu, leaky_relu, gelu, silu, softplus or tanh.
        first_init: standard deviation of the first layer's weights and bias; None for U(+-1/sqrt(fan_in)). The papers
            take 1e-4: a small first layer is what lets the data show in it.
        init_scale: factor on the U(+-1/sqrt(fan_in)) of every other layer; small values shrink all layers.
        generator: source of the initial weights; None for a fixed seed.
        dtype: of the parameters; None for torch's default.
        device: of the parameters; "meta" leaves them unset.

    Returns:
        A plain nn.Sequential: Flatten, Linear, activation, ..., Linear.

    Raises:
        ValueError: fewer than two widths, a width below one, an unknown bias or activation.

    Example:
        >>> model = mlp([2, 3, 1])
        >>> x = torch.ones(1, 2, dtype=model[1].weight.dtype)
        >>> doubled = mlp([2, 3, 1])
        >>> _ = [p.data.mul_(2) for p in doubled.parameters()]
        >>> torch.allclose(doubled(x), 4 * model(x))
        True
    """
    rule, non_linearity = bias_rule(bias), ACTIVATION_MODULES[activation_rule(activation)]
    if len(widths) < 2:
        raise ValueError(f"an MLP needs an input and an output size, e.g. [64, 1000, 10]; got {list(widths)}")
    check_sizes(widths, "the widths of an MLP")
    modules: list[nn.Module] = [nn.Flatten()]
    linears: list[nn.Linear | nn.Conv2d] = []
    for index, (features, out) in enumerate(itertools.pairwise(widths)):
        if index:
            modules.append(non_linearity())
        linears.append(empty_linear(features, out, bias=has_bias(rule, index), dtype=dtype, device=device))
        modules.append(linears[-1])
    initialize(linears, first_init=first_init, init_scale=init_scale, generator=generator)
    return nn.Sequential(*modules)
