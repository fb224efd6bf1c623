"""`npz:PATH`: arrays of images or vectors with labels, read without pickle and with a limit on what they unpack to."""

import zipfile
from pathlib import Path

import numpy as np
import torch

from vestige.data.dataset import DataError, DataSet

LARGEST_ARRAYS = 8 * 2**30
CHANNELS = (1, 3)


def load_npz(path: Path, split: str, name: str) -> DataSet:
    """Read x_train, y_train (or x_test, y_test; or x, y for either split) and, if there, `classes`.

    Images are (n, h, w), (n, h, w, channels) or (n, channels, h, w); uint8 is divided by 255.

    Raises:
        DataError: no such file, not an npz, pickled objects, too large, arrays missing or of the wrong shape.
    """
    arrays = _read(path, (f"x_{split}", f"y_{split}", "x", "y", "classes"))
    suffix = f"_{split}" if f"x_{split}" in arrays else ""
    if f"x{suffix}" not in arrays or f"y{suffix}" not in arrays:
        raise DataError(
            f"{path} holds {', '.join(arrays) or 'none of the arrays'}; x_{split} and y_{split}, or x and y, are needed"
        )
    x, y = arrays[f"x{suffix}"], arrays[f"y{suffix}"]
    labels = integer_labels(y, path)
    named = [str(c) for c in arrays["classes"].reshape(-1)] if "classes" in arrays else []
    classes = named or [str(c) for c in range(int(labels.max(initial=0)) + 1)]
    provenance = f"{path.name}, arrays x{suffix} and y{suffix}"
    return DataSet(name, samples_tensor(x, path), torch.from_numpy(labels), tuple(classes), provenance=provenance)


def samples_tensor(x: np.ndarray, source: Path | str) -> torch.Tensor:
    """Images channel-first in [0, 1], vectors as they are, in torch's default dtype."""
    if x.ndim not in (2, 3, 4) or x.size == 0 or x.dtype.kind not in "uif":
        raise DataError(
            f"{source}: samples of shape {x.shape} and type {x.dtype}; (n, d), (n, h, w) or (n, h, w, c) numbers"
        )
    if x.dtype.kind in "ui":
        if x.min() < 0 or x.max() > 255:
            raise DataError(
                f"{source}: integer samples in {x.min()}..{x.max()}; pixels are 0 to 255, or give floats in [0, 1]"
            )
        scale = 255.0
    else:
        scale = 1.0
    if x.ndim == 3:
        x = x[:, None]
    elif x.ndim == 4 and x.shape[3] in CHANNELS and x.shape[1] not in CHANNELS:
        x = np.moveaxis(x, 3, 1)
    return torch.tensor(np.ascontiguousarray(x), dtype=torch.get_default_dtype()) / scale


def integer_labels(y: np.ndarray, source: Path | str) -> np.ndarray:
    """Labels as int64; floats and booleans that are whole numbers are accepted."""
    flat = y.reshape(-1) if y.ndim == 2 and y.shape[1] == 1 else y
    if flat.ndim != 1 or flat.size == 0 or flat.dtype.kind not in "uifb" or not np.array_equal(flat, np.round(flat)):
        raise DataError(f"{source}: labels of shape {y.shape} and type {y.dtype}; one integer per sample is needed")
    return flat.astype(np.int64)


def _read(path: Path, wanted: tuple[str, ...]) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise DataError(f"{path} is not there; npz:PATH names a file made by numpy.savez(path, x=..., y=...)")
    try:
        with zipfile.ZipFile(path) as archive:
            members = {Path(info.filename).stem: info for info in archive.infolist() if info.filename.endswith(".npy")}
            unpacked = sum(members[key].file_size for key in wanted if key in members)
            if unpacked > LARGEST_ARRAYS:
                raise DataError(f"{path} unpacks to {unpacked:,} bytes; at most {LARGEST_ARRAYS:,} are read")
        with np.load(path, allow_pickle=False) as file:
            return {key: _bounded(file, key, members[key].file_size, path) for key in wanted if key in file.files}
    except DataError:
        raise
    except Exception as error:  # zipfile, zlib, numpy and struct each raise their own kinds on damaged bytes
        raise DataError(f"{path} cannot be read as numbers ({error}); save with numpy.savez, no objects") from error


def _bounded(file: np.lib.npyio.NpzFile, key: str, size: int, path: Path) -> np.ndarray:
    array = file[key]
    if array.nbytes > size:
        raise DataError(f"{path}: {key} claims {array.nbytes:,} bytes in {size:,}")
    return array
