"""`vestige construct prune`: a model out of a random network by masks alone, with its certificate."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vestige.cli import options
from vestige.cli.app import note
from vestige.cli.app import out as console

if TYPE_CHECKING:
    from vestige.construct.prune.pruned import Pruned
    from vestige.data.dataset import DataSet
    from vestige.nets.loaded import LoadedModel


def prune(
    model: options.Model,
    tolerance: Annotated[float, typer.Option(help="Largest error of the outputs, l_2, anywhere in the ball.")] = 0.01,
    data: Annotated[str | None, typer.Option(help="Inputs that set the ball, and whose accuracy is compared.")] = None,
    radius: Annotated[
        float | None, typer.Option(help="Of the ball; default: the largest input of --data, or 1.")
    ] = None,
    method: Annotated[str, typer.Option(help="subset_sum, greedy, random or close.")] = "subset_sum",
    rows: Annotated[int | None, typer.Option(help="Random rows for an input and sign; default: as needed.")] = None,
    out: Annotated[Path, typer.Option(help="Where masks and seed go.")] = Path("pruned.safetensors"),
    seed: Annotated[int, typer.Option(min=0, help="Of the random network.")] = 0,
    arch: options.Arch = None,
    trust_pickle: options.Pickle = False,
    threads: options.Threads = None,
) -> None:
    """Find masks that make a random network compute MODEL, certify the error, and save masks and seed only."""
    if out.suffix != ".safetensors":
        raise ValueError(f"--out {out} given; masks are written as .safetensors, give such a name.")
    from vestige.cli.progress import progress_bar
    from vestige.cli.threads import settle_threads
    from vestige.construct.file.saved import save
    from vestige.construct.prune.to_target import prune_to_target
    from vestige.core.rng import child
    from vestige.data.load import load_data
    from vestige.nets.checkpoint import load_model

    loaded = load_model(model, architecture=arch, trust_pickle=trust_pickle)
    settle_threads(threads, sum(p.numel() for p in loaded.model.parameters()))
    samples = None if data is None else load_data(data, split="test")
    inputs = None if samples is None else _inputs(loaded, samples)
    size = 1.0 if inputs is None else float(inputs.flatten(1).norm(dim=1).max())
    with progress_bar("pruning") as bar:
        found = prune_to_target(
            loaded.model,
            inputs,
            tolerance=tolerance,
            method=method,
            radius=size if radius is None else radius,
            nonnegative=inputs is not None and bool((inputs >= 0).all()),
            rows=rows,
            generator=child(seed, "construct", "prune"),
            on_step=bar,
        )
    save(found, out)
    _show(found)
    if samples is not None and inputs is not None:
        _compare(found, loaded, samples, inputs)
    console.print(f"wrote {out}: masks and a seed, {out.stat().st_size:,} bytes", markup=False)


def _inputs(loaded: "LoadedModel", samples: "DataSet"):
    """The samples as the model takes them."""
    x = samples.x if loaded.space is None else loaded.space.to_model(samples.x)
    return x.to(next(loaded.model.parameters()))


def _show(found: "Pruned") -> None:
    from rich.table import Table

    table = Table(box=None, padding=(0, 1))
    for column in ("layer", "weights", "random neurons", "random weights", "kept", "worst weight", "error behind it"):
        table.add_column(column, justify="right")
    for layer in found.layers:
        sizes = (layer.target_weights, layer.hidden, layer.random_weights, layer.kept)
        table.add_row(
            f"{layer.features}-{layer.out}",
            *map("{:,}".format, sizes),
            f"{layer.worst_weight:.1e}",
            f"{layer.bound:.2e}",
        )
    console.print(table)
    console.print(found.certificate.table(), markup=False, soft_wrap=True)
    sizes = found.numbers
    console.print(
        f"{sizes['random_weights']:,} random weights for {sizes['target_weights']:,} of the target; "
        f"{sizes['kept']:,} are kept, in {2 * len(found.layers)} layers instead of {len(found.layers)}; "
        f"|x| <= {found.specification.radius:.4g}",
        markup=False,
        soft_wrap=True,
    )
    note(found.warnings)


def _compare(found: "Pruned", loaded: "LoadedModel", samples: "DataSet", inputs) -> None:
    import torch

    from vestige.core.margins import margin

    with torch.no_grad():
        shares = [
            float((margin(net(inputs), samples.y) > 0).double().mean()) for net in (loaded.model, found.to_torch())
        ]
    console.print(
        f"accuracy on {len(samples):,} samples of {samples.name}: {shares[0]:.2%} before, {shares[1]:.2%} after",
        markup=False,
        soft_wrap=True,
    )
