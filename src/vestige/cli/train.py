"""`vestige train`: a model worth auditing, from data you name."""

from pathlib import Path
from typing import Annotated

import typer

from vestige.cli import options, words
from vestige.cli.app import note, say


def train(
    data: options.NamedData = "digits",
    n: options.Drawn = None,
    architecture: Annotated[str | None, typer.Option("--arch", help="Default: two layers of width 1000.")] = None,
    loss: Annotated[str | None, words.word(words.LOSSES, "Default: cross_entropy, or logistic for one output.")] = None,
    weight_decay: Annotated[float, typer.Option(min=0.0, help="wd of loss + wd/2 |weights|^2.")] = 1e-3,
    positive: Annotated[str | None, typer.Option(help="Classes that become label 1, commas between: 0,1,8,9.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Draws the samples and the first weights.")] = 0,
    out: Annotated[
        Path, typer.Option(parser=options.read_weights_file, metavar="FILE", help="Where the weights go.")
    ] = Path("model.safetensors"),
    threads: options.Threads = None,
    group: Annotated[str | None, typer.Option(help="Average over it: c4, d4, shifts:STRIDE, set:SIZE.")] = None,
    step_size: Annotated[str, typer.Option(help="schedule, or auto: the step that descends most.")] = "schedule",
) -> None:
    """Train a small network to its margin and save the weights, without the data."""
    options.check_data(data)
    if step_size not in ("schedule", "auto"):
        raise ValueError(f"--step-size {step_size} given; allowed are schedule and auto.")
    train_and_save(
        data, out, n=n, architecture=architecture, loss=loss, weight_decay=weight_decay, positive=positive, seed=seed,
        threads=threads, group=group, local_steps=step_size == "auto",
    )  # fmt: skip
    say(f"wrote {out}")


def train_and_save(
    data: str,
    out: Path,
    *,
    n: int | None,
    seed: int,
    weight_decay: float,
    architecture: str | None = None,
    loss: str | None = None,
    positive: str | None = None,
    threads: int | None = None,
    group: str | None = None,
    local_steps: bool = False,
) -> None:
    """What `vestige train` does, which `vestige demo` does too; says how it ended."""
    from vestige.audit.training import fit, save, untrained
    from vestige.audit.truth import draw, recipe, split_classes
    from vestige.cli.progress import progress_bar
    from vestige.cli.threads import settle_threads
    from vestige.data.load import load_data

    dataset = load_data(data)
    chosen, _ = draw(split_classes(dataset, positive), n, seed)
    start = untrained(chosen, architecture=architecture, group=group, seed=seed)
    settle_threads(threads, sum(p.numel() for p in start.parameters()))
    with progress_bar("training") as bar:
        fitted = fit(
            start, chosen, loss=loss, weight_decay=weight_decay, group=group, local_steps=local_steps, on_step=bar
        )
    save(fitted, chosen, out, recipe(dataset, n, seed, positive), group)
    trained = fitted.trained
    say(
        f"trained: {fitted.loss} {trained.loss:.3g}, accuracy {trained.accuracy:.1%} after {trained.steps:,} steps "
        f"with weight decay {fitted.weight_decay:g}. {trained.outcome.message}"
    )
    note(trained.warnings)
