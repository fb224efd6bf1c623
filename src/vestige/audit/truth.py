"""The training data, for scoring only: which samples the model saw, and which of the same kind it did not."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from vestige.core.rng import child
from vestige.data.dataset import DataSet, binarize, sample
from vestige.data.load import load_data

HELD_OUT = 4_000  # unrelated samples compared with, at most: enough for a rate of 1 in 1,000


@dataclass(frozen=True)
class Truth:
    """Training samples, and held-out ones for the null comparison where there are any."""

    train: DataSet
    held_out: DataSet | None
    warnings: tuple[str, ...]

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


def read_truth(
    data: str, held_out: str | None, metadata: Mapping[str, str], *, load: Callable[[str], DataSet] = load_data
) -> Truth:
    """Load the training data that a user gives for scoring.

    A model that `vestige train` made says how many samples of its set it was trained on and with which seed; then
    those are the truth and the others are held out. Otherwise every given sample is taken for a training sample.

    Args:
        data: specification, see `vestige.data.load_data`.
        held_out: specification of data from the same distribution that the model never saw.
        metadata: of the model file.
        load: what reads a specification; through a backbone for a head.

    Raises:
        ValueError: data that cannot be loaded, or of two shapes.
    """
    dataset, warnings = load(data), []
    known = metadata.get("data_sha256") == fingerprint(dataset)
    drawn = known and metadata.get("n", "").isdecimal() and metadata.get("seed", "").isdecimal()
    if known:
        dataset = split_classes(dataset, metadata.get("positive_classes"))
    elif "n" in metadata and metadata["n"] != str(len(dataset)):
        warnings.append(
            f"The model file says: trained on {metadata['n'][:9]} samples of {metadata.get('data', '')[:40]!r}. The "
            f"--data given are another set; all its {len(dataset):,} samples are taken for training samples."
        )
    train, rest = draw(dataset, int(metadata["n"]), int(metadata["seed"])) if drawn else (dataset, None)
    if held_out is not None:
        rest = load(held_out)
        if rest.shape != train.shape:
            raise ValueError(f"--held-out has samples of shape {rest.shape}, --data of {train.shape}; they must agree.")
        rest = _unseen(rest, train)
    if rest is None:
        warnings.append("No held-out data: unrelated samples of the same kind, the strongest null, are missing below.")
    elif len(rest) > HELD_OUT:
        rest = rest.take(torch.randperm(len(rest), generator=child(0, "held out"))[:HELD_OUT])
    return Truth(train, rest, tuple(warnings))


def _unseen(rest: DataSet, train: DataSet) -> DataSet:
    """Without the samples that are training samples: a null that holds the truth would hide a leak."""
    seen = {row.numpy().tobytes() for row in train.x.to(rest.x.dtype)}
    keep = torch.tensor([row.numpy().tobytes() not in seen for row in rest.x])
    if not bool(keep.any()):
        raise ValueError("--held-out holds nothing but the training samples; give data that the model never saw.")
    return rest.take(keep.nonzero().flatten())
