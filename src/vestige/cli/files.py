"""`vestige convert` and `vestige report`: one file made from another."""

from pathlib import Path
from typing import Annotated

import typer

from vestige.cli.app import out


def convert(
    source: Annotated[Path, typer.Argument(help="A .pt or .pth file of tensors.")],
    target: Annotated[Path, typer.Argument(help="The .safetensors file to write.")],
) -> None:
    """Turn a pickled checkpoint into safetensors, in a process of its own that may load tensors only."""
    from vestige.nets.conversion import convert as convert_weights

    convert_weights(source, target)
    out.print(f"wrote {target}", markup=False)


def report(
    folder: Annotated[Path, typer.Argument(help="The run folder that --out named.")],
) -> None:
    """Write the report.html of a finished run again."""
    from vestige.report import (
        write_landscape_report,
        write_membership_report,
        write_report,
        write_robustness_report,
        write_unlearning_report,
    )
    from vestige.runs.folder import RunFolder

    run = RunFolder.read(folder)
    landscapes = dict.fromkeys(("landscape neuron", "landscape teacher", "overfit"), write_landscape_report)
    pages = {
        "attack": write_robustness_report,
        "membership": write_membership_report,
        "unlearn": write_unlearning_report,
        **landscapes,
    }
    write = pages.get(run.config.get("verb", ""), write_report)
    out.print(f"wrote {write(run)}", markup=False)
