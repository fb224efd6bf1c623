"""`vestige membership`: which of these samples does this model hold?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vestige.cli import options
from vestige.cli.app import note, say, say_files

if TYPE_CHECKING:
    from vestige.audit import MembershipAudit


def membership(
    model: options.Model,
    data: Annotated[str, typer.Option(help="Candidates with labels: digits, npz:PATH, folder:PATH, ...")],
    reference: Annotated[
        str | None, typer.Option(help="Data like it that the model never saw; without it candidates are only ranked.")
    ] = None,
    base: Annotated[Path | None, typer.Option(help="Weights that the model was fine-tuned from.")] = None,
    out: options.Out = None,
    architecture: options.Arch = None,
    loss: options.Loss = None,
    seed: options.Seed = 0,
    trust_pickle: options.Pickle = False,
    input_shape: options.Shape = None,
    input_range: options.Range = None,
    mean: options.Mean = None,
    std: options.Std = None,
    threads: options.Threads = None,
) -> None:
    """Name the samples that the weights hold, with an error rate.

    For a model that `vestige train` made, --data alone is enough: the samples that it was not trained on are the
    reference.
    """
    options.check_file(model, data, reference)
    options.check_file(base)
    from vestige.audit import audit_membership
    from vestige.cli.progress import progress_bar
    from vestige.cli.threads import parameters_in, settle_threads

    settle_threads(threads, parameters_in(model))
    space = options.space_of(input_range, mean, std)
    with progress_bar("looking for members") as bar:
        found = audit_membership(
            model, data=data, reference=reference, base=base, architecture=architecture, loss=loss, seed=seed,
            trust_pickle=trust_pickle, input_shape=input_shape, space=space,
            out=options.folder_of(out, "membership", model), on_step=bar,
        )  # fmt: skip
    _show(found)


def _show(found: "MembershipAudit") -> None:
    say(found.verdict, style="bold")
    section = found.results["membership"]
    if section["n_held"]:
        named = [row for row in section["held"] if row["q_value"] is not None and row["q_value"] <= section["rate"]]
        shown = ", ".join("unseen" if row["position"] < 0 else str(row["position"]) for row in named)
        say(f"{section['n_held']} named at a false discovery rate of {section['rate']:.0%}; the surest: {shown}")
    note(found.warnings)
    say_files(found.folder, "samples.safetensors")
