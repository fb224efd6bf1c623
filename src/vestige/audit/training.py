"""The training behind `vestige train` and `vestige demo`: fit, save without the data, say how it ended."""

import json
from pathlib import Path

import torch
from torch import nn

from vestige.audit.groups import average_of, mean_of
from vestige.cli.app import note
from vestige.cli.app import out as console
from vestige.cli.progress import progress_bar
from vestige.cli.threads import settle_threads
from vestige.core.margins import Loss
from vestige.core.rng import child
from vestige.data.dataset import DataSet
from vestige.nets.architecture import parse_architecture
from vestige.nets.checkpoint import save_model
from vestige.nets.training import Trained, train_to_margin

WIDTH = 1000
FIRST_INIT = 1e-3  # a small first layer lets the data show in it


def fit(
    chosen: DataSet,
    *,
    architecture: str | None,
    loss: str | None,
    weight_decay: float,
    seed: int,
    threads: int | None = None,
    group: str | None = None,
) -> tuple[Trained, Loss, float]:
    """Train on the samples minus their mean; returns what came out, the loss and the decay.

    A group averages the default network over it, and the mean with it.
    """
    outputs = 1 if len(chosen.classes) == 2 else len(chosen.classes)
    size = torch.Size(chosen.shape).numel()
    plain = f"mlp:{size}-{WIDTH}-{outputs}"
    text = architecture or (average_of(group, chosen, WIDTH, outputs) if group else plain)
    model = parse_architecture(text, first_init=FIRST_INIT, generator=child(seed, "train", "init"))
    settle_threads(threads, sum(p.numel() for p in model.parameters()))
    x = chosen.x - mean_of(chosen, group)
    picked = Loss(loss) if loss else (Loss.LOGISTIC if _outputs(model, x) == 1 else Loss.CROSS_ENTROPY)
    with progress_bar("training") as bar:
        trained = train_to_margin(
            model,
            x.to(next(model.parameters())),
            chosen.y,
            loss=picked,
            weight_decay=weight_decay,
            on_step=bar,
        )
    return trained, picked, weight_decay


def _outputs(model: nn.Module, x: torch.Tensor) -> int:
    with torch.no_grad():
        try:
            found = model(x[:1].to(next(model.parameters())))
        except RuntimeError as error:
            raise ValueError(f"--arch does not take samples of shape {tuple(x.shape[1:])}: {error}") from error
    return 1 if found.ndim == 1 else found.shape[1]


def save(
    fitted: tuple[Trained, Loss, float],
    chosen: DataSet,
    path: Path,
    made_from: dict[str, str],
    group: str | None = None,
) -> None:
    """Write the weights with what an audit may know: shape, loss, decay, input range and the mean subtracted."""
    trained, loss, decay = fitted
    metadata = {
        "input_shape": json.dumps(list(chosen.shape)),
        "loss": str(loss),
        "weight_decay": repr(decay),
        "space": json.dumps({"low": chosen.space.low, "high": chosen.space.high}),
    }
    save_model(trained.model, path, metadata={**metadata, **made_from}, tensors={"mean": mean_of(chosen, group)})


def report(fitted: tuple[Trained, Loss, float]) -> None:
    """Say how the training ended, and what makes the model less worth auditing."""
    trained, loss, decay = fitted
    console.print(
        f"trained: {loss} {trained.loss:.3g}, accuracy {trained.accuracy:.1%} after {trained.steps:,} steps "
        f"with weight decay {decay:g}. {trained.outcome.message}",
        markup=False,
        soft_wrap=True,
    )
    note(trained.warnings)
