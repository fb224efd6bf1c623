"""`vestige construct`: networks whose weights are computed, each with its certificate."""

import typer

construct = typer.Typer(
    help="Compute the weights of a network: memorise, memorise robustly, make narrow, prune.", no_args_is_help=True
)
