"""`vestige probe`: what do a model's activations say of truth?"""

from pathlib import Path
from typing import Annotated

import typer

from vestige.cli import options, words
from vestige.cli.study import show_study

probe = typer.Typer(help="Linear probes, with the controls that say what they found.", no_args_is_help=True)


@probe.command()
def truth(
    data: Annotated[list[Path], typer.Argument(help="CSV files with columns statement and label; each is a topic.")],
    backbone: Annotated[
        str, typer.Option(help="minilm, or package.module:factory of a callable from texts to (n, d).")
    ] = "minilm",
    most: Annotated[int, typer.Option(min=10, help="Statements of a topic, drawn at random.")] = 300,
    kind: Annotated[str, words.word(words.PROBES, "logistic or mass_mean.")] = "logistic",
    seed: options.Seed = 0,
    out: options.Out = None,
) -> None:
    """Say whether a probe for truth goes beyond its topic, and beyond single words."""
    for path in data:
        options.check_file(path)
    from vestige.audit.probe import study_truth
    from vestige.cli.progress import progress_bar

    with progress_bar("embedding") as bar:
        found = study_truth(
            data, backbone=backbone, most=most, kind=kind, seed=seed,
            out=options.folder_of(out, "probe", Path("truth")), on_step=bar,
        )  # fmt: skip
    show_study(found)
