"""A trained network to be solved for its training data: what is given, checked, and what is expected of the inputs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vestige.core.descent import Checkpoint
from vestige.core.margins import Loss
from vestige.core.modes import evaluating
from vestige.core.outcome import OnStep, Step
from vestige.core.space import InputSpace
from vestige.reconstruct.weights.chain import Chain

HISTORY = 200  # steps kept in the result
SPREAD = 0.25  # standard deviation of pixels, as a share of the valid range

Box = tuple[Tensor, Tensor]


class Recorder:
    """Passes steps on, and keeps a thinned history."""

    def __init__(self, then: OnStep | None):
        self.then, self.kept, self.count = then, [], 0

    def __call__(self, step: Step) -> None:
        if self.count % 50 == 0:
            self.kept.append(step)
            if len(self.kept) > 2 * HISTORY:
                self.kept = self.kept[::2]
        self.count += 1
        if self.then is not None:
            self.then(step)


@dataclass(frozen=True, eq=False, kw_only=True)
class Problem:
    """What every solver needs; the options as `reconstruct_from_weights` has them, None for each solver's own default.

    Attributes:
        model: a trained network in evaluation mode.
        shape: of one input.
        outputs: how many the model has.
        loss: it was trained with.
        weight_decay: it was trained with, if known.
        reference: parameters before training, if known.
        space: range of valid inputs and normalization.
        n_candidates: of a restart.
        restarts: independent starts.
        steps: of one search.
        generator: source of the starts.
        recorder: takes the progress.
        checkpoint: where the state is saved.
    """

    model: nn.Module
    shape: tuple[int, ...]
    outputs: int
    loss: Loss
    weight_decay: float | int | None
    reference: Mapping[str, Tensor] | None = None
    space: InputSpace | None
    n_candidates: int | None
    restarts: int | None
    steps: int | None
    generator: torch.Generator
    recorder: Recorder
    checkpoint: Checkpoint | None

    @property
    def zero_sum(self) -> bool:
        """Whether output multipliers sum to zero; then they also have the form of cross-entropy."""
        return self.loss is Loss.CROSS_ENTROPY

    def spread_and_box(self, chain: Chain | None) -> tuple[float, Box | None]:
        """Standard deviation to expect of an input's entries, and the box of valid inputs, flattened."""
        space, like = self.space, next(self.model.parameters())
        if space is not None and math.isfinite(space.low) and math.isfinite(space.high):
            low, high = space.bounds(self.shape, like)
            return SPREAD * float((high - low).mean()), (low.flatten(), high.flatten())
        if chain is not None and chain.has_bias[0] and float(chain.target_biases[0].norm()) > 0:
            # [W b] = sum s_i [x_i 1]: the ratio of norms is that of the samples to 1.
            ratio = float(chain.target_weights[0].norm() / chain.target_biases[0].norm())
            return max(ratio / math.prod(self.shape) ** 0.5, 1e-6), None
        return 1.0, None


def check_model(model: nn.Module, shape: tuple[int, ...]) -> int:
    """Refuse a model that cannot be solved for its data; how many outputs it has."""
    params = [p for p in model.parameters() if p.requires_grad]
    if not params:
        raise ValueError(
            "the model has no trainable parameter; was requires_grad turned off? Turn it on for the audit."
        )
    bad = [name for name, p in model.named_parameters() if not bool(torch.isfinite(p).all())]
    if bad:
        raise ValueError(
            f"{len(bad)} parameters hold NaN or infinite values, the first is {bad[0]!r}; nothing can be read."
        )
    if any(float(p.detach().double().square().sum()) > torch.finfo(p.dtype).max for p in params):
        raise ValueError(
            f"weights up to {max(float(p.detach().abs().max()) for p in params):.0e} given, whose squares overflow "
            f"{params[0].dtype}; did the training diverge? A trained network has none above 1e6."
        )
    if not any(bool(p.any()) for p in params):
        raise ValueError("the trainable weights are all zero; nothing can be read. Was the file saved before training?")
    try:
        with torch.no_grad():
            two = torch.zeros(2, *shape, dtype=params[0].dtype, device=params[0].device)
            with evaluating(model):
                out = model(two)
    except RuntimeError as error:
        raise ValueError(f"the model refuses an input of shape {shape}: {error}. Is input_shape right?") from error
    if not isinstance(out, Tensor) or out.ndim > 2 or len(out) != 2:
        raise ValueError("the model must return one row of outputs for each input.")
    return 1 if out.ndim == 1 else out.shape[1]


def check_layers(chain: Chain) -> None:
    """Refuse a chain with a layer that nothing passes: all zero, or so small that its squares are."""
    for k, weight in enumerate(chain.weights):
        if not float(weight.square().sum()) > 0:
            raise ValueError(
                f"layer {k + 1} has weights of norm {float(weight.double().norm()):.0e}: nothing passes it, and "
                "nothing can be read. Was the file saved before training, or was the layer pruned?"
            )


def check_training(
    model: nn.Module, weight_decay: float | int | None, reference: Mapping[str, Tensor] | None = None
) -> None:
    """Refuse what cannot be known of a training."""
    if weight_decay is not None and not (math.isfinite(weight_decay) and weight_decay >= 0):
        raise ValueError(f"weight_decay={weight_decay} given; it must be finite and not negative.")
    for name, p in model.named_parameters():
        if reference is not None and (name not in reference or reference[name].shape != p.shape):
            raise ValueError(
                f"reference_params lacks {name!r} of shape {tuple(p.shape)}; give the state before training."
            )
