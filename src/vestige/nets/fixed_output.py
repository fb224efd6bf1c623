"""The two-layer network of which only the first layer is trained (arXiv 2303.00783, section 2; 2510.14844)."""

import math

import torch
from torch import nn

from vestige.nets.fully_connected import mlp


def fixed_output_mlp(
    features: int,
    width: int,
    *,
    init_scale: float | int = 1.0,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
) -> nn.Sequential:
    """N(x) = sum_j u_j relu(<w_j, x>), u_j = +-1 / sqrt(width) in turn and not trainable, w_j ~ N(0, init_scale^2 / d).

    A bias is a constant coordinate of the inputs, so that it lies in the span of the data.

    Args:
        features: d.
        width: hidden neurons.
        init_scale: beta; 1 is the usual start.
        generator: of the first layer; None for a fixed seed.
        dtype: of the parameters; None for torch's default.

    Raises:
        ValueError: sizes below one, or a scale that is not positive.

    >>> [p.requires_grad for p in fixed_output_mlp(3, 4).parameters()]
    [True, False]
    """
    first = init_scale / math.sqrt(max(features, 1))
    model = mlp([features, width, 1], bias="none", first_init=first, generator=generator, dtype=dtype)
    out = model[3]
    assert isinstance(out, nn.Linear)
    sign = 1 - 2 * (torch.arange(width) % 2).to(out.weight)
    out.weight = nn.Parameter((sign / math.sqrt(width))[None], requires_grad=False)
    return model
