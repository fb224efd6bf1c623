"""Labels as files hold them: integers, whole floats, text, -1 and 1, or one-hot rows, always as classes from 0."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vestige.data.source import DataError

MOST_CLASSES = 100_000
_WHOLE = re.compile(r"[+-]?[0-9]{1,9}(\.0*)?")  # as text, so that 10 would come before 2


def read_labels(
    y: np.ndarray, source: Path | str, names: Sequence[str] = ()
) -> tuple[np.ndarray, tuple[str, ...], list[str]]:
    """Labels from 0 as int64, the names of the classes, and what was changed.

    Args:
        y: one label for each sample, or one-hot rows.
        source: where they are from, for the message.
        names: of the classes, where the file gives them.

    Raises:
        DataError: not one label for each sample, negative or huge ones, more labels than names.

    >>> read_labels(np.array(["cat", "ant", "cat"]), "here")[:2]
    (array([1, 0, 1]), ('ant', 'cat'))
    """
    flat = y.reshape(-1) if y.ndim == 2 and y.shape[1] == 1 else y
    if flat.ndim == 1 and flat.dtype.kind in "US":
        return _text(flat, source, names)
    notes: list[str] = []
    if flat.ndim == 2 and _is_one_hot(flat):
        flat, notes = flat.argmax(1), ["one-hot labels were read as the classes of their columns"]
    numeric = flat.ndim == 1 and flat.size > 0 and flat.dtype.kind in "uifb"
    if not numeric or not np.isfinite(flat).all() or not np.array_equal(flat, np.round(flat)):
        raise DataError(
            f"{source}: labels of shape {y.shape} and type {y.dtype}; one whole number or one text per sample is "
            "needed, or one-hot rows"
        )
    low, high = int(flat.min()), int(flat.max())
    if set(np.unique(flat).tolist()) == {-1, 1}:
        flat, low, high = flat > 0, 0, 1
        notes.append("labels -1 and 1 were read as classes 0 and 1")
    if low < 0 or high >= max(MOST_CLASSES, len(names)):
        raise DataError(
            f"{source}: labels run from {low:,} to {high:,}; classes are numbered from 0, with at most "
            f"{MOST_CLASSES:,} of them. Identifiers? Give the number of each sample's class"
        )
    if names and high >= len(names):
        raise DataError(f"{source}: labels run from {low} to {high}, but {len(names)} classes have names")
    return flat.astype(np.int64), tuple(names) or tuple(str(k) for k in range(high + 1)), notes


def _text(flat: np.ndarray, source: Path | str, names: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...], list[str]]:
    text = np.char.decode(flat, "utf-8", "replace") if flat.dtype.kind == "S" else flat
    found, index = np.unique(text, return_inverse=True)
    if empty := int((np.char.strip(text) == "").sum()):
        raise DataError(f"{source}: {empty:,} of {len(flat):,} labels are empty; drop those samples, or label them")
    if all(_WHOLE.fullmatch(name) for name in found.tolist()):
        return read_labels(text.astype(np.float64).astype(np.int64), source, names)
    if names and set(found.tolist()) <= set(names):
        return np.array([list(names).index(name) for name in text.tolist()]), tuple(names), []
    if names:
        odd = sorted(set(found.tolist()) - set(names))
        raise DataError(f"{source}: the label {odd[0][:80]!r} is none of the classes {', '.join(names[:10])}")
    if len(found) > MOST_CLASSES or len(found) > max(20, len(flat) // 2):
        raise DataError(
            f"{source}: {len(found):,} different texts as labels of {len(flat):,} samples; identifiers? Give the class "
            "of each sample"
        )
    shown = tuple(name[:80] for name in found.tolist())
    return index.astype(np.int64), shown, ["labels were numbered in the order of their names"]


def _is_one_hot(rows: np.ndarray) -> bool:
    if rows.size == 0 or rows.shape[1] < 2 or rows.dtype.kind not in "uifb":
        return False
    return bool(((rows == 0) | (rows == 1)).all() and (rows.sum(1) == 1).all())
