"""The training data, for scoring only: which samples the model saw, and which of the same kind it did not."""

import hashlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vestige.core.rng import child
from vestige.core.space import UNBOUNDED, InputSpace
from vestige.data.dataset import DataSet, binarize, comparable, sample
from vestige.data.load import load_data

HELD_OUT = 4_000  # unrelated samples compared with, at most: enough for a rate of 1 in 1,000

Array = Tensor | np.ndarray
Data = str | DataSet | Dataset | tuple[Array, Array]


@dataclass(frozen=True)
class Truth:
    """Training samples, held-out ones for the null comparison where there are any, and the text that named them."""

    train: DataSet
    held_out: DataSet | None
    warnings: tuple[str, ...]
    named: str | None = None

    @property
    def digest(self) -> str:
        """Hash of all samples and labels: another truth never reuses a score."""
        parts = [self.train, *([self.held_out] if self.held_out else [])]
        return hashlib.sha256("".join(map(fingerprint, parts)).encode()).hexdigest()


def fingerprint(dataset: DataSet) -> str:
    """Hash of samples and labels, whatever file they came from."""
    digest = hashlib.sha256(repr(tuple(dataset.x.shape)).encode())
    for tensor in (dataset.x.float(), dataset.y.long()):
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def recipe(dataset: DataSet, n: int | None, seed: int, positive: str | None) -> dict[str, str]:
    """What `vestige train` writes into the model file, so that an audit can draw the same samples for its score."""
    drawn = {} if n is None else {"n": str(n)}
    classes = {} if positive is None else {"positive_classes": positive}
    return {"data": dataset.name, "data_sha256": fingerprint(dataset), "seed": str(seed), **drawn, **classes}


def draw(dataset: DataSet, n: int | None, seed: int) -> tuple[DataSet, DataSet | None]:
    """The n training samples that `vestige train` takes with this seed, and the rest; all of them for n=None."""
    return (dataset, None) if n is None else sample(dataset, n, generator=child(seed, "train", "data"))


def split_classes(dataset: DataSet, positive: str | None) -> DataSet:
    """Two classes, 1 for those named in `positive` (commas between them) and 0 for the others."""
    if not positive:
        return dataset
    names = [name.strip() for name in positive.split(",")]
    return binarize(dataset, [int(name) if name.isdecimal() else name for name in names])


def read_data(given: Data, *, split: str = "train", space: InputSpace | None = None) -> DataSet:
    """Data by name, as a `DataSet`, as torch's `Dataset` of pairs, or as one pair (x, y) in data space.

    Args:
        given: the data.
        split: of a named set.
        space: the range that samples of files must lie in, where it is known.

    Raises:
        ValueError: data that cannot be loaded, or labels that are not integers from 0.
    """
    if isinstance(given, str):
        return load_data(given, split=split, space=space)
    if isinstance(given, DataSet):
        return given
    if isinstance(given, Dataset):  # all in one batch; a generator of its own leaves the global one alone
        given = next(iter(DataLoader(given, batch_size=sys.maxsize, generator=torch.Generator())))
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise ValueError(f"a {type(given).__name__} given as data; a name, a DataSet or a pair (x, y) is allowed.")
    x, y = (torch.as_tensor(part) for part in given)
    if y.is_floating_point() or y.ndim != 1:
        raise ValueError(
            f"labels of type {y.dtype} and shape {tuple(y.shape)} given; one integer per sample is needed."
        )
    y = (y > 0).long() if bool((y == -1).any()) and bool((y.abs() == 1).all()) else y.long()
    classes = tuple(str(k) for k in range(max(2, int(y.max()) + 1))) if len(y) else ("0", "1")
    return DataSet(
        name="given", x=x.detach().cpu(), y=y.cpu(), classes=classes, space=UNBOUNDED, provenance="given as tensors"
    )


@dataclass(eq=False)
class Given:
    """Data of one job, read once: what was read to learn their shape is handed over as the samples, and let go."""

    data: Data
    split: str = "train"
    _read: DataSet | None = None

    def shape(self, space: InputSpace | None) -> tuple[int, ...]:
        """Of one sample."""
        self._read = read_data(self.data, split=self.split, space=space)
        return self._read.shape

    def load(self, wanted: Data, *, space: InputSpace | None) -> DataSet:
        """These data, or others of the job such as held-out ones."""
        known, self._read = self._read, None
        return known if known is not None and wanted is self.data else read_data(wanted, split=self.split, space=space)


def check_held_out(data: Data | None, held_out: Data | None) -> None:
    """Refuse held-out data alone.

    Raises:
        ValueError: no data to compare with.
    """
    if held_out is not None and data is None:
        raise ValueError("held_out without data given; there is no score to compare with. Give data too.")


def read_truth(
    data: Data, held_out: Data | None, metadata: Mapping[str, str], *, load: Callable[[Data], DataSet] = read_data
) -> Truth:
    """The training data that a user gives for scoring.

    A model that `vestige train` made says how many samples of its set it was trained on and with which seed; then
    those are the truth and the others are held out. Otherwise every given sample is taken for a training sample.

    Args:
        data: a name as `vestige.load_data` takes it, a data set, or a pair (x, y).
        held_out: data from the same distribution that the model never saw.
        metadata: of the model file.
        load: what reads them; through a backbone for a head.

    Raises:
        ValueError: data that cannot be loaded, or of two shapes.
    """
    dataset, warnings = load(data), []
    other = None if held_out is None else comparable(load(held_out), dataset, "held_out")
    known = metadata.get("data_sha256") == fingerprint(dataset)
    drawn = known and metadata.get("n", "").isdecimal() and metadata.get("seed", "").isdecimal()
    if known:
        positive = metadata.get("positive_classes")
        if other is not None and other.classes == dataset.classes:
            other = split_classes(other, positive)
        dataset = split_classes(dataset, positive)
    elif "n" in metadata and metadata["n"] != str(len(dataset)):
        warnings.append(
            f"The model file says: trained on {metadata['n'][:9]} samples of {metadata.get('data', '')[:40]!r}. The "
            f"data given are a different set; all {len(dataset):,} samples are taken for training samples."
        )
    train, rest = draw(dataset, int(metadata["n"]), int(metadata["seed"])) if drawn else (dataset, None)
    if other is not None:
        rest = _unseen(other, train)
    if rest is not None and len(rest) > HELD_OUT:
        rest = rest.take(torch.randperm(len(rest), generator=child(0, "held out"))[:HELD_OUT])
    return Truth(train, rest, (*train.notes, *warnings), data if isinstance(data, str) else None)


def _unseen(rest: DataSet, train: DataSet) -> DataSet:
    """Without the samples that are training samples: a null that holds the truth would hide a leak."""
    seen = {row.numpy().tobytes() for row in train.x.to(rest.x.dtype)}
    keep = torch.tensor([row.numpy().tobytes() not in seen for row in rest.x])
    if not bool(keep.any()):
        raise ValueError("held_out has only training samples; give data that the model never saw.")
    return rest.take(keep.nonzero().flatten())
