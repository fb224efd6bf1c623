"""`vestige landscape` and `vestige overfit`: where training leads, and what it makes of noise in labels."""

from pathlib import Path
from typing import Annotated

import typer

from vestige.cli import options, words
from vestige.cli.study import show_study

landscape = typer.Typer(
    help="Exact landscapes: one neuron, or a student network that imitates a teacher.", no_args_is_help=True
)
Numbers = Annotated[str, typer.Option(help="Numbers with commas.")]


@landscape.command()
def neuron(
    dimension: Annotated[int, typer.Option(min=1, help="Of the inputs.")] = 10,
    bias: Annotated[float | None, typer.Option(help="Of the teacher, of length 1; default: no biases.")] = None,
    inputs: Annotated[str, typer.Option(help="gaussian, ball or sphere.")] = "gaussian",
    init_scale: Annotated[float, typer.Option(help="Length of the starting weights.")] = 0.5,
    restarts: Annotated[int, typer.Option(min=1, help="Starts.")] = 100,
    steps: Annotated[int, typer.Option(min=1, help="Of gradient descent, at most.")] = 2000,
    seed: options.Seed = 0,
    out: options.Out = None,
) -> None:
    """Say of many starts of one ReLU neuron which learn, which never will, and which nothing is proved of."""
    from vestige.audit.landscape import study_neuron
    from vestige.cli.progress import progress_bar

    with progress_bar("descending") as bar:
        found = study_neuron(
            dimension=dimension, bias=bias, inputs=inputs, init_scale=init_scale, restarts=restarts, steps=steps,
            seed=seed, out=options.folder_of(out, "landscape", Path("neuron")), on_step=bar,
        )  # fmt: skip
    show_study(found)


@landscape.command()
def teacher(
    k: Annotated[int, typer.Option(min=1, help="Neurons of the teacher, orthonormal.")] = 10,
    n: Annotated[int | None, typer.Option(min=1, help="Neurons of the student; default: as many.")] = None,
    restarts: Annotated[int, typer.Option(min=1, help="Starts.")] = 100,
    steps: Annotated[int, typer.Option(min=1, help="Of gradient descent, at most.")] = 20_000,
    seed: options.Seed = 0,
    out: options.Out = None,
) -> None:
    """Find minima that are not global, prove each, and say what one neuron more makes of them."""
    from vestige.audit.landscape import study_minima
    from vestige.cli.progress import progress_bar

    with progress_bar("descending") as bar:
        found = study_minima(
            k=k, n=n, restarts=restarts, steps=steps, seed=seed,
            out=options.folder_of(out, "landscape", Path("teacher")), on_step=bar,
        )  # fmt: skip
    show_study(found)


def overfit(
    fit: Annotated[
        str, words.word(words.LEARNERS, "margin, network, network_without_bias or nearest_neighbor.")
    ] = "margin",
    noise_levels: Annotated[str, typer.Option("--noise", help="Numbers with commas.")] = "0.1,0.2,0.3",
    dims: Numbers = "1",
    sizes: Numbers = "100",
    repeats: Annotated[int, typer.Option(min=1, help="Independent samples of each; 2 or more for an interval.")] = 5,
    seed: options.Seed = 0,
    out: options.Out = None,
) -> None:
    """Say how a model that fits noisy labels takes to new inputs: benign, tempered or catastrophic."""
    from vestige.audit.landscape import study_overfitting
    from vestige.cli.progress import progress_bar

    with progress_bar("fitting") as bar:
        found = study_overfitting(
            fit, noise_levels=options.read_numbers(noise_levels), dims=options.read_integers(dims),
            sizes=options.read_integers(sizes), repeats=repeats, seed=seed,
            out=options.folder_of(out, "overfit", Path(fit)), on_step=bar,
        )  # fmt: skip
    show_study(found)
