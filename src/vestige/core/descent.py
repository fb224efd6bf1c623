"""An optimization that a killed run goes on with, bit for bit: what its next step depends on, saved now and then."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

SECONDS = 15.0  # between two saves: what a kill can cost


@runtime_checkable
class Checkpoint(Protocol):
    """Where a long reconstruction saves its state."""

    def save(self, tensors: Mapping[str, Tensor]) -> None: ...
    def load(self) -> dict[str, Tensor] | None: ...


@dataclass(frozen=True)
class Within:
    """The checkpoint of a part: what it saves stands under its name, beside what is done already."""

    outer: Checkpoint
    name: str
    done: Mapping[str, Tensor]

    def save(self, tensors: Mapping[str, Tensor]) -> None:
        """Replace the part's state."""
        self.outer.save({**self.done, **{f"{self.name}/{key}": value for key, value in tensors.items()}})

    def load(self) -> dict[str, Tensor] | None:
        """The part's state, or None at its start."""
        start = f"{self.name}/"
        state = self.outer.load() or {}
        return {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)} or None


@dataclass
class Descent:
    """Variables under an optimizer, with its schedule and the generator that its steps draw from, if any."""

    variables: Sequence[Tensor]
    optimizer: torch.optim.Optimizer
    checkpoint: Checkpoint | None
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None
    generator: torch.Generator | None = None
    _saved: float = field(default_factory=time.monotonic)

    def resume(self) -> int:
        """Take over a saved state; returns how many steps were done, 0 without one."""
        state = None if self.checkpoint is None else self.checkpoint.load()
        if state is None:
            return 0
        with torch.no_grad():
            for i, v in enumerate(self.variables):
                v.copy_(state[f"variable.{i}"])
                start = f"optimizer.{i}."
                part = {k.removeprefix(start): t for k, t in state.items() if k.startswith(start)}
                self.optimizer.state[v] = {k: t if k == "step" else t.to(v) for k, t in part.items()}
        for group, rate, betas in zip(
            self.optimizer.param_groups, state["rates"].tolist(), state["betas"].tolist(), strict=True
        ):
            group["lr"] = rate
            if "betas" in group:  # a cycle of the step size may move them too
                group["betas"] = tuple(betas)
        done = int(state["done"])
        if self.schedule is not None:
            self.schedule.last_epoch = done
        if self.generator is not None:
            self.generator.set_state(state["generator"].cpu())
        return done

    def keep(self, done: int) -> None:
        """Save, unless the last time was a moment ago."""
        if self.checkpoint is None or time.monotonic() - self._saved < SECONDS:
            return
        state = {"done": torch.tensor(done)}
        state["rates"] = torch.tensor([group["lr"] for group in self.optimizer.param_groups], dtype=torch.float64)
        state["betas"] = torch.tensor(
            [group.get("betas", (0.0, 0.0)) for group in self.optimizer.param_groups], dtype=torch.float64
        )
        for i, v in enumerate(self.variables):
            state[f"variable.{i}"] = v.detach().contiguous()
            state |= {f"optimizer.{i}.{k}": t.contiguous() for k, t in self.optimizer.state[v].items()}
        if self.generator is not None:
            state["generator"] = self.generator.get_state()
        self.checkpoint.save(state)
        self._saved = time.monotonic()
