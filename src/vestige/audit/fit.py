"""Do these data belong to this model? Asked before any verdict on them.

A network does better on what it was trained on than one that always outputs zero, in loss, and than chance, in
accuracy. Where it does not, the data are not what it was trained on as it saw them: another normalization, another
order of layers or pooling, other labels. Then an attack that finds nothing has shown nothing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from vestige.audit.kernel_machine import BlackBoxModel
from vestige.audit.target import Target
from vestige.core.margins import Loss, check_labels, loss_value, predict
from vestige.data.dataset import DataSet
from vestige.reconstruct.kernels.black_box import Scores, as_scores

MOST = 2_000  # samples that are looked at
ORDERED = 0.9  # accuracy from which another order of the classes or another loss is named; by chance, few reach half
OTHER_LOSS = "likely causes: another loss (--loss) or scale of the labels, or a training that was hardly begun"
CLEAR = 0.3  # gain in accuracy from which a change of the data is named as the likely cause


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How well a model does on data that it should know.

    Attributes:
        n: samples looked at.
        accuracy: on them.
        chance: the share of their largest class, or of one class of all that the model has.
        loss: on them; None where they are not training data.
        loss_of_zero: of outputs that are zero, likewise.
        cause: what makes the model fit, where one of the usual mistakes does.
    """

    n: int
    accuracy: float
    chance: float
    loss: float | None
    loss_of_zero: float | None
    cause: str | None

    @property
    def fits(self) -> bool:
        """Whether the model does better than chance and than nothing."""
        if self.loss is not None and self.loss_of_zero is not None and not self.loss <= self.loss_of_zero:
            return False
        return self.accuracy == 1 or self.accuracy > self.chance

    @property
    def reasons(self) -> tuple[str, ...]:
        """What was measured, and the likely causes; none where the data fit."""
        if self.fits:
            return ()
        told = f"accuracy {self.accuracy:.1%} on {self.n} samples, by chance {self.chance:.1%}"
        if self.loss is not None and self.loss_of_zero is not None:
            told += f"; loss {self.loss:.3g}, of zero outputs {self.loss_of_zero:.3g}"
        usual = (
            "another normalization (--mean, --std, --range), order of layers, pooling or activation (--arch), or labels"
        )
        right = self.accuracy >= max(ORDERED, self.chance)  # so that only the loss speaks against the data
        return told, self.cause or (OTHER_LOSS if right else f"likely causes: {usual}")

    @property
    def summary(self) -> dict[str, Any]:
        """As JSON values."""
        loss = self.loss if self.loss is None or math.isfinite(self.loss) else None
        return {
            "fits": self.fits,
            "n": self.n,
            "accuracy": self.accuracy,
            "chance": self.chance,
            "loss": loss,
            "loss_of_zero": self.loss_of_zero,
            "reasons": list(self.reasons),
        }


def fit_of(target: Target, dataset: DataSet, *, trained: bool = True) -> Fit:
    """Measure it.

    Args:
        target: the model.
        dataset: with its own labels.
        trained: whether the model is said to have been trained on these very samples; then its loss counts too.

    Raises:
        ValueError: samples or labels that the model cannot have.
    """
    x, y = target.inputs(dataset.x[:MOST]).to(next(target.model.parameters())), dataset.y[:MOST]
    check_labels(y, len(y), target.outputs)
    with torch.no_grad():
        outputs = target.model(x)
        accuracy = _accuracy(outputs, y)
        loss = float(loss_value(outputs, y, target.loss)) if trained else None
        zero = float(loss_value(torch.zeros_like(outputs), y, target.loss)) if trained else None
        chance = max(1 / max(2, target.outputs), float(y.unique(return_counts=True)[1].max()) / len(y))
        found = Fit(n=len(y), accuracy=accuracy, chance=chance, loss=loss, loss_of_zero=zero, cause=None)
        cause = None if found.fits else _cause(target, x, y, accuracy)
    return Fit(n=len(y), accuracy=accuracy, chance=chance, loss=loss, loss_of_zero=zero, cause=cause)


def fit_of_scores(machine: BlackBoxModel, dataset: DataSet) -> Fit | None:
    """The same for a model that is asked for scores; None where scores are no classes: densities, regression.

    Args:
        machine: the model; it is asked about at most 2,000 samples.
        dataset: with its own labels.

    Raises:
        ValueError: samples or answers that cannot be.
    """
    rows, y = machine.flat(dataset.x[:MOST]), dataset.y[:MOST]
    values = as_scores(machine.predict(rows.numpy()), len(rows))
    classes, counts = y.unique(return_counts=True)
    single = values.shape[1] == 1
    if machine.scores is Scores.LOG or len(classes) < 2 or (single and int(y.max()) > 1):
        return None
    if not single and int(y.max()) >= values.shape[1]:
        return None
    # Of one score the sign is the class, or 1/2 the border where targets were 0 and 1.
    decided = [values[:, 0] > 0, values[:, 0] > 0.5] if single else [values.argmax(1)]
    accuracy = max(float((guess == y).double().mean()) for guess in decided)
    chance = max(1 / max(2, values.shape[1]), float(counts.max()) / len(y))
    return Fit(n=len(y), accuracy=accuracy, chance=chance, loss=None, loss_of_zero=None, cause=None)


def _accuracy(outputs: Tensor, y: Tensor) -> float:
    if not bool(torch.isfinite(outputs).all()):
        return 0.0
    return float((predict(outputs) == (y > 0 if outputs.reshape(len(y), -1).shape[1] == 1 else y)).double().mean())


def _cause(target: Target, x: Tensor, y: Tensor, accuracy: float) -> str | None:
    """The usual mistake without which the model does best, if it then does much better."""
    if target.loss in (Loss.MSE, Loss.HUBER):
        return None
    best, words = accuracy + CLEAR, None
    for said, change in CHANGES.items():
        moved, labels = change(x, y)
        if int(labels.min()) >= 0 and int(labels.max()) < max(2, target.outputs):
            reached = _accuracy(target.model(moved), labels)
            if reached >= best:
                best, words = reached + 1e-9, f"with {said} the accuracy is {reached:.1%}"
    return words or _reordered(target.model(x), y)


def _reordered(outputs: Tensor, y: Tensor) -> str | None:
    """Whether the classes, numbered in another order, are almost always right."""
    if outputs.ndim < 2 or outputs.shape[1] < 2 or not bool(torch.isfinite(outputs).all()):
        return None
    k = outputs.shape[1]
    counts = torch.bincount(k * y + outputs.argmax(1), minlength=k * k).reshape(k, k)
    mine, theirs = linear_sum_assignment(counts.numpy(), maximize=True)
    reached = float(counts[mine, theirs].sum()) / len(y)
    seen = [f"{a} for {b}" for a, b in zip(theirs, mine, strict=True) if a != b and counts[b, a] > 0][:5]
    if reached < ORDERED or not seen:
        return None
    return f"with the classes in another order ({', '.join(seen)}) the accuracy is {reached:.1%}"


def _standardized(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    spread = x.std(axes, keepdim=True, unbiased=False)
    return (x - x.mean(axes, keepdim=True)) / torch.where(spread > 0, spread, torch.ones_like(spread))


def _channels_last(x: Tensor) -> Tensor:
    """Images whose flattened numbers stand as those of (h, w, channels) do."""
    return x.movedim(1, -1).reshape(x.shape) if x.ndim == 4 else x


def _channels(x: Tensor) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


CHANGES: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "labels one smaller": lambda x, y: (x, y - 1),
    "labels one larger": lambda x, y: (x, y + 1),
    "the mean of the data subtracted (--mean)": lambda x, y: (x - x.mean(0), y),
    "data of mean 0 and standard deviation 1 (--mean, --std)": lambda x, y: (_standardized(x, (0,)), y),
    "each channel of mean 0 and standard deviation 1 (--mean, --std)": lambda x, y: (_standardized(x, _channels(x)), y),
    "data in [-1, 1] (--mean 0.5 --std 0.5)": lambda x, y: (2 * x - 1, y),
    "data 255 times as large": lambda x, y: (255 * x, y),
    "data 255 times as small": lambda x, y: (x / 255, y),
    "the largest value of the data as 1": lambda x, y: (x / x.abs().max().clamp(min=1e-30), y),
    "flattened images whose channels come last (Keras, Flax)": lambda x, y: (_channels_last(x), y),
    "light and dark exchanged": lambda x, y: (x.amax() + x.amin() - x, y),
}
