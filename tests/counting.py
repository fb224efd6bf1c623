"""How much work something takes, as the number of calls it makes: the same on every machine and beside every load."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def counted() -> Iterator[Callable[[], int]]:
    """Within the block, Python and C calls of this thread are counted; the value says how many so far."""
    events = 0

    def seen(frame: object, event: str, function: object) -> None:
        nonlocal events
        events += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        yield lambda: events
    finally:
        sys.setprofile(before)
