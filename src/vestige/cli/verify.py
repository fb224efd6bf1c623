"""`vestige verify`: does a constructed network do what its file claims?"""

from pathlib import Path
from typing import Annotated

import typer

from vestige.cli import options
from vestige.cli.app import out as console
from vestige.core.claims import Certificate

FAILED = 1  # exit status where a claim does not hold


def verify(
    file: Annotated[Path, typer.Argument(help="What `vestige construct` wrote.")],
    points: Annotated[int | None, typer.Option(min=1, help="Look at so many points at most; default: all.")] = None,
    target: Annotated[
        Path | None, typer.Option(help="The model that a file of masks was pruned to: its error is certified again.")
    ] = None,
    arch: options.Arch = None,
) -> None:
    """Derive every claim of a constructed network again, exactly, from its file alone; status 1 where one fails."""
    from vestige.cli.progress import progress_bar
    from vestige.construct.file.check import verify_construction
    from vestige.construct.prune.saved import is_pruned_file, verify_pruned
    from vestige.nets.checkpoint import load_model

    masks = is_pruned_file(file)
    if target is not None and not masks:
        raise ValueError(f"--target {target} given; {file} is no file of masks, it holds all that its claims need.")
    with progress_bar("verifying") as bar:
        if masks:
            model = None if target is None else load_model(target, architecture=arch).model
            certificate = verify_pruned(file, model)
        else:
            certificate = verify_construction(file, points=points, on_step=bar)
    say(certificate)
    if not certificate.holds:
        raise typer.Exit(FAILED)


def say(certificate: Certificate) -> None:
    """The claims as a table, and one line that sums them up."""
    failed = [claim.name for claim in certificate.claims if not claim.holds]
    console.print(certificate.table(), markup=False, soft_wrap=True)
    verdict = f"FAILS: {', '.join(failed)}" if failed else f"all {len(certificate.claims)} claims hold"
    console.print(verdict, markup=False, soft_wrap=True, style="bold red" if failed else "bold")
