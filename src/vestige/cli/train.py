"""`vestige train`: a model worth auditing, from data you name."""

from pathlib import Path
from typing import Annotated

import typer

from vestige.cli import options
from vestige.cli.app import out as console


def train(
    data: Annotated[str, typer.Option(help="digits, mnist, fashion, cifar10, npz:PATH or folder:PATH.")] = "digits",
    n: Annotated[int | None, typer.Option(min=1, help="Samples drawn, in equal shares; default: all.")] = None,
    arch: Annotated[str | None, typer.Option(help="Default: two layers of width 1000.")] = None,
    loss: Annotated[str | None, typer.Option(help="Default: cross_entropy, or logistic for one output.")] = None,
    weight_decay: Annotated[float, typer.Option(min=0.0, help="wd of loss + wd/2 |weights|^2.")] = 1e-3,
    positive: Annotated[str | None, typer.Option(help="Classes that become label 1, commas between: 0,1,8,9.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Draws the samples and the first weights.")] = 0,
    out: Annotated[Path, typer.Option(help="Where the weights go.")] = Path("model.safetensors"),
    threads: options.Threads = None,
    group: Annotated[str | None, typer.Option(help="Average over it: c4, d4, shifts:STRIDE, set:SIZE.")] = None,
) -> None:
    """Train a small network to its margin and save the weights, without the data."""
    if out.suffix != ".safetensors":
        raise ValueError(f"--out {out} given; the weights are written as .safetensors, give such a name.")
    from vestige.audit.training import fit, report, save
    from vestige.audit.truth import draw, recipe, split_classes
    from vestige.data.load import load_data

    dataset = load_data(data)
    chosen, _ = draw(split_classes(dataset, positive), n, seed)
    trained = fit(
        chosen, architecture=arch, loss=loss, weight_decay=weight_decay, seed=seed, threads=threads, group=group
    )
    save(trained, chosen, out, recipe(dataset, n, seed, positive), group)
    report(trained)
    console.print(f"wrote {out}", markup=False)
