"""`vestige construct robust`: a network that keeps the label in a ball around every sample."""

from typing import Annotated

import typer

from vestige.cli import options, words
from vestige.cli.construct.written import samples_of, write


def robust(
    data: options.NamedData,
    out: options.Network,
    n: options.Drawn = None,
    width: Annotated[int | None, typer.Option(help="m + 3 for a projection to m dimensions; default: by n.")] = None,
    norm: Annotated[str, typer.Option(help="Exponent of the balls' norm: 1, 2, inf, ...")] = "2",
    eps: Annotated[float | None, typer.Option(help="Radius of the balls; default: what the width allows.")] = None,
    projection: Annotated[str, words.word(words.PROJECTIONS, "random, optimized or identity.")] = "random",
    layout: Annotated[str, words.word(words.LAYOUTS, "narrow, or parallel: the same in few wide layers.")] = "narrow",
    seed: options.Seed = 0,
    report: options.Report = None,
) -> None:
    """Write down a narrow network that gives every sample's label in the whole ball around it, exactly."""
    options.check_data(data)
    from vestige.cli.progress import progress_bar
    from vestige.construct.robust.memorizer import memorize_robustly
    from vestige.core.rng import child

    dataset = samples_of(data, n, balanced=True, seed=seed, verb="robust")
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
    found, network = made.numbers, made.network
    lines = [
        f"{found['points']:,} samples keep their label within l_{norm} radius {found['eps']:.4g}; any function has "
        f"less than {found['ceiling']:.4g}. Width {network.width:,}, {network.depth - 1:,} hidden layers, "
        f"{network.nonzeros:,} weights other than 0, of up to {network.weight_bits:,} bits"
    ]
    if "mantissa_bits" in found:
        lines.append(f"floats with {found['mantissa_bits']} bits of mantissa keep the labels too")
    write(made, out, *lines, report=report)
