"""Exact layers as torch modules."""

from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import nn

from vestige.construct.exact.layers import Layer


def to_sequential(layers: Sequence[Layer], dtype: torch.dtype) -> nn.Sequential:
    """Dense Linear layers with ReLU between them; weights are rounded where the dtype is too short for them."""
    modules: list[nn.Module] = []
    for index, item in enumerate(layers):
        if index:
            modules.append(nn.ReLU())
        modules.append(_linear(item, dtype))
    return nn.Sequential(*modules).requires_grad_(False).eval()


def _linear(item: Layer, dtype: torch.dtype) -> nn.Linear:
    linear = nn.Linear(item.inputs, item.outputs, device="meta", dtype=dtype).to_empty(device="cpu")
    weight = torch.zeros(item.outputs, item.inputs, dtype=torch.float64)
    for i, row in enumerate(item.neurons):
        for column, value in zip(row.columns, row.weights, strict=True):
            weight[i, column] = _float(value, row.shift)
    bias = torch.tensor([_float(row.bias, row.shift) for row in item.neurons], dtype=torch.float64)
    with torch.no_grad():
        linear.weight.copy_(weight.to(dtype))
        linear.bias.copy_(bias.to(dtype))
    return linear


def _float(value: int, shift: int) -> float:
    try:
        return float(Fraction(value, 1 << shift))
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
