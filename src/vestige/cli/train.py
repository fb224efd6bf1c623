"""`vestige train`: a model worth auditing, from data you name."""

import json
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import nn

from vestige.cli import options
from vestige.cli.app import out as console
from vestige.cli.progress import progress_bar
from vestige.cli.threads import settle_threads
from vestige.cli.truth import draw, recipe, split_classes
from vestige.core.margins import Loss
from vestige.core.rng import child
from vestige.data.dataset import DataSet, centred
from vestige.data.load import load_data
from vestige.nets.architecture import parse_architecture
from vestige.nets.checkpoint import save_model
from vestige.nets.training import Trained, train_to_margin

WIDTH = 1000
FIRST_INIT = 1e-3  # a small first layer lets the data show in it


def train(
    data: Annotated[str, typer.Option(help="digits, mnist, fashion, cifar10, npz:PATH or folder:PATH.")] = "digits",
    n: Annotated[int | None, typer.Option(min=1, help="Samples drawn, in equal shares; default: all.")] = None,
    arch: Annotated[str | None, typer.Option(help="Default: two layers of width 1000.")] = None,
    loss: Annotated[str | None, typer.Option(help="Default: cross_entropy, or logistic for one output.")] = None,
    weight_decay: Annotated[float, typer.Option(min=0.0, help="wd of loss + wd/2 |weights|^2.")] = 1e-3,
    positive: Annotated[str | None, typer.Option(help="Classes that become label 1, commas between: 0,1,8,9.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Draws the samples and the first weights.")] = 0,
    out: Annotated[Path, typer.Option(help="Where the weights go.")] = Path("model.safetensors"),
    threads: options.Threads = None,
) -> None:
    """Train a small network to its margin and save the weights, without the data."""
    if out.suffix != ".safetensors":
        raise ValueError(f"--out {out} given; the weights are written as .safetensors, give such a name.")
    dataset = load_data(data)
    chosen, _ = draw(split_classes(dataset, positive), n, seed)
    trained = fit(chosen, architecture=arch, loss=loss, weight_decay=weight_decay, seed=seed, threads=threads)
    save(trained, chosen, out, recipe(dataset, n, seed, positive))
    report(trained)
    console.print(f"wrote {out}", markup=False)


def fit(
    chosen: DataSet,
    *,
    architecture: str | None,
    loss: str | None,
    weight_decay: float,
    seed: int,
    threads: int | None = None,
) -> tuple[Trained, Loss, float]:
    """Train on the samples minus their mean; returns what came out, the loss and the decay."""
    outputs = 1 if len(chosen.classes) == 2 else len(chosen.classes)
    size = torch.Size(chosen.shape).numel()
    text = architecture or f"mlp:{size}-{WIDTH}-{outputs}"
    model = parse_architecture(text, first_init=FIRST_INIT, generator=child(seed, "train", "init"))
    settle_threads(threads, sum(p.numel() for p in model.parameters()))
    x, _ = centred(chosen)
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


def save(fitted: tuple[Trained, Loss, float], chosen: DataSet, path: Path, made_from: dict[str, str]) -> None:
    """Write the weights with what an audit may know: shape, loss, decay, input range and the mean subtracted."""
    trained, loss, decay = fitted
    metadata = {
        "input_shape": json.dumps(list(chosen.shape)),
        "loss": str(loss),
        "weight_decay": repr(decay),
        "space": json.dumps({"low": chosen.space.low, "high": chosen.space.high}),
    }
    save_model(trained.model, path, metadata={**metadata, **made_from}, tensors={"mean": centred(chosen)[1]})


def report(fitted: tuple[Trained, Loss, float]) -> None:
    """Say how the training ended, and what makes the model less worth auditing."""
    trained, loss, decay = fitted
    console.print(
        f"trained: {loss} {trained.loss:.3g}, accuracy {trained.accuracy:.1%} after {trained.steps:,} steps "
        f"with weight decay {decay:g}. {trained.outcome.message}",
        markup=False,
        soft_wrap=True,
    )
    for warning in trained.warnings:
        console.print(f"note: {warning}", style="yellow", markup=False, soft_wrap=True)
