"""Labeled texts: a folder with one sub-folder a class and one file a text, or all in one folder."""

from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from vestige.data.dataset import DataError

LARGEST_TEXT, MOST = 2**20, 200_000  # bytes of a file, files


def load_texts(root: Path) -> tuple[list[str], Int[Tensor, " n"], tuple[str, ...]]:
    """Read the .txt files below `root`: texts, labels and the names of the classes, in the order of the names.

    Bytes that are no UTF-8 are replaced. Links are not followed.

    Raises:
        DataError: no such folder, no text in it, or a file that is too large.
    """
    if not root.is_dir():
        raise DataError(f"{root} is not a folder; one with .txt files, or with one sub-folder a class, is needed")
    groups = sorted(p for p in root.iterdir() if p.is_dir() and not p.is_symlink() and _files(p)) or [root]
    texts, labels = [], []
    for label, group in enumerate(groups):
        for file in _files(group):
            if file.stat().st_size > LARGEST_TEXT:
                raise DataError(f"{file} has more than {LARGEST_TEXT:,} bytes; cut long texts into parts")
            texts.append(file.read_bytes().decode("utf-8", "replace"))
            labels.append(label)
    if not texts or len(texts) > MOST:
        raise DataError(f"{root} holds {len(texts):,} .txt files; 1 to {MOST:,} are allowed")
    return texts, torch.tensor(labels), tuple(group.name for group in groups)


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("*.txt") if p.is_file() and not p.is_symlink())
