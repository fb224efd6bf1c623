"""Named random streams: a call that is added never shifts the numbers that another call draws."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def child(seed: int, *names: str) -> torch.Generator:
    """A CPU generator that depends on `seed` and `names` alone.

    Draw on the CPU and move the tensor: then every device sees the same numbers.

    Args:
        seed: any integer.
        names: path of the stream, such as ("restart", "3").

    >>> a, b = (torch.rand(2, generator=child(0, "init")) for _ in range(2))
    >>> bool((a == b).all())
    True
    """
    # JSON keeps ("a", "b") and ("ab",) apart.
    digest = hashlib.sha256(json.dumps([seed, *names]).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def spawn(generator: torch.Generator | None, *names: str) -> torch.Generator:
    """The child stream of a user's generator; reads its seed and does not advance it.

    Two calls with the same generator and names give the same stream. `None` stands for seed 0, so that a
    method called without a generator repeats itself.
    """
    return child(0 if generator is None else generator.initial_seed(), *names)


@contextmanager
def drawing_from(generator: torch.Generator) -> Iterator[None]:
    """Inside the block torch's global generator is in this one's state, for what takes none: torch's own layers when
    they start, and dropout. Afterwards it is as it was.

    >>> with drawing_from(child(0, "start")):
    ...     a = torch.rand(1)
    >>> bool(a == torch.rand(1, generator=child(0, "start")))
    True
    """
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(generator.get_state())
        yield
