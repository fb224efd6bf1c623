"""`vestige graphs`: what do tokens of graphs lose, and what do larger graphs change?"""

from pathlib import Path
from typing import Annotated

import typer

from vestige.cli import options
from vestige.cli.study import show_study

graphs = typer.Typer(help="Graph sets, before training: what tokens lose, what sizes change.", no_args_is_help=True)
GraphSet = Annotated[Path, typer.Argument(help="Graphs of the TU collection in text format; may be gzipped.")]
Depths = Annotated[str, typer.Option(help="Numbers of layers, with commas.")]


@graphs.command()
def tokens(
    data: GraphSet,
    depths: Depths = "1,2",
    steps: Annotated[int, typer.Option(min=0, help="Of each training of a transformer; 0 for none.")] = 0,
    repeats: Annotated[int, typer.Option(min=1, help="Trainings of each kind and depth.")] = 3,
    seed: options.Seed = 0,
    out: options.Out = None,
) -> None:
    """Say what each kind of token loses, and what a transformer makes of it."""
    options.check_file(data)
    from vestige.audit.graphs import study_tokens
    from vestige.cli.progress import progress_bar

    with progress_bar("training") as bar:
        found = study_tokens(
            data, depths=options.read_integers(depths), steps=steps, repeats=repeats, seed=seed,
            out=options.folder_of(out, "graphs-tokens", data), on_step=bar,
        )  # fmt: skip
    show_study(found)


@graphs.command()
def shift(
    data: GraphSet,
    test: Annotated[Path | None, typer.Option(help="The graphs to be met; default: the largest of DATA.")] = None,
    small: Annotated[float, typer.Option(help="Share of the smallest graphs, for training.")] = 0.5,
    large: Annotated[float, typer.Option(help="Share of the largest, to be met.")] = 0.1,
    depths: Depths = "1,2,3",
    features: Annotated[bool, typer.Option(help="Whether tags of nodes are part of a pattern.")] = True,
    seed: options.Seed = 0,
    out: options.Out = None,
) -> None:
    """Say before training whether small graphs tell a network what to do on large ones."""
    options.check_file(data)
    options.check_file(test)
    from vestige.audit.graphs import study_size_shift
    from vestige.cli.progress import progress_bar

    with progress_bar("comparing") as bar:
        found = study_size_shift(
            data, test=test, small=small, large=large, depths=options.read_integers(depths), features=features,
            seed=seed, out=options.folder_of(out, "graphs-shift", data), on_step=bar,
        )  # fmt: skip
    show_study(found)
