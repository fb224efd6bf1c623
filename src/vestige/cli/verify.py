"""`vestige verify`: does a constructed network do what its file claims?"""

from pathlib import Path
from typing import Annotated

import typer

from vestige.cli import options
from vestige.cli.app import say
from vestige.core.claims import Certificate

FAILED = 1  # exit status where a claim does not hold


def verify(
    file: Annotated[Path, typer.Argument(help="What `vestige construct` wrote.")],
    points: Annotated[int | None, typer.Option(min=1, help="Check at most this many points; default: all.")] = None,
    target: Annotated[
        Path | None, typer.Option(help="The model that a pruned network approximates; its error is then certified too.")
    ] = None,
    architecture: options.Arch = None,
    report: options.Report = None,
) -> None:
    """Derive every claim of a constructed network again, exactly, from its file alone; exit status 1 if one fails."""
    options.check_file(file)
    options.check_file(target)
    from vestige.cli.progress import progress_bar
    from vestige.construct.file.saved import verify as verify_file
    from vestige.nets.checkpoint import load_model

    model = None if target is None else load_model(target, architecture=architecture).model
    with progress_bar("verifying") as bar:
        certificate = verify_file(file, target=model, points=points, on_step=bar)
    show_certificate(certificate)
    if report is not None:
        write_construction_report(file, report, certificate)
    if not certificate.holds:
        raise typer.Exit(FAILED)


def show_certificate(certificate: Certificate) -> None:
    """The claims as a table, and one line that sums them up."""
    failed = [claim.name for claim in certificate.claims if not claim.holds]
    say(certificate.table())
    verdict = f"FAILS: {'; '.join(failed)}" if failed else f"all {len(certificate.claims)} claims hold"
    say(verdict, style="bold red" if failed else "bold")


def write_construction_report(file: Path, folder: Path, certificate: Certificate | None = None) -> None:
    """Make the report of a construction's file, with these claims or its maker's, and say where it is."""
    from vestige.audit.construction import study_construction

    study_construction(file, certificate, out=folder)
    say(f"{folder}/report.html")
