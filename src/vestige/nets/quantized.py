"""Weights stored as integers with a scale: w = (q - z) s, for a whole matrix, each row of it, or groups in each row.

What theory says of trained weights holds for the rounded ones only as far as the rounding is small, which is said.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

SAID = "weights stored as integers were dequantized: the network computes here with the rounded weights, in floats"
NARROW = (torch.int8, torch.uint8, torch.int16, torch.float8_e4m3fn, torch.float8_e5m2)
# How exporters call the scale and the zero of `weight`, and what it is divided by.
_SCALES = (("weight_scale", "weight_zero_point", 1), ("weight.scale", "weight.zero_point", 1),
           ("scale", "zero_point", 1), ("SCB", "", 127))  # fmt: skip


def dequantized(stored: Tensor, scale: Tensor, zero: Tensor | None = None, *, axis: int = 0) -> Tensor:
    """Floats from narrow numbers, a scale and a zero.

    Args:
        stored: narrow numbers.
        scale: one number, one for each index along the axis, or (rows, groups) for a matrix in groups of columns.
        zero: of the same shape as the scale; None for 0.
        axis: along which the scales run.

    Raises:
        ValueError: scales that do not fit the numbers.

    Example:
        >>> dequantized(torch.tensor([[3, 4]], dtype=torch.uint8), torch.tensor([0.5]), torch.tensor([2]))
        tensor([[0.5000, 1.0000]])
    """
    if zero is not None and zero.numel() != scale.numel():
        raise ValueError(f"{zero.numel()} zeros beside {scale.numel()} scales")
    scale = scale.to(torch.float64 if scale.dtype == torch.float64 else torch.float32)
    zero = torch.zeros_like(scale) if zero is None else zero.to(scale).reshape(scale.shape)
    if scale.ndim == 2 == stored.ndim and scale.shape[1] > 1 and len(scale) == len(stored):
        if stored.shape[1] % scale.shape[1]:
            raise ValueError(f"scales of shape {list(scale.shape)} for numbers of shape {list(stored.shape)}")
        scale, zero = (t.repeat_interleave(stored.shape[1] // scale.shape[1], 1) for t in (scale, zero))
    elif scale.numel() == 1:
        scale, zero = scale.flatten()[0], zero.flatten()[0]
    elif stored.ndim > axis and scale.numel() == stored.shape[axis] == max(scale.shape):
        around = [-1 if k == axis else 1 for k in range(stored.ndim)]
        scale, zero = scale.reshape(around), zero.reshape(around)
    else:
        raise ValueError(f"scales of shape {list(scale.shape)} for numbers of shape {list(stored.shape)}")
    return (stored.to(scale.dtype) - zero) * scale


def _row_major(stem: str, tensors: Mapping[str, Tensor]) -> set[str]:
    """What bitsandbytes writes for numbers in their usual order."""
    said = tensors.get(stem + "weight_format")
    return {stem + "weight_format"} if said is not None and not bool(said.any()) else set()


def with_floats(tensors: Mapping[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """Each `weight` that stands beside its scale as floats, without the scale and that of the inputs.

    Raises:
        ValueError: scales that do not fit their weights.
    """
    made = dict(tensors)
    for name, stored in tensors.items():
        if stored.dtype not in NARROW or not re.fullmatch(r"(?:.*\.)?weight", name):
            continue
        stem = name.removesuffix("weight")
        for scale, zero, whole in _SCALES:
            if stem + scale in tensors:
                try:
                    made[name] = dequantized(stored, tensors[stem + scale] / whole, tensors.get(stem + zero))
                except ValueError as error:
                    raise ValueError(f"{name} is quantized with {error}: export floats") from None
                beside = {stem + scale, stem + zero, stem + "input_scale", *_row_major(stem, tensors)}
                made = {key: t for key, t in made.items() if key not in beside}
                break
    if len(made) < len(tensors):
        notes.append(SAID)
    return made
