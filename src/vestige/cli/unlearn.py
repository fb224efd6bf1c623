"""`vestige unlearn`: take samples out of a model, and attack it again to see whether they are gone."""

from typing import TYPE_CHECKING, Annotated

import typer

from vestige.cli import options, words
from vestige.cli.app import note, say, say_files

if TYPE_CHECKING:
    from vestige.audit import UnlearningAudit

Repair = Annotated[
    int | None,
    typer.Option(min=0, help="Training steps on the rest afterwards; default 1000 with weight decay, else 0."),
]
Retrain = Annotated[
    bool | None,
    typer.Option("--retrain/--no-retrain", help="Compare with retraining; default: where half an hour is enough."),
]


def unlearn(
    model: options.Model,
    data: Annotated[str, typer.Option(help="The training data: digits, npz:PATH, folder:PATH, ...")],
    forget: Annotated[str, typer.Option(help="leaked, leaked:K (the K that leak most), or positions: 3,17.")],
    held_out: options.HeldOut = None,
    step: Annotated[
        str, words.word(words.STEPS, "resolve, or the terms alone: clarke, kkt (as published).")
    ] = "resolve",
    repair: Repair = None,
    retrain: Retrain = None,
    out: options.Out = None,
    architecture: options.Arch = None,
    loss: options.Loss = None,
    weight_decay: options.Decay = None,
    n_candidates: options.Candidates = None,
    restarts: options.Restarts = None,
    seed: options.Seed = 0,
    solver: options.Solver = "default",
    trust_pickle: options.Pickle = False,
    input_shape: options.Shape = None,
    input_range: options.Range = None,
    mean: options.Mean = None,
    std: options.Std = None,
    threads: options.Threads = None,
) -> None:
    """Reconstruct, forget, reconstruct again; compare with a network retrained without the samples."""
    options.check_file(model, data, held_out)
    from vestige.audit import audit_unlearning
    from vestige.cli.progress import progress_bar
    from vestige.cli.threads import parameters_in, settle_threads

    settle_threads(threads, parameters_in(model))
    space = options.space_of(input_range, mean, std)
    with progress_bar("unlearning") as bar:
        found = audit_unlearning(
            model, data=data, forget=forget, held_out=held_out, step=step, repair=repair, retrain=retrain,
            architecture=architecture, input_shape=input_shape, space=space, loss=loss, weight_decay=weight_decay,
            n_candidates=n_candidates, restarts=restarts, solver=solver, seed=seed, trust_pickle=trust_pickle,
            out=options.folder_of(out, "unlearn", model), on_step=bar,
        )  # fmt: skip
    _show(found)


def _show(found: "UnlearningAudit") -> None:
    results = found.results
    say(found.verdict, style="bold")
    if results["evaluation"]:
        for name in ("forget_accuracy", "retain_accuracy", "test_accuracy"):
            row = results["evaluation"]["compared"][name]
            say(
                f"{name.replace('_', ' ')}: {row['untouched']:.1%} before, {row['unlearned']:.1%} after, "
                f"{row['retrained']:.1%} retrained"
            )
    if held := results["membership"]:
        rows = ", ".join(f"{row['named']} {name}" for name, row in held.items() if "named" in row)
        say(f"forgotten samples whose membership the weights show: {rows}")
    seconds = results["seconds"]
    known = "left out" if seconds["retraining"] is None else f"{seconds['retraining']:.2g}"
    say(
        f"seconds: {seconds['unlearning']:.2g} for unlearning, {known} for retraining (estimated before: at most "
        f"{seconds['retraining_at_most']:.2g})"
    )
    if results["certificate"]:
        say(results["certificate"]["verdict"])
    if results["heuristic"]:
        say(f"heuristic: {'; '.join(results['heuristic'])}", style="yellow")
    note(found.warnings)
    say_files(found.folder, "model.safetensors")
