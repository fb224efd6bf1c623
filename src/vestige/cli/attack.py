"""`vestige attack`: how easily is this model fooled?"""

from pathlib import Path
from typing import Annotated

import typer

from vestige.cli import options


def attack(
    model: Annotated[
        Path | None, typer.Argument(help="Weights: .safetensors; default: the small robust network that is shipped.")
    ] = None,
    data: Annotated[
        str, typer.Option(help="Labelled inputs, the test part: digits, npz:PATH, folder:PATH, ...")
    ] = "digits",
    eps: Annotated[str, typer.Option(help="Radius in units of the data: 8/255 or 0.03.")] = "0.15",
    norm: Annotated[str, typer.Option(help="linf, l2 or l1.")] = "linf",
    preset: Annotated[str, typer.Option(help="fast, standard (MALT) or autoattack; or stages with commas.")] = "fast",
    n: Annotated[int, typer.Option(min=1, help="Samples attacked, in equal shares of the classes.")] = 200,
    theory: Annotated[
        bool, typer.Option("--theory", help="Say also what theory makes of it: why it is fooled.")
    ] = False,
    pair: Annotated[str | None, typer.Option(help="Two classes for --theory's common direction, such as 3,8.")] = None,
    out: options.Out = None,
    seed: options.Seed = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples differentiated together.")] = 256,
    arch: options.Arch = None,
    trust_pickle: options.Pickle = False,
    input_shape: options.Shape = None,
    input_range: options.Range = None,
    threads: options.Threads = None,
) -> None:
    """Measure robust accuracy with adversarial examples, and show them in a report."""
    from vestige.audit.robustness import Attack, attack_model
    from vestige.audit.target import read_target
    from vestige.cli.threads import settle_threads

    target = read_target(model or shipped(), arch, input_shape, input_range, trust_pickle=trust_pickle)
    settle_threads(threads, target.parameters)
    attack_model(target, Attack(data, eps, norm, preset, n, seed, batch_size, theory, pair), out)


def shipped() -> Path:
    """The adversarially trained network for 8 x 8 digits that comes with the package."""
    import vestige.attack

    return Path(vestige.attack.__file__).with_name("robust_digits.safetensors")
