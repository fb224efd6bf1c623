"""`vestige train`: a model worth auditing, from data you name."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vestige.cli import options
from vestige.cli.app import note, say

if TYPE_CHECKING:
    from vestige.audit.training import Fitted


def train(
    data: options.NamedData = "digits",
    n: options.Drawn = None,
    arch: Annotated[str | None, typer.Option(help="Default: two layers of width 1000.")] = None,
    loss: Annotated[str | None, typer.Option(help="Default: cross_entropy, or logistic for one output.")] = None,
    weight_decay: Annotated[float, typer.Option(min=0.0, help="wd of loss + wd/2 |weights|^2.")] = 1e-3,
    positive: Annotated[str | None, typer.Option(help="Classes that become label 1, commas between: 0,1,8,9.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Draws the samples and the first weights.")] = 0,
    out: Annotated[Path, typer.Option(help="Where the weights go.")] = Path("model.safetensors"),
    threads: options.Threads = None,
    group: Annotated[str | None, typer.Option(help="Average over it: c4, d4, shifts:STRIDE, set:SIZE.")] = None,
) -> None:
    """Train a small network to its margin and save the weights, without the data."""
    options.check_weights_file(out)
    from vestige.audit.training import fit, save, untrained
    from vestige.audit.truth import draw, recipe, split_classes
    from vestige.cli.progress import progress_bar
    from vestige.cli.threads import settle_threads
    from vestige.data.load import load_data

    dataset = load_data(data)
    chosen, _ = draw(split_classes(dataset, positive), n, seed)
    start = untrained(chosen, architecture=arch, group=group, seed=seed)
    settle_threads(threads, sum(p.numel() for p in start.parameters()))
    with progress_bar("training") as bar:
        fitted = fit(start, chosen, loss=loss, weight_decay=weight_decay, group=group, on_step=bar)
    save(fitted, chosen, out, recipe(dataset, n, seed, positive), group)
    show_training(fitted)
    say(f"wrote {out}")


def show_training(fitted: "Fitted") -> None:
    """How the training ended, and what makes the model less worth auditing."""
    trained = fitted.trained
    say(
        f"trained: {fitted.loss} {trained.loss:.3g}, accuracy {trained.accuracy:.1%} after {trained.steps:,} steps "
        f"with weight decay {fitted.weight_decay:g}. {trained.outcome.message}"
    )
    note(trained.warnings)
