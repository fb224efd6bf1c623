"""What is audited: a network, the space of its inputs and the loss it was trained with, each from where it is known."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from vestige.core.margins import Loss
from vestige.core.space import InputSpace
from vestige.nets.checkpoint import LoadedModel, load_model

GIVEN, STORED, GUESSED = "given", "from the model file", "guessed"


@dataclass(frozen=True)
class Target:
    """A network with all that the attack needs to know of it; none of it comes from training data."""

    name: str
    loaded: LoadedModel
    input_shape: tuple[int, ...]
    outputs: int
    space: InputSpace | None
    loss: Loss
    loss_source: str
    weight_decay: float | None
    warnings: tuple[str, ...]

    @property
    def model(self) -> nn.Module:
        """The network, in evaluation mode."""
        return self.loaded.model

    @property
    def parameters(self) -> int:
        """How many numbers it holds."""
        return sum(p.numel() for p in self.model.parameters())

    @property
    def shown_space(self) -> InputSpace:
        """The space for pictures: unbounded where the file does not say, so that they are stretched."""
        return self.space or InputSpace(-math.inf, math.inf)


def read_target(
    path: Path,
    architecture: str | None = None,
    input_shape: str | None = None,
    input_range: tuple[float, float] | None = None,
    *,
    loss: str | None = None,
    weight_decay: float | None = None,
    trust_pickle: bool = False,
) -> Target:
    """Load a model file and settle what it does not say.

    Args:
        path: the weights.
        architecture: grammar string or package.module:factory; default: the file's, or read off the shapes.
        input_shape: such as "1x8x8"; default: the file's, or the first width.
        input_range: least and greatest valid value of the data, before any normalisation; default: the file's.
        loss: default: the file's, else logistic for one output and cross-entropy for several, with a warning.
        weight_decay: default: the file's; None for unknown or none.
        trust_pickle: read a .pt file too.

    Raises:
        ValueError: a file, shape, range, loss or decay that cannot be used.
    """
    given = None if input_shape is None else read_input_shape(input_shape)
    loaded = load_model(path, architecture=architecture, input_shape=given, trust_pickle=trust_pickle)
    shape = given or loaded.input_shape
    if shape is None:
        raise ValueError(f"{path} does not say the shape of its inputs; give it as --input-shape 3x32x32.")
    outputs = _outputs(loaded.model, shape)
    chosen, source = _loss(loss, loaded.metadata.get("loss"), outputs)
    decay = _decay(weight_decay, loaded.metadata.get("weight_decay"))
    notes = [*loaded.warnings]
    if source == GUESSED:
        notes.append(f"The file does not say its loss; {chosen} was guessed from {outputs} output(s). --loss sets it.")
    space = input_range_space(input_range, loaded.space)
    if space is None:
        notes.append(
            "The file does not say the range of its inputs, so none is assumed and pictures are stretched. "
            "--range sets it."
        )
    return Target(path.name, loaded, shape, outputs, space, chosen, source, decay, tuple(notes))


def input_range_space(given: tuple[float, float] | None, stored: InputSpace | None) -> InputSpace | None:
    """The range that was given, with the normalisation of the file."""
    if given is None:
        return stored
    low, high = given
    if not low < high:
        raise ValueError(f"--range {low:g} {high:g} given; the first number must be the smaller one.")
    return replace(stored or InputSpace(), low=low, high=high)


def read_input_shape(text: str) -> tuple[int, ...]:
    """Sizes with x between them."""
    try:
        sizes = tuple(int(size) for size in text.lower().split("x"))
    except ValueError:
        sizes = ()
    if not 1 <= len(sizes) <= 4 or min(sizes) < 1:
        raise ValueError(f"--input-shape {text!r} given; sizes with x between them are allowed, such as 64 or 3x32x32.")
    return sizes


def _outputs(model: nn.Module, shape: tuple[int, ...]) -> int:
    parameter = next(model.parameters(), None)
    if parameter is None:
        raise ValueError("the model has no parameters: there is nothing to audit.")
    try:
        with torch.no_grad():
            found = model(torch.zeros((2, *shape), dtype=parameter.dtype, device=parameter.device))
    except RuntimeError as error:
        raise ValueError(
            f"the model does not accept inputs of shape {'x'.join(map(str, shape))}: {error}. Give --input-shape."
        ) from error
    if found.ndim not in (1, 2) or len(found) != 2:
        raise ValueError(f"the model returns shape {tuple(found.shape)} for 2 samples; (n,) or (n, classes) is needed.")
    return 1 if found.ndim == 1 else found.shape[1]


def _loss(given: str | None, stored: str | None, outputs: int) -> tuple[Loss, str]:
    if given is not None:
        return Loss(given), GIVEN
    if stored is not None:
        return Loss(stored), STORED
    return (Loss.LOGISTIC if outputs == 1 else Loss.CROSS_ENTROPY), GUESSED


def _decay(given: float | None, stored: str | None) -> float | None:
    if given is None and stored is not None:
        try:
            given = float(stored)
        except ValueError:
            raise ValueError(f"the model file says weight_decay={stored[:40]!r}, which is no number.") from None
    if given is not None and not 0 <= given < math.inf:
        raise ValueError(f"weight decay {given} given; it is a finite number >= 0.")
    return given or None
