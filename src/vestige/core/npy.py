"""Plain arrays in NumPy's format, with what they claim compared with what is there before memory is taken."""

import math
from pathlib import Path
from typing import Any

import numpy as np


def npy_shape(stream: Any, size: int) -> tuple[int, ...]:
    """The shape that a header states; the stream stands behind the header afterwards.

    Args:
        stream: at its start.
        size: bytes in all.

    Raises:
        ValueError: no header, Python objects, or a shape that the bytes do not fill.
    """
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are not read; save plain numbers or text, no objects")
    claimed, held = dtype.itemsize * math.prod(shape), size - stream.tell()
    if claimed != held:
        raise ValueError(f"it claims {claimed:,} bytes in {held:,}")
    return shape


def read_npy(stream: Any) -> np.ndarray:
    """The array; its header has been checked."""
    with stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


def read_file(path: Path) -> np.ndarray:
    """The array in a .npy file.

    Raises:
        ValueError: see `npy_shape`.
    """
    with path.open("rb") as stream:
        npy_shape(stream, path.stat().st_size)
    return read_npy(path.open("rb"))
