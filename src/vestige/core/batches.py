"""Mini-batches whose order depends on the step alone, so that a training that was interrupted sees the same ones."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vestige.core.outcome import OnStep, Step
from vestige.core.rng import spawn


@dataclass(eq=False)
class Batches:
    """The positions of each step's samples: every epoch goes through all of them once, in an order of its own.

    Attributes:
        n: samples.
        batch_size: of a step; the last one of an epoch has what is left.
        generator: reads its seed only; None for seed 0.

    >>> batches = Batches(5, 2)
    >>> [len(batches(k)) for k in range(4)], sorted(torch.cat([batches(k) for k in range(3)]).tolist())
    ([2, 2, 1, 2], [0, 1, 2, 3, 4])
    """

    n: int
    batch_size: int
    generator: torch.Generator | None = None
    _epoch: int = field(default=-1, init=False)
    _order: Int[Tensor, " n"] = field(default_factory=lambda: torch.empty(0, dtype=torch.long), init=False)

    @property
    def steps(self) -> int:
        """Of one epoch."""
        return -(-self.n // self.batch_size)

    def __call__(self, k: int) -> Int[Tensor, " batch"]:
        """Of the step after k others."""
        epoch, part = divmod(k, self.steps)
        if epoch != self._epoch:
            draw = spawn(self.generator, "epoch", str(epoch))
            self._epoch, self._order = epoch, torch.randperm(self.n, generator=draw)
        return self._order[part * self.batch_size : (part + 1) * self.batch_size]

    def means(self, values: Float[Tensor, " steps"]) -> tuple[float, ...]:
        """Of the epochs that are complete."""
        whole = len(values) // self.steps
        return tuple(values[: whole * self.steps].reshape(whole, self.steps).mean(1).tolist())

    def by_epoch(self, on_step: OnStep | None) -> OnStep | None:
        """Told every step, it tells the mean of each epoch."""
        if on_step is None:
            return None
        seen: list[float] = []

        def told(step: Step) -> None:
            seen.append(step.value)
            if step.index % self.steps == 0:
                on_step(Step(step.index // self.steps, step.total // self.steps, sum(seen) / len(seen), step.note))
                seen.clear()

        return told
