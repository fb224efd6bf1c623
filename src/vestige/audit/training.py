"""The training behind `vestige train` and `vestige demo`: fit, and save without the data."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from vestige.audit.groups import average_of, mean_of
from vestige.core.margins import Loss
from vestige.core.outcome import OnStep
from vestige.core.rng import child
from vestige.data.dataset import DataSet
from vestige.nets.architecture import parse_architecture
from vestige.nets.checkpoint import save_model
from vestige.nets.groups import parse_group
from vestige.nets.orbits import check_invariant
from vestige.nets.training import Trained, train_to_margin
from vestige.optim.locally_optimal import LocallyOptimalStep

WIDTH = 1000
MOMENTUM, STEPS = 0.9, 4_000  # of locally optimal steps, as many as one cycle has
FIRST_INIT = 1e-3  # a small first layer lets the data show in it


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained network, and the loss and the weight decay it was trained with."""

    trained: Trained
    loss: Loss
    weight_decay: float


def untrained(
    chosen: DataSet, *, architecture: str | None = None, group: str | None = None, seed: int = 0
) -> nn.Module:
    """The network before its training: the architecture given, else two layers, averaged over the group if any.

    Raises:
        ValueError: an architecture that the group does not leave alone.
    """
    outputs = 1 if len(chosen.classes) == 2 else len(chosen.classes)
    size = torch.Size(chosen.shape).numel()
    plain = f"mlp:{size}-{WIDTH}-{outputs}"
    average = average_of(group, chosen, WIDTH, outputs) if group else plain
    text = architecture or average
    if group and text.startswith("mlp:"):
        raise ValueError(
            f"{text} given with the group {group} (--group), over which it does not average. Leave the architecture "
            f"(--arch) out for {average}, or write one like it."
        )
    start = parse_architecture(text, first_init=FIRST_INIT, generator=child(seed, "train", "init"))
    if architecture and group:
        check_invariant(start, tuple(chosen.shape), parse_group(group))
    return start


def fit(
    model: nn.Module,
    chosen: DataSet,
    *,
    loss: Loss | str | None = None,
    weight_decay: float = 0.0,
    group: str | None = None,
    local_steps: bool = False,
    on_step: OnStep | None = None,
) -> Fitted:
    """Train on the samples minus their mean, projected on what the group leaves alone if there is one.

    Args:
        model: the start.
        chosen: the training samples.
        loss: None for logistic with one output, else cross-entropy.
        weight_decay: of the training.
        group: that the network is averaged over.
        local_steps: the step that descends most each time, instead of a schedule.
        on_step: progress.

    Raises:
        ValueError: a network that does not take the samples.
    """
    x = chosen.x - mean_of(chosen, group)
    picked = Loss(loss) if loss else (Loss.LOGISTIC if _outputs(model, x) == 1 else Loss.CROSS_ENTROPY)
    trained = train_to_margin(
        model,
        x.to(next(model.parameters())),
        chosen.y,
        loss=picked,
        weight_decay=weight_decay,
        schedule="constant" if local_steps else None,
        momentum=MOMENTUM if local_steps else None,
        steps=STEPS if local_steps else None,
        step_size=locally_optimal if local_steps else None,
        on_step=on_step,
    )
    return Fitted(trained, picked, weight_decay)


def locally_optimal(base: torch.optim.Optimizer, objective: Callable[[], torch.Tensor]) -> torch.optim.Optimizer:
    """The base with the step size of arXiv 2311.13877; without noise, slope and curvature are those at hand."""
    return LocallyOptimalStep(base, nn.Module(), lambda *_: objective(), [None], average=0.5, every=5)


def _outputs(model: nn.Module, x: torch.Tensor) -> int:
    with torch.no_grad():
        try:
            found = model(x[:1].to(next(model.parameters())))
        except RuntimeError as error:
            raise ValueError(
                f"the architecture does not take samples of shape {tuple(x.shape[1:])}: {error}"
            ) from error
    return 1 if found.ndim == 1 else found.shape[1]


def save(fitted: Fitted, chosen: DataSet, path: Path, made_from: dict[str, str], group: str | None = None) -> None:
    """Write the weights with what an audit may know: shape, loss, decay, range, columns and the mean subtracted."""
    metadata = {
        "input_shape": json.dumps(list(chosen.shape)),
        "loss": str(fitted.loss),
        "weight_decay": repr(fitted.weight_decay),
    }
    if math.isfinite(chosen.space.width):
        metadata["space"] = json.dumps({"low": chosen.space.low, "high": chosen.space.high})
    if chosen.columns:
        metadata["columns"] = json.dumps(chosen.columns)
    save_model(fitted.trained.model, path, metadata={**metadata, **made_from}, tensors={"mean": mean_of(chosen, group)})
