"""`vestige construct memorize`: a network that gives every sample its label, without training."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vestige.cli import options
from vestige.cli.app import note
from vestige.cli.app import out as console

if TYPE_CHECKING:
    from torch import Tensor

    from vestige.construct.memorization.memorizer import Memorization
    from vestige.data.dataset import DataSet


def memorize(
    data: Annotated[str, typer.Option(help="digits, mnist, fashion, cifar10, npz:PATH or folder:PATH.")],
    out: Annotated[Path, typer.Option(help="File for the network and its certificate; `vestige verify` reads it.")],
    n: Annotated[int | None, typer.Option(min=1, help="Samples drawn; default: all.")] = None,
    strategy: Annotated[str, typer.Option(help="sqrt, depth, bits or wide: what to be short in.")] = "sqrt",
    depth: Annotated[int | None, typer.Option(min=1, help="Layers, at most; with --strategy depth.")] = None,
    bits: Annotated[
        int | None, typer.Option(min=1, help="Bits of a code word, at most; with --strategy bits: 51 for float64.")
    ] = None,
    random_labels: Annotated[
        bool, typer.Option("--random-labels", help="Labels drawn anew, of as many classes.")
    ] = False,
    seed: options.Seed = 0,
) -> None:
    """Write down a network that gives every sample its label exactly, about sqrt(n) weights in all."""
    from vestige.cli.progress import progress_bar
    from vestige.construct.file.saved import save
    from vestige.construct.memorization.memorizer import memorize as memorize_points
    from vestige.core.rng import child
    from vestige.data.dataset import sample
    from vestige.data.load import load_data

    dataset = load_data(data)
    if n is not None and n != len(dataset):
        dataset, _ = sample(dataset, n, balanced=False, generator=child(seed, "construct memorize", "data"))
    with progress_bar("checking") as bar:
        made = memorize_points(
            dataset.x,
            _labels(dataset, seed, random=random_labels),
            strategy=strategy,
            depth=depth,
            bits=bits,
            generator=child(seed, "construct memorize"),
            on_step=bar,
        )
    save(made, out)
    _show(made)
    console.print(f"wrote {out}", markup=False, soft_wrap=True)


def _labels(dataset: "DataSet", seed: int, *, random: bool) -> "Tensor":
    import torch

    from vestige.core.rng import child

    if not random:
        return dataset.y
    draw = child(seed, "construct memorize", "labels")
    return torch.randint(0, len(dataset.classes), (len(dataset),), generator=draw)


def _show(made: "Memorization") -> None:
    from vestige.cli.verify import show_certificate

    network, sizes = made.network, made.numbers
    console.print(
        f"{sizes['points']:,} points: {network.nonzeros:,} weights other than 0, of up to {network.weight_bits:,} "
        f"bits, in {network.depth:,} layers of at most {network.width:,} neurons",
        soft_wrap=True,
    )
    if "groups" in sizes:
        console.print(
            f"lanes {sizes['lanes']}, groups in a lane {sizes['groups']:,}, points in a group {sizes['slots']}; bits "
            f"of a key {sizes['key_bits']}, of a label {sizes['label_bits']}, of a code word {sizes['code_bits']:,}",
            soft_wrap=True,
        )
    note(made.warnings)
    show_certificate(made.certificate)
