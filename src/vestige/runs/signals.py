"""Ctrl-C and SIGTERM as a polite request: finish the step, save, and say so with exit status 130."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_STATUS = 130


class Interrupted(KeyboardInterrupt):
    """Raised between two steps after a signal; a KeyboardInterrupt, so that no `except Exception` swallows it."""


class StopRequest:
    """Whether a signal has come."""

    def __init__(self) -> None:
        self.received: int | None = None

    def check(self) -> None:
        """Call between two steps.

        Raises:
            Interrupted: a signal has come.
        """
        if self.received is not None:
            raise Interrupted(signal.Signals(self.received).name)


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Within it, the first SIGINT or SIGTERM only sets a flag; a second one has its usual effect at once.

    At its end the handlers are as before, and a signal that nobody has checked for is raised. Outside the main thread,
    where Python allows no handlers, and for handlers that were not installed from Python, signals keep their meaning.

    Raises:
        Interrupted: a signal came and was not checked for inside.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    known = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {number: handler for number, handler in known.items() if handler is not None}

    def note(number: int, frame: FrameType | None) -> None:
        request.received = number
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in before:
        signal.signal(number, note)
    try:
        yield request
        request.check()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Within it SIGTERM ends the work as Ctrl-C does, so that child processes and temporary files go with it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
