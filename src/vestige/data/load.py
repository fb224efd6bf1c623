"""Load data by name or from a file: always labeled samples in data space, channel first."""

from vestige.core.space import InputSpace
from vestige.data.arrays import load_npy, load_npz
from vestige.data.dataset import DataSet
from vestige.data.folder import load_folder
from vestige.data.named import load_digits, load_openml
from vestige.data.source import DataError, read_source
from vestige.data.table import load_table


def load_data(spec: str, *, split: str = "train", space: InputSpace | None = None) -> DataSet:
    """Load a data set.

    Args:
        spec: digits (no download), mnist, fashion, cifar10 (fetched once), npz:PATH, npy:X,Y, csv:PATH, parquet:PATH,
            or folder:PATH with images; arrays of other names as npz:PATH#SAMPLES,LABELS, the labels of a table as
            csv:PATH#COLUMN.
        split: "train" or "test"; a folder, a table, and an npz with x and y only, have one part for both.
        space: the range that the samples must lie in, where it is known; None: numbers of files are taken as they are,
            integers that reach as far as bytes or 16 bits are divided by 255 or 65535.

    Raises:
        DataError: unknown name or split, a set that is missing or damaged, or samples outside the range.

    Example:
        >>> load_data("digits").shape
        (1, 8, 8)
    """
    if split not in ("train", "test"):
        raise DataError(f"split={split!r} given; allowed are 'train' and 'test'")
    source = read_source(spec)
    if source.kind == "digits":
        return load_digits(split)
    if not source.paths:
        return load_openml(source.kind, split)
    place = source.paths[0]
    if source.kind == "npz":
        return load_npz(place, split, place.stem, keys=source.keys, space=space)
    if source.kind == "npy":
        return load_npy(source.paths, place.stem, space=space)
    if source.kind == "folder":
        return load_folder(place, place.name)
    if source.kind == "texts":
        raise DataError("texts:FOLDER goes with a backbone (--backbone), which makes numbers of them")
    return load_table(place, place.stem, keys=source.keys, space=space)
