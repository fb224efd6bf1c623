"""`vestige construct`: networks whose weights are computed, each with its certificate."""

import typer

from vestige.cli.construct.counter import counter
from vestige.cli.construct.crq import crq
from vestige.cli.construct.graph import graph
from vestige.cli.construct.memorize import memorize
from vestige.cli.construct.narrow import narrow
from vestige.cli.construct.prune import prune
from vestige.cli.construct.recall import recall
from vestige.cli.construct.robust import robust
from vestige.cli.construct.separate import separate

construct = typer.Typer(
    help="Compute the weights of a network: memorize, memorize robustly, make narrow, prune.", no_args_is_help=True
)
construct.command()(memorize)
construct.command()(robust)
construct.command()(narrow)
construct.command()(prune)
construct.command()(separate)
construct.command()(counter)
construct.command()(crq)
construct.command()(recall)
construct.command()(graph)
