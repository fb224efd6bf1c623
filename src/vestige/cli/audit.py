"""`vestige audit` and `vestige reconstruct`: what do these weights give away?"""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from vestige.cli.app import out
from vestige.cli.pipeline import Effort, open_run, perform
from vestige.cli.target import read_target
from vestige.cli.threads import settle_threads
from vestige.cli.truth import read_truth
from vestige.runs import RunFolder, RunState

Model = Annotated[Path, typer.Argument(help="Weights: .safetensors, or .pt with --trust-pickle.")]
Arch = Annotated[str | None, typer.Option(help="mlp:784-1000-10, cnn:3x32x32-c64k5s2-10 or package.module:factory.")]
Loss = Annotated[str | None, typer.Option(help="logistic, exponential, cross_entropy, mse or huber.")]
Decay = Annotated[float | None, typer.Option(help="Weight decay of the training: loss + wd/2 |weights|^2.")]
Out = Annotated[
    Path | None, typer.Option(help="Run folder; default vestige-VERB-MODEL. The same command goes on in it.")
]
Candidates = Annotated[int | None, typer.Option(min=1, help="Candidates a restart; default: from the weights.")]
Restarts = Annotated[int | None, typer.Option(min=1, help="Independent starts; default: the method's.")]
Seed = Annotated[int, typer.Option(help="Equal seeds give equal results on the same machine.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Default: one for small models, which is faster.")]
Solver = Annotated[str, typer.Option(help="default (ours) or published (the papers' procedure).")]
Pickle = Annotated[bool, typer.Option("--trust-pickle", help="Read a .pt file, tensors only, in its own process.")]
Shape = Annotated[str | None, typer.Option(help="Shape of one input, such as 64 or 3x32x32; default: from the file.")]
Data = Annotated[str | None, typer.Option(help="Training data, for scoring only: digits, npz:PATH, folder:PATH, ...")]
HeldOut = Annotated[str | None, typer.Option(help="Data like it that the model never saw: what chance alone reaches.")]


def audit(
    model: Model,
    arch: Arch = None,
    loss: Loss = None,
    weight_decay: Decay = None,
    data: Data = None,
    held_out: HeldOut = None,
    out: Out = None,
    n_candidates: Candidates = None,
    restarts: Restarts = None,
    seed: Seed = 0,
    solver: Solver = "default",
    trust_pickle: Pickle = False,
    input_shape: Shape = None,
    threads: Threads = None,
) -> None:
    """Recover what can be recovered of the training data from the weights, and report it.

    Without --data the report shows the likeliest samples with a confidence; with it, what leaked against chance.
    """
    if held_out is not None and data is None:
        raise ValueError("--held-out without --data given; there is no score to compare with. Give --data too.")
    target = read_target(
        model,
        architecture=arch,
        input_shape=input_shape,
        loss=loss,
        weight_decay=weight_decay,
        trust_pickle=trust_pickle,
    )
    settle_threads(threads, target.parameters)
    truth = None if data is None else read_truth(data, held_out, target.loaded.metadata)
    effort = Effort(n_candidates, restarts, seed, solver)
    run = open_run(out or Path(f"vestige-audit-{model.stem}"), "audit", target, effort, truth)
    show(run, perform(run, target, effort, truth))


def reconstruct(
    model: Model,
    arch: Arch = None,
    loss: Loss = None,
    weight_decay: Decay = None,
    out: Out = None,
    n_candidates: Candidates = None,
    restarts: Restarts = None,
    seed: Seed = 0,
    solver: Solver = "default",
    trust_pickle: Pickle = False,
    input_shape: Shape = None,
    threads: Threads = None,
) -> None:
    """Recover samples only: samples.safetensors and results.json, no report and no score."""
    target = read_target(
        model,
        architecture=arch,
        input_shape=input_shape,
        loss=loss,
        weight_decay=weight_decay,
        trust_pickle=trust_pickle,
    )
    settle_threads(threads, target.parameters)
    effort = Effort(n_candidates, restarts, seed, solver)
    run = open_run(out or Path(f"vestige-reconstruct-{model.stem}"), "reconstruct", target, effort, None)
    show(run, perform(run, target, effort, None))


def show(run: RunFolder, results: dict[str, Any]) -> None:
    """The verdict, the numbers behind it and where the files are."""
    colour = {"leaks": "bold red", "some": "bold yellow", "nothing": "bold green"}.get(results["level"], "bold")
    _print(results["verdict"], colour)
    for warning in results["warnings"]:
        _print(f"note: {warning}", "yellow")
    if results["score"]:
        out.print(_score_table(results["score"]))
    assert run.state is RunState.FINISHED
    files = ("report.html", "results.json", "samples.safetensors")
    for path in (run.path / name for name in files):
        if path.exists():
            _print(str(path))


def _print(text: str, style: str | None = None) -> None:
    out.print(text, style=style, markup=False, soft_wrap=True)


def _score_table(score: dict[str, Any]) -> Table:
    table = Table(box=None, padding=(0, 1))
    for column in ("compared with the true samples", "how many", "recovered", "SSIM > 0.4", "median", "largest"):
        table.add_column(column, justify="left" if column.startswith("compared") else "right")
    ours = {"name": "reconstructions", "count": score["candidates"], **{k: score[k] for k in ("n_recovered", "n_ssim")}}
    rows = [{**ours, "median": score["median"], "max": score["max"]}, *score["nulls"]]
    for row in rows:
        cells = [row[key] for key in ("count", "n_recovered", "n_ssim")]
        sizes = [row[key] for key in ("median", "max")]
        table.add_row(
            row["name"],
            *("–" if cell is None else f"{cell:,}" for cell in cells),
            *("–" if size is None else f"{size:.3f}" for size in sizes),
        )
    return table
