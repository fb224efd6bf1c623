"""Progress for a person (a bar with the time left) and for the record (progress.jsonl)."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from vestige.cli.app import err
from vestige.core.outcome import OnStep, Step
from vestige.runs.folder import RunFolder
from vestige.runs.signals import StopRequest

LINES = 400  # of progress.jsonl for one method, so that long runs stay small


@contextmanager
def progress_bar(title: str) -> Iterator[OnStep]:
    """A bar on the terminal; silent where there is none."""
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
            value = f"{step.note} {step.value:.3g}".strip()
            progress.update(task, completed=step.index, total=step.total, value=value)

        yield on_step


def recorded(run: RunFolder, stop: StopRequest, then: OnStep) -> OnStep:
    """A callback that logs into the run, shows the step, and stops between two steps when asked to."""

    watched = stoppable(stop, then)

    def on_step(step: Step) -> None:
        every = max(1, step.total // LINES)
        if step.index % every == 0 or step.index == step.total:
            value = step.value if math.isfinite(step.value) else None
            run.log({"index": step.index, "total": step.total, "value": value, "note": step.note})
        watched(step)

    return on_step


def stoppable(stop: StopRequest, then: OnStep) -> OnStep:
    """A callback that shows the step, and stops between two steps when asked to."""

    def on_step(step: Step) -> None:
        then(step)
        stop.check()

    return on_step
