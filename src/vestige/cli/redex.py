"""`vestige redex fit`: a classifier of quadratic layers, learned by convex programs."""

from pathlib import Path
from typing import Annotated

import typer

from vestige.cli import options, words
from vestige.cli.app import note, say

redex = typer.Typer(help="Layers of quadratic features, learned by convex programs.", no_args_is_help=True)


@redex.callback()
def shared() -> None:
    """Layers of quadratic features, learned by convex programs."""


@redex.command()
def fit(
    data: options.NamedData = "digits",
    n: options.Drawn = None,
    positive: Annotated[str | None, typer.Option(help="Classes that become label 1, commas between: 0,1,8,9.")] = None,
    layers: Annotated[int, typer.Option(min=1, help="Of quadratic features.")] = 1,
    ridge: Annotated[float, typer.Option(help="l_2, positive.")] = 1e-3,
    trace_penalty: Annotated[float, typer.Option(help="l_1; larger values give fewer directions.")] = 0.0,
    solver: Annotated[str, words.word(words.PROGRAMS, "auto, program, proximal or splitting.")] = "auto",
    seed: options.Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(parser=options.read_weights_file, metavar="FILE", help="For the layers."),
    ] = None,
) -> None:
    """Fit three quarters of the samples, and say how the rest is classified and how near the optimum is, by proof."""
    options.check_data(data)
    from vestige.audit.redex import fit_redex, save_redex
    from vestige.audit.truth import draw, split_classes
    from vestige.data.load import load_data

    chosen, _ = draw(split_classes(load_data(data), positive), n, seed)
    found = fit_redex(chosen, layers=layers, ridge=ridge, trace_penalty=trace_penalty, solver=solver, seed=seed)
    say(f"accuracy {found.accuracy:.1%}, on held-out samples {found.held_out_accuracy:.1%}", style="bold")
    for i, (gap, rows) in enumerate(zip(found.gaps, found.rows, strict=True), 1):
        say(f"layer {i}: {rows} directions; at most {max(gap, 0.0):.1e} above the optimum of its program, proved")
    note(found.warnings)
    if out is not None:
        save_redex(found, out)
        say(f"wrote {out}")
