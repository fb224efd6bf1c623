"""Points as integers: floats are dyadic rationals, so a common power of two clears them all."""

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import numpy as np
import torch


def rows_of(points: Any) -> np.ndarray:
    """(n, inputs) of any points, copied to numpy; floats as float64, which holds every shorter one."""
    array = points.detach().cpu() if isinstance(points, torch.Tensor) else points
    if isinstance(array, torch.Tensor):
        array = array.double().numpy() if array.is_floating_point() else array.numpy()
    array = np.asarray(array)
    if array.dtype.kind not in "biufO":
        raise ValueError(f"points of {array.dtype} given; real numbers are needed: floats, integers or Fractions.")
    if array.ndim < 2 or not array.size:
        raise ValueError(
            f"points of shape {list(array.shape)} given; (n, coordinates) with both at least 1 is needed. One point is "
            "a row: x[None]; numbers on a line are a column: x[:, None]."
        )
    array = array.reshape(len(array), -1)
    return array.astype(np.float64) if array.dtype.kind == "f" else array.copy()


def objects(values: Iterable[Any]) -> np.ndarray:
    """An array of these objects, one axis; numpy would turn long integers into floats, and rows into axes."""
    return np.array([*values, None], dtype=object)[:-1]


def integer_points(points: Any, inputs: int | None = None) -> tuple[np.ndarray, int]:
    """(integers, e) with points = integers / 2**e exactly; int64 where they fit, else Python integers, (n, inputs).

    Points are floats, integers, booleans, or Fractions with powers of two below the line, of any shape (n, *feature).

    >>> integer_points([[0.5, 3.0]], 2)
    (array([[1, 6]]), 1)
    """
    array = rows_of(points)
    if inputs is not None and array.shape[1] != inputs:
        raise ValueError(f"points of {array.shape[1]} coordinates given; the network reads {inputs}.")
    if array.dtype.kind == "f":
        return _from_floats(array)
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
    return objects(w << s if s >= 0 else w >> -s for w, s in pairs).reshape(array.shape), exponent


def _narrowed(array: np.ndarray) -> np.ndarray:
    """int64 whose negative exists too."""
    return array.astype(object) if int(array.min()) <= -(1 << 62) or int(array.max()) >= 1 << 62 else array


def _from_objects(array: np.ndarray) -> tuple[np.ndarray, int]:
    try:
        values = [value if isinstance(value, Fraction) else Fraction(value) for value in array.ravel()]
    except (TypeError, ValueError, OverflowError):
        kinds = sorted({type(value).__name__ for value in array.ravel()})
        raise ValueError(f"points of {', '.join(kinds)} given; finite real numbers are needed.") from None
    under = max(value.denominator for value in values)
    for value in values:
        if value.denominator & (value.denominator - 1):
            raise ValueError(
                f"the coordinate {value} is not an integer over a power of two, as exact points must be. Round it to a "
                "float first."
            )
    whole = [value.numerator * (under // value.denominator) for value in values]
    small = all(abs(value) < 1 << 62 for value in whole)
    flat = np.array(whole, dtype=np.int64) if small else objects(whole)
    return flat.reshape(array.shape), under.bit_length() - 1


def distinct(integers: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Positions of the points, each point once."""
    wide = integers.dtype == object
    first: dict[Any, int] = {}
    rows = np.ascontiguousarray(integers)
    for index, row in enumerate(rows):
        seen = first.setdefault(tuple(row.tolist()) if wide else row.tobytes(), index)
        if targets[seen] != targets[index]:
            raise ValueError(
                f"points {seen} and {index} are equal and have the targets {targets[seen]} and {targets[index]}; no "
                "function gives both. Remove one of them, or add a coordinate that tells them apart."
            )
    return np.fromiter(first.values(), dtype=np.int64, count=len(first))
