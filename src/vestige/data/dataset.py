"""Labeled samples in data space with their provenance, and the few things every experiment does with them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vestige.core.rng import spawn
from vestige.core.space import InputSpace
from vestige.data.source import DataError

SCALES = 10  # times as large as other samples of the same kind: integers beside floats


@dataclass(frozen=True, eq=False, kw_only=True)
class DataSet:
    """Samples in data space, usually [0, 1], with integer labels.

    `provenance` says where they came from in words, then, after semicolons, what was changed while they were read;
    `space` is the box they lie in, and `columns` names the entries of a sample that is a row of a table.
    """

    name: str
    x: Float[Tensor, " n *feature"]
    y: Int[Tensor, " labels"]
    classes: tuple[str, ...]
    space: InputSpace = field(default_factory=InputSpace)
    provenance: str = ""
    columns: tuple[str, ...] = ()

    def __post_init__(self):
        if len(self.x) != len(self.y) or len(self.x) == 0:
            raise DataError(
                f"{self.name}: {len(self.x)} samples with {len(self.y)} labels; one label per sample is needed"
            )
        if int(self.y.min()) < 0 or int(self.y.max()) >= len(self.classes):
            raise DataError(
                f"{self.name}: labels run from {int(self.y.min())} to {int(self.y.max())}, its "
                f"{len(self.classes)} classes allow 0 to {len(self.classes) - 1}"
            )
        try:
            self.space.check(self.x)
        except ValueError as error:
            raise DataError(f"{self.name}: {error}") from error

    def __len__(self) -> int:
        return len(self.x)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was changed or guessed while they were read."""
        return tuple(f"{self.name}: {note}." for note in self.provenance.split("; ")[1:])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.x.shape[1:])

    def take(self, index: Int[Tensor, " k"]) -> "DataSet":
        """The samples at these positions, in this order."""
        return replace(self, x=self.x[index], y=self.y[index])


def sample(
    dataset: DataSet, n: int, *, balanced: bool = True, generator: torch.Generator | None = None
) -> tuple[DataSet, DataSet]:
    """Draw n samples without replacement.

    Args:
        dataset: to draw from.
        n: how many.
        balanced: as many of each class that occurs, give or take one; else uniformly.
        generator: reads its seed only; None for seed 0.

    Returns:
        The drawn samples in random order, and all others: held-out data for null comparisons.

    Raises:
        DataError: n is outside 1..len - 1, or a class has too few samples.

    Example:
        >>> x, y = torch.zeros(4, 1), torch.tensor([0, 0, 1, 1])
        >>> chosen, rest = sample(DataSet(name="d", x=x, y=y, classes=("a", "b")), 2)
        >>> sorted(chosen.y.tolist()), len(rest)
        ([0, 1], 2)
    """
    if not 1 <= n < len(dataset):
        raise DataError(f"n={n} of {len(dataset)} samples given; allowed are 1 to {len(dataset) - 1}")
    order = torch.randperm(len(dataset), generator=spawn(generator, "sample"))
    chosen = _balanced_prefix(dataset, order, n) if balanced else order[:n]
    left_out = torch.ones(len(dataset), dtype=torch.bool)
    left_out[chosen] = False
    return dataset.take(chosen), dataset.take(order[left_out[order]])


def _balanced_prefix(dataset: DataSet, order: Tensor, n: int) -> Tensor:
    """The first samples of each class in `order`, n in all, kept in that order."""
    labels = dataset.y[order]
    present = labels.unique().tolist()
    quota = {label: n // len(present) + (rank < n % len(present)) for rank, label in enumerate(present)}
    short = [label for label in present if int((labels == label).sum()) < quota[label]]
    if short:
        raise DataError(
            f"{dataset.name}: class {dataset.classes[short[0]]!r} has fewer than the {quota[short[0]]} samples that "
            f"n={n} in equal shares needs; take fewer (in Python, or balanced=False)"
        )
    positions = [(labels == label).nonzero().flatten()[: quota[label]] for label in present]
    return order[torch.cat(positions).sort().values]


def comparable(other: DataSet, like: DataSet, name: str) -> DataSet:
    """Other samples of the same kind, with the class numbers of `like`; names of classes decide, where both have any.

    Args:
        other: to compare with.
        like: the data.
        name: of `other`, for the message.

    Raises:
        DataError: another shape, another scale (a factor of 10 in root mean square), nothing but zeros, or a class
            that `like` lacks.

    Example:
        >>> x = torch.ones(2, 1)
        >>> data = DataSet(name="d", x=x, y=torch.tensor([0, 2]), classes=("ant", "bee", "cat"))
        >>> comparable(DataSet(name="o", x=x, y=torch.tensor([0, 1]), classes=("ant", "cat")), data, "o").y.tolist()
        [0, 2]
    """
    if other.shape != like.shape:
        raise DataError(f"{name} has samples of shape {other.shape}, data of {like.shape}; they must agree.")
    sizes = [float(each.x.double().square().mean().sqrt()) for each in (other, like)]
    if min(sizes) == 0 < max(sizes):
        raise DataError(
            f"{name if sizes[0] == 0 else 'data'}: all values are zero, so that nothing compares with them."
        )
    if max(sizes) > SCALES * min(sizes):
        raise DataError(
            f"{name} has values of size {sizes[0]:.3g}, data of {sizes[1]:.3g}: another scale? Give both alike, as "
            "floats or as integers."
        )
    if other.classes == like.classes or any(_numbered(each.classes) for each in (other, like)):
        return other
    unknown = [one for k, one in enumerate(other.classes) if one not in like.classes and bool((other.y == k).any())]
    if unknown:
        raise DataError(f"{name} has the class {unknown[0]!r}, data have {', '.join(like.classes[:10])}.")
    place = torch.tensor([like.classes.index(one) if one in like.classes else 0 for one in other.classes])
    return replace(other, y=place[other.y], classes=like.classes)


def _numbered(classes: Sequence[str]) -> bool:
    """Whether the classes have no names but their numbers."""
    return list(classes) == [str(k) for k in range(len(classes))]


def binarize(dataset: DataSet, positive_classes: Sequence[int | str]) -> DataSet:
    """Two classes out of many: label 1 for the given classes (indices or names), 0 for the others.

    Raises:
        DataError: an unknown class, none, or all of them.
    """
    indices = set()
    for given in positive_classes:
        index = dataset.classes.index(given) if given in dataset.classes else given
        if not isinstance(index, int) or not 0 <= index < len(dataset.classes):
            raise DataError(f"{dataset.name}: no class {given!r}; it has {', '.join(dataset.classes)}")
        indices.add(index)
    if not 0 < len(indices) < len(dataset.classes):
        total = len(dataset.classes)
        raise DataError(f"{dataset.name}: {len(indices)} of {total} classes are positive; keep both sides")
    sides = [[name for i, name in enumerate(dataset.classes) if (i in indices) == side] for side in (False, True)]
    y = torch.isin(dataset.y, torch.tensor(sorted(indices))).long()
    return replace(dataset, y=y, classes=("/".join(sides[0]), "/".join(sides[1])))


def center(dataset: DataSet) -> tuple[Float[Tensor, " n *feature"], Float[Tensor, " *feature"]]:
    """The samples minus their mean, as the papers train on, and that mean.

    Example:
        >>> x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([0, 1])
        >>> x, mean = center(DataSet(name="d", x=x, y=y, classes=("a", "b")))
        >>> x.flatten().tolist(), mean.tolist()
        ([-0.5, 0.5], [0.5])
    """
    mean = dataset.x.mean(0)
    return dataset.x - mean, mean
