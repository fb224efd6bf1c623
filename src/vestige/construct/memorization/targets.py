"""Targets as integer codes: labels as they are, real numbers rounded to a grid."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from vestige.construct.exact.layers import digits, dyadic
from vestige.construct.exact.points import objects
from vestige.construct.exact.rounding import power_below

REAL_BITS = 16


@dataclass(frozen=True, eq=False)
class Codes:
    """target = offset + step * code, up to a tolerance: half a step for rounded targets, 0 for integers.

    Codes are integers from 0; `bits` is the length of the largest, at least 1.
    """

    values: np.ndarray
    bits: int
    offset: Fraction
    step: Fraction
    tolerance: Fraction

    @property
    def output_bits(self) -> int:
        """Digits of the step and the offset, which are weights of the last layer."""
        return max(digits(*dyadic(self.step)), digits(*dyadic(self.offset)))


def targets_of(y: Any, n: int) -> np.ndarray:
    """One number a point, a copy of the integers or floats given."""
    array = y.detach().cpu().double().numpy() if isinstance(y, torch.Tensor) and y.is_floating_point() else y
    array = np.asarray(array.cpu() if isinstance(array, torch.Tensor) else array)
    if array.shape not in ((n,), (n, 1)):
        raise ValueError(f"targets of shape {list(array.shape)} for {n} points; one number a point is needed, [{n}].")
    array = array.reshape(n).copy()
    if array.dtype.kind not in "buif":
        raise ValueError(f"targets of type {array.dtype} given; allowed are integers and floats. Number the classes.")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{int((~np.isfinite(array)).sum())} targets are NaN or infinite; targets are finite.")
    return array


def codes_of(targets: np.ndarray, label_bits: int | None) -> Codes:
    """Codes of finite targets.

    Integers (also as floats) keep their values; offset 0 where none is negative. Others are rounded to a grid of
    2**label_bits values over their range, whose step is a power of two.
    """
    if label_bits is not None and label_bits < 1:
        raise ValueError(f"label_bits={label_bits} given; at least 1 is needed.")
    whole = targets.dtype.kind != "f" or bool((targets == np.floor(targets)).all())
    if whole and label_bits is None:
        values = objects(map(int, targets.tolist()))
        offset = min(0, int(values.min()))
        values = values - offset
        return Codes(values, max(int(values.max()).bit_length(), 1), Fraction(offset), Fraction(1), Fraction(0))
    exact = [Fraction(t) for t in targets.tolist()]
    bits = label_bits or REAL_BITS
    step = _power_of_two_above((max(exact) - min(exact)) / ((1 << bits) - 1))
    while round((max(exact) - _floor(min(exact), step)) / step) >> bits:  # the grid starts at a multiple of the step
        step *= 2
    offset = _floor(min(exact), step)
    values = objects(round((t - offset) / step) for t in exact)
    return Codes(values, max(int(values.max()).bit_length(), 1), offset, step, step / 2)


def _floor(value: Fraction, step: Fraction) -> Fraction:
    return value // step * step


def _power_of_two_above(value: Fraction) -> Fraction:
    """At least 2**-1000, which is finer than any target needs."""
    value = max(value, Fraction(1, 1 << 1000))
    power = power_below(value)
    return power if power == value else 2 * power
