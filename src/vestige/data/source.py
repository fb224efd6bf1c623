"""What the text after `--data` names, checked before anything is read: known words, and files that are there."""

import re
from dataclasses import dataclass
from pathlib import Path

NAMES = ("digits", "mnist", "fashion", "cifar10")
FILES = ("npz", "npy", "csv", "parquet")
FORMS = "npz:PATH, npy:X.npy,Y.npy, csv:PATH, parquet:PATH and folder:PATH"
_SUFFIXES = {".npy": "npy", ".npz": "npz", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet", ".pq": "parquet"}


class DataError(ValueError):
    """Data that is missing, damaged or outside what is allowed."""


@dataclass(frozen=True)
class Source:
    """A set by name, or files of one kind.

    `keys` are the arrays or the column that follow a #, as in `npz:PATH#images,labels` and `csv:PATH#label`.
    """

    kind: str
    paths: tuple[Path, ...] = ()
    keys: tuple[str, ...] = ()


def read_source(spec: str) -> Source:
    """Take the text apart.

    Raises:
        DataError: an unknown word, or a path that is not there.

    >>> read_source("digits").kind
    'digits'
    """
    if spec in NAMES:
        return Source(spec)
    kind, _, rest = spec.partition(":")
    if kind in (*FILES, "folder", "texts") and rest:
        place, _, keys = rest.partition("#") if kind in FILES else (rest, "", "")
        paths = tuple(Path(path).expanduser() for path in (place.split(",") if kind == "npy" else [place]))
        for path in paths:
            _check_there(path, folder=kind in ("folder", "texts"))
        return Source(kind, paths, tuple(re.split(r"\s*,\s*", keys)) if keys else ())
    suffix = _SUFFIXES.get(Path(spec).suffix)
    hint = f"; for that file write {suffix}:{spec}{',LABELS.npy' if suffix == 'npy' else ''}" if suffix else ""
    hint = f"; for that folder of images write folder:{spec}" if not suffix and Path(spec).is_dir() else hint
    raise DataError(f"unknown data {spec!r}; allowed are {', '.join(NAMES)}, {FORMS}{hint}")


def _check_there(path: Path, *, folder: bool) -> None:
    if folder and not path.is_dir():
        unpack = "; an archive? Unpack it" if path.is_file() else ""
        raise DataError(f"{path} is not a folder; one with images, or with one sub-folder a class, is needed{unpack}")
    if not folder and not path.is_file():
        raise DataError(f"{path} is not there, or is no file")
