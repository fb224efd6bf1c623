"""Layers with an explicit generator: torch's own constructors draw from the global random state."""

import math
from collections.abc import Sequence

import torch
from torch import nn

from vestige.core.choices import ChoiceEnum
from vestige.core.rng import spawn


class Bias(ChoiceEnum):
    """Which layers carry a bias. A ReLU network is homogeneous in its parameters with FIRST or NONE, not with ALL."""

    FIRST = "first"
    ALL = "all"
    NONE = "none"


class Activation(ChoiceEnum):
    """Pointwise non-linearities of the architecture grammar; RELU and LEAKY_RELU are positively homogeneous."""

    RELU = "relu"
    LEAKY_RELU = "leaky_relu"
    GELU = "gelu"
    SILU = "silu"
    SOFTPLUS = "softplus"
    TANH = "tanh"


ACTIVATION_MODULES: dict[Activation, type[nn.Module]] = {
    Activation.RELU: nn.ReLU,
    Activation.LEAKY_RELU: nn.LeakyReLU,
    Activation.GELU: nn.GELU,
    Activation.SILU: nn.SiLU,
    Activation.SOFTPLUS: nn.Softplus,
    Activation.TANH: nn.Tanh,
}


def bias_rule(value: str) -> Bias:
    """The Bias named by `value`, or a ValueError that lists the allowed names."""
    if value not in set(Bias):
        raise ValueError(f"bias must be one of {', '.join(Bias)}; got {value!r}")
    return Bias(value)


def activation_rule(value: str) -> Activation:
    """The Activation named by `value`, or a ValueError that lists the allowed names."""
    if value not in set(Activation):
        raise ValueError(f"activation must be one of {', '.join(Activation)}; got {value!r}")
    return Activation(value)


def check_sizes(sizes: Sequence[int], what: str) -> None:
    """Refuse sizes that are not positive integers."""
    bad = [size for size in sizes if size < 1]
    if bad:
        raise ValueError(f"{what} must be positive integers; got {bad[0]} in {list(sizes)}")


def has_bias(rule: Bias, index: int) -> bool:
    """Whether the parametrized layer number `index` of a chain carries a bias."""
    return rule is Bias.ALL or (rule is Bias.FIRST and index == 0)


def empty_linear(
    features: int, out: int, *, bias: bool, dtype: torch.dtype | None, device: torch.device | str | None
) -> nn.Linear:
    """An nn.Linear with unset parameters; nothing is drawn from the global random state."""
    return nn.Linear(features, out, bias=bias, dtype=dtype, device="meta").to_empty(device=device or "cpu")


def initialize(
    layers: Sequence[nn.Linear | nn.Conv2d],
    *,
    first_init: float | int | None,
    init_scale: float | int,
    generator: torch.Generator | None,
) -> None:
    """First layer N(0, first_init^2) if given (weights and bias), all else init_scale * U(+-1/sqrt(fan_in))."""
    if any(layer.weight.is_meta for layer in layers):
        return
    if first_init is not None and not (math.isfinite(first_init) and first_init > 0):
        raise ValueError(
            f"first_init is the standard deviation of the first layer, a positive number; got {first_init}"
        )
    generator = spawn(None, "initialize") if generator is None else generator
    for index, layer in enumerate(layers):
        bound = init_scale / math.sqrt(layer.weight[0].numel())
        for parameter in layer.parameters():
            with torch.no_grad():
                if index == 0 and first_init is not None:
                    parameter.normal_(0.0, first_init, generator=generator)
                else:
                    parameter.uniform_(-bound, bound, generator=generator)
