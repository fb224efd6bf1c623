"""`vestige construct separate`: which functions show anything to a network before it is trained?"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from vestige.cli import options
from vestige.cli.app import note, say
from vestige.cli.app import out as console

if TYPE_CHECKING:
    from vestige.construct.separation.targets import SeparatedTarget

KINDS = "sawtooth:DEPTH, wave:POWER, parity:N[:OF_THEM], staircase:N:STEPS, inner:DIM[:FREQUENCY], ball:DIM, neuron:DIM"


def separate(
    targets: Annotated[list[str], typer.Argument(help=KINDS, metavar="TARGET...")],
    samples: Annotated[int, typer.Option(min=16, help="Of each target; the noise falls as one over it.")] = 4096,
    restarts: Annotated[int, typer.Option(min=1, help="Random starts of the network.")] = 3,
    steps: Annotated[int, typer.Option(min=0, help="Of training a shallow network; 0 for none.")] = 1000,
    seed: options.Seed = 0,
    threads: options.Threads = 1,
) -> None:
    """Say of functions that separate depths what shows at the start of training: a verdict in one direction only."""
    from rich.table import Table

    from vestige.cli.threads import settle_threads
    from vestige.construct.separation.learnability import weak_learnability_report
    from vestige.core.rng import child

    chosen = [_read(text) for text in targets]
    settle_threads(threads, 0)
    table = Table(box=None, padding=(0, 1))
    for column in ("target", "gradient signal", "noise floor", "kernel", "trained shallow", "verdict"):
        table.add_column(column, justify="left" if column == "target" else "right")
    reports = [
        weak_learnability_report(
            target,
            samples=samples,
            restarts=restarts,
            shallow_steps=steps,
            generator=child(seed, "separate", target.name),
        )
        for target in chosen
    ]
    for found in reports:
        sizes = f"{found.gradient_signal:.1e}", f"{found.noise_floor:.1e}"
        seen = f"{found.kernel.correlation:.2f} ± {found.kernel.standard_error:.2f}", f"{found.shallow_advantage:.2f}"
        table.add_row(found.target, *sizes, *seen, found.verdict.replace("_", " "))
    console.print(table)
    for found in reports:
        say(found.message)
        note(found.warnings)


def _read(text: str) -> "SeparatedTarget":
    """A target from its name and numbers."""
    from vestige.construct.separation import targets as zoo

    make: dict[tuple[str, int], Callable[..., SeparatedTarget]] = {
        ("sawtooth", 1): zoo.sawtooth_target,
        ("wave", 1): zoo.square_wave_target,
        ("parity", 1): zoo.parity_target,
        ("parity", 2): lambda n, k: zoo.parity_target(n, range(k)),
        ("staircase", 2): zoo.staircase_target,
        ("inner", 1): zoo.inner_product_target,
        ("inner", 2): lambda dimension, rate: zoo.inner_product_target(dimension, frequency=rate),
        ("ball", 1): zoo.ball_indicator_target,
        ("neuron", 1): zoo.single_neuron_target,
    }
    kind, *numbers = text.split(":")
    if (kind, len(numbers)) not in make or not all(n.isascii() and n.isdecimal() and len(n) < 7 for n in numbers):
        raise ValueError(f"target {text!r} given; allowed are {KINDS}, with whole numbers.")
    return make[kind, len(numbers)](*map(int, numbers))
