"""Load data by name or from a file: always labeled samples in [0, 1], channel first."""

from pathlib import Path

from vestige.data.arrays import load_npz
from vestige.data.dataset import DataError, DataSet
from vestige.data.folder import load_folder
from vestige.data.named import NAMES, load_digits, load_openml


def load_data(spec: str, *, split: str = "train") -> DataSet:
    """Load a data set.

    Args:
        spec: digits (no download), mnist, fashion, cifar10 (fetched once), npz:PATH, or folder:PATH with images.
        split: "train" or "test"; a folder, and an npz with x and y only, has one part for both.

    Raises:
        DataError: unknown name or split, or a set that is missing or damaged.

    Example:
        >>> load_data("digits").shape
        (1, 8, 8)
    """
    if split not in ("train", "test"):
        raise DataError(f"split={split!r} given; allowed are 'train' and 'test'")
    kind, separator, path = spec.partition(":")
    if separator and path and kind in ("npz", "folder"):
        place = Path(path).expanduser()
        return load_npz(place, split, place.stem) if kind == "npz" else load_folder(place, place.name)
    if spec == "digits":
        return load_digits(split)
    if spec in NAMES:
        return load_openml(spec, split)
    raise DataError(f"unknown data {spec!r}; allowed are {', '.join(NAMES)}, npz:PATH and folder:PATH")
