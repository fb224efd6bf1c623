"""Where a job keeps its work: a run folder, from which the same job continues after a kill, or nowhere."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from vestige.core.descent import Checkpoint
from vestige.core.outcome import OnStep, Step
from vestige.runs.folder import RunFolder, RunState
from vestige.runs.signals import stop_requests

LINES = 400  # of progress.jsonl for one phase, so that long runs stay small

Results = dict[str, Any]
Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Job:
    """One job: its run folder, None for a job that leaves no files, and who is told of its steps."""

    run: RunFolder | None
    on_step: OnStep | None

    @property
    def folder(self) -> Path | None:
        """Where its files are."""
        return None if self.run is None else self.run.path

    @property
    def finished(self) -> bool:
        """Whether an earlier call has done everything in this folder."""
        return self.run is not None and self.run.state is RunState.FINISHED

    def checkpoint(self, name: str) -> Checkpoint | None:
        """Where a long method saves its state."""
        return None if self.run is None else self.run.checkpoint(name)

    @contextmanager
    def phase(self, name: str, *, recorded: bool = False) -> Iterator[OnStep]:
        """A callback for the steps of one phase; in a folder, Ctrl-C stops between two steps, after the state is saved.

        Args:
            name: put before the note of each step.
            recorded: whether the steps go into progress.jsonl, for the report.
        """
        if self.run is None:
            yield lambda step: self._tell(name, step)
            return
        run = self.run
        with stop_requests() as stop:

            def on_step(step: Step) -> None:
                if recorded:
                    _log(run, step)
                self._tell(name, step)
                stop.check()

            yield on_step

    def _tell(self, name: str, step: Step) -> None:
        if self.on_step is not None:
            self.on_step(replace(step, note=f"{name}: {step.note}" if step.note else name))

    def once(self, name: str, make: Callable[[], Tensors]) -> Tensors:
        """What `make` returns; a job that continues takes it from its folder."""
        if self.run is None:
            return make()
        stored = self.run.load_tensors(name)
        if stored is None:
            stored = make()
            self.run.save_tensors(name, stored)
        return stored

    def keep(self, results: Mapping[str, Any], name: str, tensors: Tensors, temporary: tuple[str, ...]) -> Results:
        """Write the tensors, then the results, then remove the checkpoints; returns the results as plain JSON values.

        Raises:
            ValueError: a number is NaN or infinite.
        """
        plain = json.loads(json.dumps(results, allow_nan=False))
        if self.run is not None:
            self.run.save_tensors(name, tensors)
            self.run.finish(plain)
            for each in temporary:
                self.run.checkpoint(each).discard()
        return plain

    def kept(self, name: str) -> tuple[Results, Tensors]:
        """Results and tensors of a finished folder.

        Raises:
            ValueError: one of them is missing.
        """
        results = None if self.run is None else self.run.results()
        tensors = None if self.run is None else self.run.load_tensors(name)
        if results is None or tensors is None:
            raise ValueError(
                f"{self.folder} holds results but no {name}.safetensors; remove its results.json and run the same "
                "command again."
            )
        return results, tensors

    def write(self, page: Callable[[RunFolder], Path]) -> None:
        """Make the report of a folder."""
        if self.run is not None:
            page(self.run)


@contextmanager
def open_job(out: Path | str | None, config: Mapping[str, Any], on_step: OnStep | None) -> Iterator[Job]:
    """A job in this folder, or in none.

    Raises:
        RunError: a folder that cannot be used.
    """
    if out is None:
        yield Job(None, on_step)
        return
    with RunFolder.open(out, config) as run:
        yield Job(run, on_step)


def _log(run: RunFolder, step: Step) -> None:
    every = max(1, step.total // LINES)
    if step.index % every == 0 or step.index == step.total:
        value = step.value if math.isfinite(step.value) else None
        run.log({"index": step.index, "total": step.total, "value": value, "note": step.note})
