"""What is audited: a network, the space of its inputs and the loss it was trained with, each from where it is known."""

import copy
import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vestige.audit.inputs import Audited
from vestige.audit.truth import Data, Given
from vestige.core.margins import Loss
from vestige.core.space import UNBOUNDED, InputSpace
from vestige.nets.architecture import describe
from vestige.nets.checkpoint import load_model
from vestige.nets.loaded import LoadedModel
from vestige.nets.state_dict import ArchitectureError

LARGEST_INPUT = 2**25  # numbers in one input: 12 times an image of 3 x 1024 x 1024
TINY, HUGE = 1e-12, 1e15  # weights outside are no trained network, and their squares leave float32

UNSCALED = (
    "Nothing says what was subtracted from the inputs and divided by in training: neither is assumed. Give mean and "
    "std (--mean, --std) if there was any."
)
GIVEN, STORED, GUESSED = "given", "from the model file", "guessed"

Model = Path | str | nn.Module


@dataclass(frozen=True, eq=False, kw_only=True)
class Stated:
    """What a user says of the inputs; None leaves it to the model's file. `words` is how it was typed."""

    limits: tuple[float | int, float | int] | None = None
    mean: float | int | Tensor | None = None
    std: float | int | Tensor | None = None
    words: tuple[str, ...] = ()


Space = InputSpace | Stated | tuple[float | int, float | int]


@dataclass(frozen=True, eq=False, kw_only=True)
class Target(Audited):
    """A network and everything the attack needs to know about it; none of it comes from training data.

    Attributes:
        loaded: the network, in evaluation mode, with its metadata and its hash.
        file: where it came from; None for a module in memory.
        outputs: 1, or the number of classes.
        loss: of the training.
        loss_source: where the loss is known from.
        weight_decay: of the training; None: unknown, 0.0: none.
        warnings: what was guessed.
        assumed: the architecture was read off shapes, so that its activation is a guess.
    """

    loaded: LoadedModel
    file: str | None
    outputs: int
    loss: Loss
    loss_source: str
    weight_decay: float | None
    warnings: tuple[str, ...]
    assumed: bool

    @property
    def model(self) -> nn.Module:
        """The network, in evaluation mode."""
        return self.loaded.model

    @property
    def parameters(self) -> int:
        """How many numbers it holds."""
        return sum(p.numel() for p in self.model.parameters())

    @property
    def decay(self) -> float | None:
        """Weight decay for methods that use it only where there was some."""
        return self.weight_decay or None


def read_target(
    model: Model,
    *,
    architecture: str | None = None,
    input_shape: tuple[int, ...] | None = None,
    space: Space | None = None,
    loss: Loss | str | None = None,
    weight_decay: float | int | None = None,
    trust_pickle: bool = False,
    like: Data | Given | None = None,
) -> Target:
    """Load a model and settle what it does not say about itself.

    Args:
        model: a weights file, or a module in memory, which is copied.
        architecture: grammar string or package.module:factory; default: the file's, or read off the shapes.
        input_shape: of one sample, such as (1, 8, 8); default: the file's, or the first width.
        space: range and normalization; a pair (low, high) keeps the file's normalization; default: the file's.
        loss: default: the file's, else logistic for one output and cross-entropy for several, with a warning.
        weight_decay: default: the file's; None for unknown, 0.0 for none.
        trust_pickle: read a .pt file too.
        like: data whose shape the inputs have, where neither the caller nor the file says one; a width alone says
            how many numbers an input has, not that they are no image. A `Given` keeps what was read for its job.

    Raises:
        ValueError: a file, shape, range, loss or decay that cannot be used.
    """
    if isinstance(model, nn.Module):
        if architecture is not None:
            raise ValueError(f"architecture={architecture!r} given for a module in memory; it goes with a file only.")
        loaded, name = _in_memory(model, input_shape), type(model).__name__
    else:
        loaded = load_model(model, architecture=architecture, input_shape=input_shape, trust_pickle=trust_pickle)
        name = Path(model).name
    settled = input_space(space, loaded.space)
    shape = input_shape or _shape(loaded, like, settled)
    if shape is None:
        raise ValueError(
            f"{name} does not say the shape of its inputs; give input_shape (--input-shape), such as 3x32x32."
        )
    outputs = _outputs(loaded.model, shape)
    chosen, source = _loss(loss, loaded.metadata.get("loss"), outputs)
    notes = [*loaded.warnings, *_guesses(chosen, source, outputs, settled), *_unscaled(space, loaded)]
    return Target(
        name=name,
        loaded=loaded,
        file=None if isinstance(model, nn.Module) else str(model),
        input_shape=tuple(shape),
        outputs=outputs,
        space=settled,
        loss=chosen,
        loss_source=source,
        weight_decay=_decay(weight_decay, loaded.metadata.get("weight_decay")),
        warnings=tuple(notes),
        assumed=not isinstance(model, nn.Module) and architecture is None and "architecture" not in loaded.metadata,
    )


def _shape(loaded: LoadedModel, like: Data | Given | None, space: InputSpace | None) -> tuple[int, ...] | None:
    """The file's; that of the data where it says none, or only how many numbers an input has."""
    known = loaded.input_shape
    if like is None or "input_shape" in loaded.metadata or (known is not None and len(known) > 1):
        return known
    if known is not None and not isinstance(next(loaded.model.children(), None), nn.Flatten):
        return known
    given = (like if isinstance(like, Given) else Given(like)).shape(space)
    return given if known is None or math.prod(given) == math.prod(known) else known


def _in_memory(model: nn.Module, input_shape: tuple[int, ...] | None) -> LoadedModel:
    """A copy of the user's module, as if it came from a file without metadata."""
    digest = hashlib.sha256(repr(model).encode())
    for name, tensor in model.state_dict().items():
        value = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().tobytes())
    try:
        architecture = describe(model, input_shape)
    except ArchitectureError:
        architecture = None
    text = architecture or f"{type(model).__module__}.{type(model).__qualname__}"
    return LoadedModel(copy.deepcopy(model).eval(), text, {}, digest.hexdigest())


def _guesses(loss: Loss, source: str, outputs: int, space: InputSpace | None) -> list[str]:
    notes = []
    if source == GUESSED:
        notes.append(
            f"The model does not say its loss; {loss} was guessed from {outputs} output(s). Give loss (--loss) to set "
            "it."
        )
    if space is None or not math.isfinite(space.width):
        notes.append(
            "The model does not say the range of its inputs, so none is assumed and pictures are stretched. "
            "Give space (--range) to set it."
        )
    return notes


def _unscaled(given: Space | None, loaded: LoadedModel) -> list[str]:
    """A note where neither the user nor the file says what inputs are subtracted from and divided by."""
    stated = isinstance(given, Stated) and (given.mean is not None or given.std is not None)
    said = stated or isinstance(given, InputSpace)
    if said or loaded.space is not None:
        return []
    return [UNSCALED]


def input_space(given: Space | None, stored: InputSpace | None) -> InputSpace | None:
    """The space that was given; a bare range keeps the stored normalization.

    Raises:
        ValueError: a range whose first number is not the smaller one.
    """
    if given is None or isinstance(given, InputSpace):
        return given or stored
    said = given if isinstance(given, Stated) else Stated(limits=given)
    base = stored or UNBOUNDED
    low, high = said.limits or (base.low, base.high)
    if not low < high:
        raise ValueError(f"range {low:g} {high:g} given; the first number must be the smaller one.")
    mean, std = base.mean if said.mean is None else said.mean, base.std if said.std is None else said.std
    return InputSpace(low, high, mean, std)


def space_config(space: InputSpace | None) -> dict[str, Any]:
    """The space as JSON values that another space does not have."""
    if space is None:
        return {"input_range": None, "normalization": None}
    limits = [side if math.isfinite(side) else str(side) for side in (float(space.low), float(space.high))]
    scales = (torch.as_tensor(scale, dtype=torch.float64).flatten().cpu() for scale in (space.mean, space.std))
    digest = hashlib.sha256(b"/".join(scale.numpy().tobytes() for scale in scales)).hexdigest()
    return {"input_range": limits, "normalization": digest}


def _outputs(model: nn.Module, shape: tuple[int, ...]) -> int:
    parameter = next(model.parameters(), None)
    if parameter is None:
        raise ValueError("the model has no parameters: there is nothing to audit.")
    if math.prod(shape) > LARGEST_INPUT:
        raise ValueError(
            f"inputs of shape {'x'.join(map(str, shape))} have {math.prod(shape):,} numbers; at most {LARGEST_INPUT:,} "
            "are allowed. Give another input_shape (--input-shape)."
        )
    largest = max(float(p.detach().abs().max()) if p.numel() else 0.0 for p in model.parameters())
    if not TINY < largest < HUGE:
        raise ValueError(
            f"the largest of the model's weights is {largest:.3g}: "
            + ("as good as zero, so that they hold nothing" if largest <= TINY else "its training diverged")
            + "; is it the right file?"
        )
    if isinstance(model, nn.Sequential):
        empty = [name for name, p in model.named_parameters() if p.ndim > 1 and not bool((p.abs() > TINY).any())]
        if empty:
            raise ValueError(
                f"{empty[0]} is all zero, so that the outputs do not depend on the inputs: nothing can be read from "
                "these weights; is it the right file?"
            )
    try:
        with torch.no_grad():
            found = model(torch.zeros((2, *shape), dtype=parameter.dtype, device=parameter.device))
    except RuntimeError as error:
        raise ValueError(
            f"the model does not accept inputs of shape {'x'.join(map(str, shape))}: {error}. Give another input_shape "
            "(--input-shape)."
        ) from error
    if found.ndim not in (1, 2) or len(found) != 2:
        raise ValueError(f"the model returns shape {tuple(found.shape)} for 2 samples; (n,) or (n, classes) is needed.")
    return 1 if found.ndim == 1 else found.shape[1]


def _loss(given: Loss | str | None, stored: str | None, outputs: int) -> tuple[Loss, str]:
    if given is not None:
        return Loss(given), GIVEN
    if stored is not None:
        return Loss(stored), STORED
    return (Loss.LOGISTIC if outputs == 1 else Loss.CROSS_ENTROPY), GUESSED


def _decay(given: float | None, stored: str | None) -> float | None:
    if given is None and stored is not None:
        try:
            found = float(stored)
        except ValueError:
            found = math.nan
        if not 0 <= found < math.inf:
            raise ValueError(f"the model file says 'weight_decay' is {stored[:40]!r}; a number from 0 on is needed.")
        return found
    if given is not None and not 0 <= given < math.inf:
        raise ValueError(f"weight_decay={given} given; it must be finite and at least 0.")
    return given
