"""Public data sets by name: digits ships with scikit-learn, the others are fetched from OpenML once and kept."""

import importlib.util
import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from vestige.core.files import write_atomically
from vestige.data.arrays import load_npz
from vestige.data.dataset import DataSet
from vestige.data.labels import read_labels
from vestige.data.source import DataError

FASHION = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
DIGITS = tuple(str(digit) for digit in range(10))
# name: (OpenML name, version, sample shape, size of the training part, which comes first, class names)
OPENML: dict[str, tuple[str, int, tuple[int, ...], int, tuple[str, ...]]] = {
    "mnist": ("mnist_784", 1, (1, 28, 28), 60_000, DIGITS),
    "fashion": ("Fashion-MNIST", 1, (1, 28, 28), 60_000, FASHION),
    "cifar10": ("CIFAR_10", 1, (3, 32, 32), 50_000, CIFAR),
}


def load_digits(split: str) -> DataSet:
    """1,797 handwritten digits of 8 x 8 pixels (UCI, shipped with scikit-learn); every fifth is the test part."""
    from sklearn.datasets import load_digits as load

    x, y = load(return_X_y=True)
    is_test = np.arange(len(y)) % 5 == 4
    keep = is_test if split == "test" else ~is_test
    images = torch.tensor(x[keep].reshape(-1, 1, 8, 8), dtype=torch.get_default_dtype()) / 16.0
    labels = torch.from_numpy(y[keep].astype(np.int64))
    return DataSet(
        name="digits", x=images, y=labels, classes=DIGITS, provenance="scikit-learn load_digits, values 0..16 / 16"
    )


def load_openml(name: str, split: str) -> DataSet:
    """A public set from OpenML through scikit-learn, parsed once into the cache folder ($VESTIGE_CACHE).

    Raises:
        DataError: it is not cached and cannot be fetched.
    """
    stored = cache_folder() / f"{name}.npz"
    if not stored.is_file():
        _fetch(name, stored)
    return load_npz(stored, split, name)


def cache_folder() -> Path:
    """$VESTIGE_CACHE, else $XDG_CACHE_HOME/vestige, else ~/.cache/vestige."""
    given = os.environ.get("VESTIGE_CACHE")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vestige"


def _fetch(name: str, stored: Path) -> None:
    openml, version, shape, n_train, classes = OPENML[name]
    # pandas reads the file ten times faster; without it scikit-learn's own parser needs minutes and gigabytes.
    parser = "pandas" if importlib.util.find_spec("pandas") else "liac-arff"
    try:
        x, y = _fetcher()(openml, version=version, as_frame=False, return_X_y=True, parser=parser)
    except Exception as error:  # URLError, HTTPError, timeouts, md5 mismatches: all mean that the set is not to be had
        raise DataError(
            f"{name!r} could not be fetched from OpenML ({type(error).__name__}: {error}). Without a network "
            "use 'digits', which needs none, or a file of your own: npz:PATH with x_train, y_train, x_test, y_test"
        ) from error
    images = np.asarray(x)
    if images.ndim != 2 or images.shape[1] != np.prod(shape) or len(images) <= n_train:
        raise DataError(
            f"OpenML gave {images.shape} for {name!r}; more than {n_train} x {np.prod(shape)} were expected"
        )
    images = images.astype(np.uint8).reshape(-1, *shape)
    labels = read_labels(np.asarray(y).astype(np.float64), name)[0].astype(np.uint8)
    stored.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.savez(
        buffer,
        x_train=images[:n_train],
        y_train=labels[:n_train],
        x_test=images[n_train:],
        y_test=labels[n_train:],
        classes=np.array(classes),
    )
    write_atomically(stored, buffer.getvalue())


def _fetcher() -> Callable:
    from sklearn.datasets import fetch_openml

    return fetch_openml
