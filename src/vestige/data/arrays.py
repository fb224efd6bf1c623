"""Arrays of images or vectors with labels: `npz:PATH` and `npy:X,Y`, read without pickle and with limits before memory.

Integers are bytes or 16-bit values only where they reach that far. What they reach is measured, never assumed.
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from vestige.core.npy import npy_shape, read_file, read_npy
from vestige.core.space import UNBOUNDED, InputSpace
from vestige.data.dataset import DataSet
from vestige.data.labels import read_labels
from vestige.data.other_kinds import refuse_other_kinds
from vestige.data.source import DataError

LARGEST_ARRAYS = 8 * 2**30
CHANNELS = (1, 3)
# Pairs of keys that are read without being named, in this order; {} is "train" or "test".
PAIRS = (("x_{}", "y_{}"), ("{}_images", "{}_labels"), ("x", "y"), ("X", "y"), ("images", "labels"), ("data", "target"))


def load_npz(
    path: Path, split: str, name: str, *, keys: Sequence[str] = (), space: InputSpace | None = None
) -> DataSet:
    """Read x_train, y_train (or x_test, y_test; or x, y for either split) and, if there, `classes`.

    Images are (n, h, w), (n, h, w, channels) or (n, channels, h, w).

    Args:
        path: a file that numpy.savez wrote.
        split: "train" or "test".
        name: of the data set.
        keys: of the samples and the labels, where they have other names.
        space: what is known of the range of the samples.

    Raises:
        DataError: no such file, not an npz, pickled objects, too large, arrays missing or of the wrong shape.
    """
    refuse_other_kinds(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = {i.filename.removesuffix(".npy"): i for i in archive.infolist() if i.filename.endswith(".npy")}
            at_x, at_y = _pair(members, split, keys, path)
            wanted = [at_x, at_y, *(["classes"] if "classes" in members else [])]
            _check_sizes(archive, members, wanted, path)
            arrays = {key: read_npy(archive.open(members[key])) for key in wanted}
    except DataError:
        raise
    except Exception as error:  # zipfile, zlib, numpy and struct each raise their own kinds on damaged bytes
        raise DataError(f"{path} cannot be read as numbers ({error}); save with numpy.savez, no objects") from error
    named = [str(c)[:80] for c in arrays["classes"].reshape(-1)] if "classes" in arrays else []
    return as_dataset(
        arrays[at_x],
        arrays[at_y],
        name,
        path,
        names=named,
        space=space,
        origin=f"{path.name}, arrays {at_x} and {at_y}",
    )


def load_npy(paths: Sequence[Path], name: str, *, space: InputSpace | None = None) -> DataSet:
    """Read one file of samples and one of labels.

    Raises:
        DataError: not two files, or no plain arrays.
    """
    if len(paths) != 2:
        raise DataError(f"npy takes two files, npy:X.npy,Y.npy, samples and labels; {len(paths)} given")
    arrays = []
    for path in paths:
        if path.stat().st_size > LARGEST_ARRAYS:
            raise DataError(f"{path} has {path.stat().st_size:,} bytes; at most {LARGEST_ARRAYS:,} are read")
        refuse_other_kinds(path)
        try:
            arrays.append(read_file(path))
        except Exception as error:  # numpy raises its own kinds on damaged bytes
            raise DataError(f"{path} cannot be read as numbers ({error}); save with numpy.save, no objects") from error
    return as_dataset(arrays[0], arrays[1], name, paths[0], space=space, origin=f"{paths[0].name} and {paths[1].name}")


def as_dataset(
    x: np.ndarray,
    y: np.ndarray,
    name: str,
    source: Path,
    *,
    names: Sequence[str] = (),
    space: InputSpace | None = None,
    origin: str,
) -> DataSet:
    """Samples and labels as a data set, with a note for whatever was not taken as it is."""
    labels, classes, notes = read_labels(y, source, names)
    samples, scaled = samples_tensor(x, source, space)
    told = "; ".join([origin.replace(";", ","), *([scaled] if scaled else []), *notes])
    return DataSet(
        name=name, x=samples, y=torch.from_numpy(labels), classes=classes, space=box_of(samples, space), provenance=told
    )


def box_of(x: torch.Tensor, space: InputSpace | None) -> InputSpace:
    """The range that is known; else [0, 1] where the samples lie in it, and none where they do not."""
    if space is not None:
        return InputSpace(space.low, space.high)
    return InputSpace() if InputSpace().contains(x) else UNBOUNDED


def samples_tensor(x: np.ndarray, source: Path | str, space: InputSpace | None = None) -> tuple[torch.Tensor, str]:
    """Images channel-first, vectors as they are, in torch's default dtype; and how integers were scaled, if they were.

    Raises:
        DataError: another shape or type, or integers whose scale nobody can tell.
    """
    if x.ndim not in (2, 3, 4) or x.size == 0 or x.dtype.kind not in "uifb":
        raise DataError(
            f"{source}: samples of shape {x.shape} and type {x.dtype}; (n, d), (n, h, w) or (n, h, w, c) numbers"
        )
    scale = 1 if x.dtype.kind in "fb" else _scale(x, source, space)
    if x.ndim == 3:
        x = x[:, None]
    elif x.ndim == 4 and x.shape[3] in (*CHANNELS, 2, 4) and x.shape[1] not in CHANNELS:
        if x.shape[3] not in CHANNELS:
            raise DataError(f"{source}: images of {x.shape[3]} channels; 1 or 3 are read. Drop alpha")
        x = np.moveaxis(x, 3, 1)
    native = np.dtype(np.float64) if x.dtype.itemsize > 8 else x.dtype.newbyteorder("=")  # torch knows no others
    made = torch.tensor(np.ascontiguousarray(x, native), dtype=torch.get_default_dtype())
    largest = float(np.abs(x).max(initial=0, where=np.isfinite(x))) if x.dtype.kind == "f" else 0.0
    if largest and not torch.finfo(made.dtype).tiny <= largest <= torch.finfo(made.dtype).max:
        raise DataError(
            f"{source}: the largest value is {largest:.3g}, out of reach of {made.dtype}; rescale the samples"
        )
    return made / scale, f"integers were divided by {scale}" if scale != 1 else ""


def _scale(x: np.ndarray, source: Path | str, space: InputSpace | None) -> int:
    """What integers are divided by: 1, 255 or 65535, as far as they reach."""
    low, high = int(x.min()), int(x.max())
    bounded = space is not None and space.width < float("inf")
    if low < 0 or high <= 1 or (bounded and space is not None and 1 < space.high and high <= space.high):
        return 1
    table = x.ndim == 2 and not (x.dtype.kind == "u" and x.dtype.itemsize <= 2)
    if 127 < high <= 255 and not (table and high != 255):
        return 255
    if 32_767 < high <= 65_535 and not table:
        return 65_535
    if table and not bounded:
        return 1
    raise DataError(
        f"{source}: integers from {low} to {high:,}; bytes would come near 255, 16 bits near 65535. Give floats, or "
        f"say the range and what the model divides by, such as --range 0 {high} --std {high}"
    )


def _pair(members: dict[str, zipfile.ZipInfo], split: str, keys: Sequence[str], path: Path) -> tuple[str, str]:
    """The names of samples and labels."""
    if keys:
        pairs = [tuple(keys)] if len(keys) == 2 else []
    else:
        pairs = [(x.format(split), y.format(split)) for x, y in PAIRS]
    for pair in pairs:
        if all(key in members for key in pair):
            return pair[0], pair[1]
    raise DataError(
        f"{path} holds {', '.join(sorted(members)[:20]) or 'no arrays'}; x_{split} and y_{split}, or x and y, are "
        f"needed. Name others as npz:{path.name}#SAMPLES,LABELS"
    )


def _check_sizes(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], keys: list[str], path: Path) -> None:
    """Refuse what is too large, or what claims more than it holds, before anything is unpacked."""
    unpacked = sum(members[key].file_size for key in keys)
    if unpacked > LARGEST_ARRAYS:
        raise DataError(f"{path} unpacks to {unpacked:,} bytes; at most {LARGEST_ARRAYS:,} are read")
    lengths, last = [], 0
    for key in keys[:2]:
        with archive.open(members[key]) as file:
            shape = npy_shape(file, members[key].file_size)
            last = last if lengths else shape[-1] if shape else 0
            lengths.append(shape[0] if shape else 0)
    if lengths[0] != lengths[1]:
        turned = "; samples stand along the first axis: numpy.moveaxis" if lengths[1] == last else ""
        raise DataError(
            f"{path}: {lengths[0]} samples with {lengths[1]} labels; one label per sample is needed{turned}"
        )
