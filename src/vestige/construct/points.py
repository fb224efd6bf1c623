"""Points as integers: floats are dyadic rationals, so a common power of two clears them all."""

from fractions import Fraction
from typing import Any

import numpy as np
import torch


def integer_points(points: Any, inputs: int) -> tuple[np.ndarray, int]:
    """(integers, e) with points = integers / 2**e exactly.

    Args:
        points: (n, inputs) or (n, *feature): floats, integers, booleans, or Fractions with powers of two below the
            line.
        inputs: numbers in one point.

    Returns:
        int64 where they fit, else Python integers; shape (n, inputs).

    Raises:
        ValueError: no points, a value that is not finite or not dyadic, or another number of coordinates.

    >>> integer_points([[0.5, 3.0]], 2)
    (array([[1, 6]]), 1)
    """
    array = points.detach().cpu() if isinstance(points, torch.Tensor) else points
    if isinstance(array, torch.Tensor):  # numpy has no bfloat16; float64 holds every shorter float
        array = array.double().numpy() if array.is_floating_point() else array.numpy()
    array = np.asarray(array)
    if array.ndim < 2 or not len(array) or array[0].size != inputs:
        raise ValueError(
            f"points of shape {list(array.shape)} given; the network reads (n, {inputs}) with n at least 1. One point "
            "is a row: x[None]."
        )
    array = array.reshape(len(array), -1)
    if array.dtype.kind == "f":
        return _from_floats(array.astype(np.float64))
    if array.dtype.kind in "bi" or (array.dtype.kind == "u" and array.dtype.itemsize < 8):
        return _narrowed(array.astype(np.int64)), 0
    return _from_objects(array.astype(object))


def _from_floats(array: np.ndarray) -> tuple[np.ndarray, int]:
    if not np.isfinite(array).all():
        raise ValueError(
            f"{int((~np.isfinite(array)).sum())} coordinates are NaN or infinite; points are finite. Look for missing "
            "values in the data."
        )
    mantissa, power = np.frexp(array)
    whole = np.ldexp(mantissa, 53).astype(np.int64)
    # frexp of a power of two 2**k is (1/2, k + 1); zero gets a unit that asks for nothing.
    units = np.where(whole == 0, 0, power - 53 + np.frexp((whole & -whole).astype(np.float64))[1] - 1)
    exponent = max(0, -int(units.min()))
    if int(np.where(whole == 0, 0, power).max()) + exponent <= 62:
        return np.ldexp(array, exponent).astype(np.int64), exponent
    shifts = power - 53 + exponent
    pairs = zip(whole.ravel().tolist(), shifts.ravel().tolist(), strict=True)
    flat = np.array([w << s if s >= 0 else w >> -s for w, s in pairs] + [None], dtype=object)[:-1]
    return flat.reshape(array.shape), exponent


def _narrowed(array: np.ndarray) -> np.ndarray:
    """int64 whose negative exists too."""
    return array.astype(object) if int(array.min()) <= -(1 << 62) or int(array.max()) >= 1 << 62 else array


def _from_objects(array: np.ndarray) -> tuple[np.ndarray, int]:
    values = [Fraction(value) if not isinstance(value, Fraction) else value for value in array.ravel()]
    under = max(value.denominator for value in values)
    for value in values:
        if value.denominator & (value.denominator - 1):
            raise ValueError(
                f"the coordinate {value} is no integer over a power of two, which exact points are. Round it to a "
                "float first."
            )
    whole = [value.numerator * (under // value.denominator) for value in values]
    small = all(abs(value) < 1 << 62 for value in whole)
    flat = np.array(whole, dtype=np.int64) if small else np.array([*whole, None], dtype=object)[:-1]
    return flat.reshape(array.shape), under.bit_length() - 1
