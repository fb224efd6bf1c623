"""Progress for a person: a line with the time left on a terminal, and one every half minute in a file or a pipe."""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from vestige.cli.app import err, printable
from vestige.core.outcome import OnStep, Step

HEARTBEAT = 30.0  # seconds between two lines where nobody watches
SETTLED = 3.0  # seconds of a phase from which its speed is told
WORTH = 20.0  # seconds from which it is told how long everything takes


class Clock:
    """Where the work stands, in words: steps done of the phase, time since the start, time left of the phase.

    Once, from the speed of the first phase whose steps are known and its share of the work, it says how long everything
    takes.
    """

    def __init__(self, title: str, share: float | None = None):
        self.title, self.began, self.phase, self.step = title, time.monotonic(), 0.0, Step(0, 0, math.nan)
        self.first, self.share, self.phases = 0, share, 0

    def see(self, step: Step) -> None:
        """Take in a step; the clock of a phase starts with its first."""
        if step.note != self.step.note or step.total != self.step.total or step.index < self.step.index:
            self.phase, self.first, self.phases = time.monotonic(), step.index, self.phases + bool(step.total)
        self.step = step
        if self.share and self.phases == 1 and (left := self._left()) is not None:
            whole = (time.monotonic() - self.phase + left) / self.share
            if whole >= WORTH:
                err.print(f"{printable(self.title)}: about {_roughly(whole)} in all", markup=False, soft_wrap=True)
            self.share = None

    @property
    def name(self) -> str:
        """Of the phase."""
        return printable(self.step.note or self.title)

    def words(self) -> str:
        """Such as "438/1,500 steps, 0:06:30 so far, 0:15:40 left".

        >>> Clock("auditing").words()
        '0:00:00 so far'
        """
        step, left = self.step, self._left()
        done = f"{step.index:,}/{step.total:,} steps, " if step.total else ""
        so_far = _clock(time.monotonic() - self.began)
        return f"{done}{so_far} so far" + ("" if left is None else f", {_clock(left)} left")

    def _left(self) -> float | None:
        """Seconds of the phase; None until its speed has settled."""
        step, spent, since = self.step, time.monotonic() - self.phase, self.step.index - self.first
        settled = step.total and since > 0 and spent >= SETTLED
        return spent / since * (step.total - step.index) if settled else None


@contextmanager
def progress_bar(title: str, *, share: float | None = None) -> Iterator[OnStep]:
    """A line that says the phase, its steps and the time left; in a pipe, a line of the same words now and then.

    Args:
        title: of the work, until a step names its phase.
        share: of all work that the first phase usually is; then it is said early how long everything takes.
    """
    clock = Clock(title, share)
    if not err.is_terminal:
        with _heartbeat(clock):
            yield clock.see
        return
    name = TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1))
    words = TextColumn("{task.fields[words]}", table_column=Column(no_wrap=True))
    with Progress(name, BarColumn(bar_width=8), words, console=err, transient=True, expand=True) as progress:
        task = progress.add_task(title, total=None, words="")

        def on_step(step: Step) -> None:
            clock.see(step)
            total = step.total or None
            progress.update(task, description=clock.name, completed=step.index, total=total, words=clock.words())

        yield on_step


@contextmanager
def _heartbeat(clock: Clock) -> Iterator[None]:
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(HEARTBEAT):
            err.print(f"{clock.name}: {clock.words()}", markup=False, soft_wrap=True)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _roughly(seconds: float) -> str:
    """To one digit or two.

    >>> _roughly(38.0), _roughly(205.0), _roughly(8000.0)
    ('40 s', '3 min', '2.2 h')
    """
    if seconds < 90:
        return f"{10 * round(seconds / 10)} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
