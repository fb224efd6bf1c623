"""Batches for probing, one after another for ever, in an order that a resumed run repeats.

Shuffling loaders draw from the global generator. Here they see a stream of their own, named by pass and position, and
the global generator stays where it was.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vestige.core.rng import spawn


@dataclass
class Draws:
    """Cycles through batches.

    Attributes:
        batches: a loader, or any iterable that can be gone through again.
        generator: of the order, if the loader shuffles by the global generator.
        passes: through all batches, begun so far.
        place: batches drawn in this pass.
    """

    batches: Iterable[Any]
    generator: torch.Generator | None = None
    passes: int = 0
    place: int = 0
    iterator: Iterator[Any] | None = field(default=None, repr=False)

    @property
    def seed(self) -> int:
        """Of everything random at the batch drawn last."""
        return spawn(self.generator, "probe", str(self.passes), str(self.place)).initial_seed()

    def next(self) -> Any:
        """The next batch.

        Raises:
            ValueError: there is none, or the iterable can be gone through only once.
        """
        for _ in range(2):
            with torch.random.fork_rng(devices=[]):
                torch.set_rng_state(torch.Generator().manual_seed(self.seed).get_state())
                if self.iterator is None:
                    self.iterator, self.place = iter(self.batches), 0
                for batch in self.iterator:
                    self.place += 1
                    return batch
            self.iterator, self.passes, self.place = None, self.passes + 1, 0
        raise ValueError("The batches to probe on are used up; give a DataLoader or a list, not a generator.")

    def go_to(self, passes: int, place: int) -> None:
        """Where `place` batches of that pass are drawn."""
        self.iterator, self.passes, self.place = None, passes, 0
        while self.place < place:
            self.next()


def halves(batch: Any) -> tuple[Any, Any]:
    """The two halves of a batch: of each tensor in it, along the first axis.

    Raises:
        ValueError: a batch without tensors, or with one sample.

    >>> [half.tolist() for half in halves(torch.arange(5))]
    [[0, 1], [2, 3, 4]]
    """
    sizes = {len(t) for t in _tensors(batch)}
    if len(sizes) != 1 or min(sizes) < 2:
        raise ValueError(
            f"A batch with sizes {sorted(sizes)} given; to be split, its tensors must all have the same number of "
            "samples, at least 2. Or take the numerator 'independent'."
        )
    middle = sizes.pop() // 2
    return _cut(batch, slice(None, middle)), _cut(batch, slice(middle, None))


def _tensors(batch: Any) -> Iterator[Tensor]:
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, Mapping | list | tuple):
        for part in batch.values() if isinstance(batch, Mapping) else batch:
            yield from _tensors(part)


def _cut(batch: Any, where: slice) -> Any:
    if isinstance(batch, Tensor):
        return batch[where]
    if isinstance(batch, Mapping):
        return {key: _cut(part, where) for key, part in batch.items()}
    return [_cut(part, where) for part in batch] if isinstance(batch, list | tuple) else batch
