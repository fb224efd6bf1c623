"""`vestige construct robust`: a network that keeps the label in a ball around every sample."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vestige.cli import options
from vestige.cli.app import note
from vestige.cli.app import out as console

if TYPE_CHECKING:
    from vestige.construct.exact.exact_construction import ExactConstruction


def robust(
    data: Annotated[str, typer.Option(help="digits, mnist, fashion, cifar10, npz:PATH or folder:PATH.")],
    out: Annotated[Path, typer.Option(help="File for the network and its certificate; `vestige verify` reads it.")],
    n: Annotated[int | None, typer.Option(min=1, help="Samples drawn; default: all.")] = None,
    width: Annotated[int | None, typer.Option(help="m + 3 for a projection to m dimensions; default: by n.")] = None,
    norm: Annotated[str, typer.Option(help="Exponent of the balls' norm: 1, 2, inf, ...")] = "2",
    eps: Annotated[float | None, typer.Option(help="Radius of the balls; default: what the width allows.")] = None,
    projection: Annotated[str, typer.Option(help="random, optimized or identity.")] = "random",
    layout: Annotated[str, typer.Option(help="narrow, or parallel: the same function in few wide layers.")] = "narrow",
    seed: options.Seed = 0,
) -> None:
    """Write down a narrow network that gives every sample's label in the whole ball around it, exactly."""
    from vestige.cli.progress import progress_bar
    from vestige.construct.file.saved import save
    from vestige.construct.robust.memorizer import memorize_robustly
    from vestige.core.rng import child
    from vestige.data.dataset import sample
    from vestige.data.load import load_data

    dataset = load_data(data)
    if n is not None and n != len(dataset):
        dataset, _ = sample(dataset, n, generator=child(seed, "construct robust", "data"))
    with progress_bar("constructing") as bar:
        made = memorize_robustly(
            dataset.x,
            dataset.y,
            width=width,
            norm=norm,
            eps=eps,
            projection=projection,
            layout=layout,
            generator=child(seed, "construct robust"),
            on_step=bar,
        )
    save(made, out)
    _show(made, norm)
    console.print(f"wrote {out}", markup=False, soft_wrap=True)


def _show(made: "ExactConstruction", norm: str) -> None:
    from vestige.cli.verify import show_certificate

    found, network = made.numbers, made.network
    console.print(
        f"{found['samples']:,} samples keep their label within l_{norm} radius {found['eps']:.4g}; any function has "
        f"less than {found['ceiling']:.4g}. Width {network.width:,}, {network.depth - 1:,} hidden layers, "
        f"{network.nonzeros:,} weights other than 0, of up to {network.weight_bits:,} bits",
        style="bold",
        markup=False,
        soft_wrap=True,
    )
    if "mantissa_bits" in found:
        console.print(f"floats with {found['mantissa_bits']} bits of mantissa keep the labels too", soft_wrap=True)
    note(made.warnings)
    show_certificate(made.certificate)
