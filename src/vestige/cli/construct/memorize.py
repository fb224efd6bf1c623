"""`vestige construct memorize`: a network that gives every sample its label, without training."""

from typing import Annotated

import typer

from vestige.cli import options, words
from vestige.cli.construct.written import samples_of, write


def memorize(
    data: options.NamedData,
    out: options.Network,
    n: options.Drawn = None,
    strategy: Annotated[str, words.word(words.STRATEGIES, "sqrt, depth, bits or wide: what to be short in.")] = "sqrt",
    depth: Annotated[int | None, typer.Option(min=1, help="Layers, at most; with --strategy depth.")] = None,
    bits: Annotated[
        int | None, typer.Option(min=1, help="Bits of a code word, at most; with --strategy bits: 51 for float64.")
    ] = None,
    random_labels: Annotated[bool, typer.Option("--random-labels", help="Random labels, of as many classes.")] = False,
    seed: options.Seed = 0,
    report: options.Report = None,
) -> None:
    """Write down a network that gives every sample its label exactly, about sqrt(n) weights in all."""
    options.check_data(data)
    import torch

    from vestige.cli.progress import progress_bar
    from vestige.construct.memorization.memorizer import memorize as memorize_points
    from vestige.core.rng import child

    dataset = samples_of(data, n, balanced=False, seed=seed, verb="memorize")
    draw = child(seed, "construct memorize", "labels")
    labels = torch.randint(len(dataset.classes), (len(dataset),), generator=draw) if random_labels else dataset.y
    limits, generator = {"depth": depth, "bits": bits}, child(seed, "construct memorize")
    with progress_bar("checking") as bar:
        made = memorize_points(dataset.x, labels, strategy=strategy, **limits, generator=generator, on_step=bar)
    network, sizes = made.network, made.numbers
    lines = [
        f"{sizes['points']:,} points: {network.nonzeros:,} weights other than 0, of up to {network.weight_bits:,} "
        f"bits, in {network.depth:,} layers of at most {network.width:,} neurons"
    ]
    if made.packing is not None:
        lines.append(
            f"lanes {sizes['lanes']}, groups in a lane {sizes['groups']:,}, points in a group {sizes['slots']}; bits "
            f"of a key {sizes['key_bits']}, of a label {sizes['label_bits']}, of a code word {sizes['code_bits']:,}"
        )
    write(made, out, *lines, report=report)
