"""What a user said of a model, as options of the command line, so that what is offered next runs as it is printed."""

import torch
from torch import Tensor

from vestige.audit.target import Space, Stated
from vestige.audit.truth import Data
from vestige.core.margins import Loss
from vestige.core.space import InputSpace

MOST = 16  # numbers that are written out


def typed(
    *,
    architecture: str | None = None,
    input_shape: tuple[int, ...] | None = None,
    space: Space | None = None,
    loss: Loss | str | None = None,
    weight_decay: float | int | None = None,
    trust_pickle: bool = False,
    held_out: Data | None = None,
) -> list[str] | None:
    """The words; None where something cannot be typed, such as a mean of many numbers.

    >>> typed(loss="mse", space=(0, 1), input_shape=(1, 8, 8))
    ['--loss', 'mse', '--input-shape', '1x8x8', '--range', '0', '1']
    """
    words = [] if architecture is None else ["--arch", architecture]
    words += [] if loss is None else ["--loss", str(loss)]
    words += [] if weight_decay is None else ["--weight-decay", f"{weight_decay:g}"]
    words += [] if input_shape is None else ["--input-shape", "x".join(map(str, input_shape))]
    words += ["--trust-pickle"] if trust_pickle else []
    if held_out is not None and not isinstance(held_out, str):
        return None
    words += [] if held_out is None else ["--held-out", held_out]
    if space is None:
        return words
    if isinstance(space, Stated) and space.words:
        return [*words, *space.words]
    said = _stated(space)
    words += [] if said.limits is None else ["--range", *(f"{side:g}" for side in said.limits)]
    for name, value in (("--mean", said.mean), ("--std", said.std)):
        numbers = [] if value is None else torch.as_tensor(value).flatten().tolist()
        if len(numbers) > MOST:
            return None
        words += [name, ",".join(f"{number:.9g}" for number in numbers)] if numbers else []
    return words


def _stated(space: Space) -> Stated:
    if isinstance(space, Stated):
        return space
    if isinstance(space, InputSpace):
        return Stated(limits=(space.low, space.high), mean=_unless(space.mean, 0.0), std=_unless(space.std, 1.0))
    return Stated(limits=space)


def _unless(value: float | int | Tensor, usual: float) -> float | int | Tensor | None:
    return None if not isinstance(value, Tensor) and value == usual else value
