"""`vestige construct prune`: a model out of a random network by masks alone, with its certificate."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vestige.cli import options, words
from vestige.cli.app import out as console
from vestige.cli.construct.written import write

if TYPE_CHECKING:
    from torch import Tensor

    from vestige.construct.prune.pruned import Pruned
    from vestige.data.dataset import DataSet
    from vestige.nets.loaded import LoadedModel

COLUMNS = "layer", "weights", "random neurons", "random weights", "kept", "worst weight", "error after it"


def prune(
    model: options.Model,
    tolerance: Annotated[float, typer.Option(help="Largest error of the outputs, l_2, anywhere in the ball.")] = 0.01,
    data: Annotated[str | None, typer.Option(help="Inputs that set the ball, and whose accuracy is compared.")] = None,
    radius: Annotated[float | None, typer.Option(help="Of the ball; default: largest of --data, or 1.")] = None,
    method: Annotated[str, words.word(words.PRUNINGS, "subset_sum, greedy, random or close.")] = "subset_sum",
    rows: Annotated[int | None, typer.Option(help="Random rows for an input and sign; default: as needed.")] = None,
    out: Annotated[
        Path, typer.Option(parser=options.read_weights_file, metavar="FILE", help="Where masks and seed go.")
    ] = Path("pruned.safetensors"),
    seed: Annotated[int, typer.Option(min=0, help="Of the random network.")] = 0,
    architecture: options.Arch = None,
    trust_pickle: options.Pickle = False,
    threads: options.Threads = None,
    report: options.Report = None,
) -> None:
    """Find masks that make a random network compute MODEL, certify the error, and save masks and seed only."""
    options.check_file(model, data)
    from vestige.cli.progress import progress_bar
    from vestige.cli.threads import settle_threads
    from vestige.construct.prune.to_target import prune_to_target
    from vestige.core.rng import child
    from vestige.data.load import load_data
    from vestige.nets.checkpoint import load_model

    loaded = load_model(model, architecture=architecture, trust_pickle=trust_pickle)
    settle_threads(threads, sum(p.numel() for p in loaded.model.parameters()))
    samples = None if data is None else load_data(data, split="test")
    inputs = None if samples is None else _as_read(samples, loaded)
    with progress_bar("pruning") as bar:
        found = prune_to_target(
            loaded.model, inputs, tolerance=tolerance, method=method, radius=radius,
            nonnegative=inputs is not None and bool((inputs >= 0).all()), rows=rows,
            generator=child(seed, "construct", "prune"), on_step=bar,
        )  # fmt: skip
    _print_layers(found)
    write(found, out, *_sizes(found), *_accuracies(found, loaded, samples, inputs), report=report)


def _as_read(samples: "DataSet", loaded: "LoadedModel") -> "Tensor":
    """The inputs as the model takes them."""
    return (samples.x if loaded.space is None else loaded.space.to_model(samples.x)).to(next(loaded.model.parameters()))


def _print_layers(found: "Pruned") -> None:
    from rich.table import Table

    table = Table(*COLUMNS, box=None, padding=(0, 1))
    for layer in found.layers:
        sizes = (layer.target_weights, layer.hidden, layer.random_weights, layer.kept)
        errors = f"{layer.worst_weight:.1e}", f"{layer.bound:.2e}"
        table.add_row(f"{layer.features}-{layer.out}", *map("{:,}".format, sizes), *errors)
    console.print(table)


def _sizes(found: "Pruned") -> Iterator[str]:
    sizes = found.numbers
    yield (
        f"{sizes['random_weights']:,} random weights for {sizes['target_weights']:,} of the target; "
        f"{sizes['kept']:,} are kept, in {2 * len(found.layers)} layers instead of {len(found.layers)}; "
        f"|x| <= {found.specification.radius:.4g}; the file holds masks and a seed"
    )


def _accuracies(
    found: "Pruned", loaded: "LoadedModel", samples: "DataSet | None", inputs: "Tensor | None"
) -> Iterator[str]:
    import torch

    from vestige.core.margins import margin

    if samples is None or inputs is None:
        return
    with torch.no_grad():
        margins = [margin(net(inputs), samples.y) for net in (loaded.model, found.to_torch())]
    before, after = (float((m > 0).double().mean()) for m in margins)
    yield f"accuracy on {len(samples):,} samples of {samples.name}: {before:.2%} before, {after:.2%} after"
