"""`vestige construct separate`: which functions show anything to a network before it is trained?"""

from typing import Annotated

import typer

from vestige.cli import options
from vestige.cli.app import note, say
from vestige.cli.app import out as console
from vestige.construct.separation import KINDS

COLUMNS = "target", "gradient signal", "noise floor", "kernel", "trained shallow", "verdict"


def separate(
    targets: Annotated[list[str], typer.Argument(help=KINDS, metavar="TARGET...")],
    samples: Annotated[int, typer.Option(min=16, help="Of each target; the noise falls as one over it.")] = 4096,
    restarts: Annotated[int, typer.Option(min=1, help="Random starts of the network.")] = 3,
    steps: Annotated[int, typer.Option(min=0, help="Of training a shallow network; 0 for none.")] = 1000,
    seed: options.Seed = 0,
    threads: options.Threads = 1,
) -> None:
    """Say of functions that separate depths what shows at the start of training: a verdict in one direction only."""
    known = [each.partition(":")[0] for each in KINDS.split(", ")]
    if odd := next((text for text in targets if text.partition(":")[0] not in known), None):
        raise ValueError(f"target {odd[:80]!r} given; allowed are {KINDS}.")
    from rich.table import Table

    from vestige.cli.threads import settle_threads
    from vestige.construct.separation.learnability import weak_learnability_report
    from vestige.construct.separation.targets import parse_target
    from vestige.core.rng import child

    chosen = [parse_target(text) for text in targets]
    settle_threads(threads, 0)
    table, reports = Table(*COLUMNS, box=None, padding=(0, 1)), []
    for target in chosen:
        draw = child(seed, "separate", target.name)
        found = weak_learnability_report(
            target, samples=samples, restarts=restarts, shallow_steps=steps, generator=draw
        )
        sizes = f"{found.gradient_signal:.1e}", f"{found.noise_floor:.1e}"
        seen = f"{found.kernel.correlation:.2f} ± {found.kernel.standard_error:.2f}", f"{found.shallow_advantage:.2f}"
        table.add_row(found.target, *sizes, *seen, found.verdict.replace("_", " "))
        reports.append(found)
    console.print(table)
    for found in reports:
        say(found.message)
        note(found.warnings)
