"""`vestige convert` and `vestige report`: one file made from another."""

from pathlib import Path
from typing import Annotated

import typer

from vestige.cli import options
from vestige.cli.app import note, say
from vestige.runs.signals import ended_by_signals

STUDIES = (
    "landscape neuron", "landscape teacher", "overfit", "graphs tokens", "graphs shift", "probe truth", "construct",
    "verify",
)  # fmt: skip


def convert(
    source: Annotated[Path, typer.Argument(help="A .pt or .pth file of tensors.")],
    target: Annotated[Path, typer.Argument(help="The .safetensors file to write.")],
    key: Annotated[
        str, typer.Option(help="Which network, where there are several: a key such as ema, or how its names begin.")
    ] = "",
) -> None:
    """Turn a pickled checkpoint into safetensors, in a process of its own that may load tensors only."""
    options.check_file(source)
    from vestige.nets.conversion import convert as convert_weights

    with ended_by_signals():
        note(convert_weights(source, target, key=key))
    say(f"wrote {target}")


def report(
    folder: Annotated[Path, typer.Argument(help="The run folder that --out named.")],
) -> None:
    """Write the report.html of a finished run again."""
    options.check_run(folder)
    from vestige.report import (
        write_membership_report,
        write_report,
        write_robustness_report,
        write_study_report,
        write_unlearning_report,
    )
    from vestige.runs.folder import RunFolder

    run = RunFolder.read(folder)
    studies = dict.fromkeys(STUDIES, write_study_report)
    pages = {
        "attack": write_robustness_report,
        "membership": write_membership_report,
        "unlearn": write_unlearning_report,
        **studies,
    }
    write = pages.get(run.config.get("verb", ""), write_report)
    say(f"wrote {write(run)}")
