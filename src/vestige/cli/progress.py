"""Progress for a person: a bar with the time left."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from vestige.cli.app import err
from vestige.core.outcome import OnStep, Step


@contextmanager
def progress_bar(title: str) -> Iterator[OnStep]:
    """A bar on the terminal, named after the phase; silent where there is no terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[value]}"),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(title, total=None, value="")

        def on_step(step: Step) -> None:
            value = f"{step.value:.3g}" if math.isfinite(step.value) else ""
            progress.update(task, description=step.note or title, completed=step.index, total=step.total, value=value)

        yield on_step
