"""Labeled statements from a table, and what tells the true ones apart without a model: length, words, frequency.

The format of the Geometry-of-Truth files: columns `statement` and `label`, and others, such as `city` or `subject`.
"""

import csv
import gzip
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import Tensor

from vestige.probe.truth.folds import FOLDS, held_out_auc

MOST_BYTES, MOST = 2**28, 1_000_000
SUBJECTS = ("subject", "city", "n1")  # columns that say what a statement is about
TELLING = 0.6  # AUC, either way, from which a shortcut is worth a warning


@dataclass(frozen=True, eq=False)
class Statements:
    """Statements of one topic.

    Attributes:
        name: of the topic.
        texts: the statements.
        y: 1 for true.
        groups: what each is about; statements of one group belong on one side of a split.
    """

    name: str
    texts: tuple[str, ...]
    y: Int[Tensor, " n"]
    groups: tuple[str, ...]

    def take(self, count: int, *, generator: torch.Generator) -> "Statements":
        """Some of them, drawn without replacement; all if there are no more."""
        order = torch.randperm(len(self.texts), generator=generator)[:count].sort().values
        texts, groups = (tuple(part[i] for i in order) for part in (self.texts, self.groups))
        return Statements(self.name, texts, self.y[order], groups)


def read_statements(path: Path | str) -> Statements:
    """Read a CSV file with the columns `statement` and `label`, which may be gzipped.

    Groups are read from the column `subject`, `city` or `n1`; without one, each text is its own group.

    Raises:
        ValueError: no such file, one that is too large, columns that are missing, labels other than 0 and 1, or one
            kind of label only.
    """
    place = Path(path)
    if not place.is_file():
        raise ValueError(f"{place} is not there; a CSV file with columns statement and label is needed.")
    opened = gzip.open(place, "rb") if place.suffix == ".gz" else place.open("rb")
    with opened as file:
        raw = file.read(MOST_BYTES + 1)
    if len(raw) > MOST_BYTES:
        raise ValueError(f"{place} holds more than {MOST_BYTES:,} bytes; take a part of it.")
    rows = list(csv.DictReader(raw.decode("utf-8", "replace").splitlines()))
    if not rows or not {"statement", "label"} <= set(rows[0]):
        raise ValueError(f"{place} lacks the columns statement and label.")
    labels = [row["label"] for row in rows]
    if set(labels) != {"0", "1"} or len(rows) > MOST:
        raise ValueError(f"{place} has {len(rows):,} labels {sorted(set(labels))[:4]}; 0 and 1, both, are needed.")
    column = next((name for name in SUBJECTS if name in rows[0]), "statement")
    texts = tuple(row["statement"] or "" for row in rows)
    name = place.name.split(".")[0]
    return Statements(name, texts, torch.tensor([int(v) for v in labels]), tuple(row[column] or "" for row in rows))


@dataclass(frozen=True)
class Confounds:
    """How well something else than truth tells true statements apart, as AUC; 0.5 is chance, and below counts as well.

    Attributes:
        length: number of characters.
        words: a logistic regression on which words occur, cross-validated by groups; where each group holds a true and
            a false statement, chance may lie below 0.5.
        common: how often the last word occurs among all statements.
        warnings: which of them is a shortcut.
    """

    length: float
    words: float
    common: float
    warnings: tuple[str, ...]


def text_confounds(texts: Sequence[str], y: Int[Tensor, " n"], *, groups: Sequence[str] | None = None) -> Confounds:
    """Score labels by length, words and frequency alone: a probe must do better to have found more.

    Args:
        texts: statements.
        y: 1 for true.
        groups: as in `Statements`; None for each text its own.

    Raises:
        ValueError: labels of one kind, not one for each text, or fewer than five groups.

    >>> texts = [f"{w} is {'blue' if i % 2 else 'red'}" for i, w in enumerate("abcdefghijkl")]
    >>> text_confounds(texts, torch.arange(12) % 2).words > 0.999
    True
    """
    own = list(texts) if groups is None else list(groups)
    truth = y.numpy()
    if len(texts) != len(truth) or len(set(truth.tolist())) != 2 or len(set(own)) < FOLDS:
        raise ValueError(
            f"{len(texts)} texts in {len(set(own))} groups with {len(truth)} labels of {len(set(truth.tolist()))} kind "
            f"given; a label for each, both kinds, and {FOLDS} groups are needed."
        )
    last = [text.rstrip(".").split()[-1] if text.split() else "" for text in texts]
    counts = Counter(last)
    bags = CountVectorizer(binary=True, token_pattern=r"\S+").fit_transform(texts)
    found = {
        "length": float(roc_auc_score(truth, [len(text) for text in texts])),
        "words": held_out_auc(LogisticRegression(max_iter=1000), bags, truth, own),
        "common": float(roc_auc_score(truth, [counts[word] for word in last])),
    }
    said = {"length": "length", "words": "a bag of words", "common": "how common the last word is"}
    notes = tuple(
        f"{said[name]} alone tells true statements apart with AUC {value:.2f}."
        for name, value in found.items()
        if max(value, value if name == "words" else 1 - value) >= TELLING
    )
    return Confounds(**found, warnings=notes)
