"""`vestige construct prune`: a model out of a random network by masks alone, with its certificate."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vestige.cli import options
from vestige.cli.app import note
from vestige.cli.app import out as console

if TYPE_CHECKING:
    from torch import Tensor

    from vestige.construct.prune.pruned import Pruned
    from vestige.data.dataset import DataSet
    from vestige.nets.loaded import LoadedModel


def prune(
    model: options.Model,
    tolerance: Annotated[float, typer.Option(help="Largest error of the outputs, l_2, anywhere in the ball.")] = 0.01,
    data: Annotated[str | None, typer.Option(help="Inputs that set the ball, and whose accuracy is compared.")] = None,
    radius: Annotated[float | None, typer.Option(help="Of the ball; default: largest of --data, or 1.")] = None,
    method: Annotated[str, typer.Option(help="subset_sum, greedy, random or close.")] = "subset_sum",
    rows: Annotated[int | None, typer.Option(help="Random rows for an input and sign; default: as needed.")] = None,
    out: Annotated[Path, typer.Option(help="Where masks and seed go.")] = Path("pruned.safetensors"),
    seed: Annotated[int, typer.Option(min=0, help="Of the random network.")] = 0,
    arch: options.Arch = None,
    trust_pickle: options.Pickle = False,
    threads: options.Threads = None,
) -> None:
    """Find masks that make a random network compute MODEL, certify the error, and save masks and seed only."""
    from vestige.cli.progress import progress_bar
    from vestige.cli.threads import settle_threads
    from vestige.construct.file.saved import save
    from vestige.construct.prune.to_target import prune_to_target
    from vestige.core.rng import child
    from vestige.nets.checkpoint import load_model

    _check_name(out)
    loaded = load_model(model, architecture=arch, trust_pickle=trust_pickle)
    settle_threads(threads, sum(p.numel() for p in loaded.model.parameters()))
    samples, inputs = _inputs(loaded, data)
    with progress_bar("pruning") as bar:
        found = prune_to_target(
            loaded.model,
            inputs,
            tolerance=tolerance,
            method=method,
            radius=_largest(inputs) if radius is None else radius,
            nonnegative=inputs is not None and bool((inputs >= 0).all()),
            rows=rows,
            generator=child(seed, "construct", "prune"),
            on_step=bar,
        )
    save(found, out)
    _show(found)
    _compare(found, loaded, samples, inputs)
    console.print(f"wrote {out}: masks and a seed, {out.stat().st_size:,} bytes", markup=False)


def _check_name(out: Path) -> None:
    if out.suffix != ".safetensors":
        raise ValueError(f"--out {out} given; masks are written as .safetensors, give such a name.")


def _inputs(loaded: "LoadedModel", data: str | None) -> "tuple[DataSet | None, Tensor | None]":
    """The samples, and their inputs as the model takes them."""
    from vestige.data.load import load_data

    if data is None:
        return None, None
    samples = load_data(data, split="test")
    x = samples.x if loaded.space is None else loaded.space.to_model(samples.x)
    return samples, x.to(next(loaded.model.parameters()))


def _largest(inputs: "Tensor | None") -> float:
    return 1.0 if inputs is None else float(inputs.flatten(1).norm(dim=1).max())


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


def _compare(found: "Pruned", loaded: "LoadedModel", samples: "DataSet | None", inputs: "Tensor | None") -> None:
    import torch

    from vestige.core.margins import margin

    if samples is None or inputs is None:
        return
    networks = loaded.model, found.to_torch()
    with torch.no_grad():
        shares = [float((margin(net(inputs), samples.y) > 0).double().mean()) for net in networks]
    console.print(
        f"accuracy on {len(samples):,} samples of {samples.name}: {shares[0]:.2%} before, {shares[1]:.2%} after",
        markup=False,
        soft_wrap=True,
    )
