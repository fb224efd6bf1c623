"""The one loop under every optimizer: it goes on bit for bit where it was killed, and ends at its last finite state.

A descent is what its next step depends on: the variables of an optimizer with its moments, the place in its schedule,
the generator that the objective draws from, and what else the objective changes. `fit` copies that state every few
steps. One copy serves three ends: the checkpoint, the next process, and the way back from a value that is not finite.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable
from warnings import catch_warnings, simplefilter

import torch
from jaxtyping import Float
from torch import Tensor

from vestige.core.outcome import OnStep, Outcome, Step

SECONDS = 15.0  # between two saves: what a kill can cost
KEEP_EVERY = 50  # steps between two copies of the state


@runtime_checkable
class Checkpoint(Protocol):
    """Where a long method saves its state."""

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


@dataclass(frozen=True, eq=False)
class Descent:
    """What the next step depends on.

    Attributes:
        optimizer: over the variables; each of its states is a tensor, as in all of torch's but LBFGS.
        schedule: of its step sizes, one move a step; what it does depends on how often it moved.
        generator: that the objective draws from, if any.
        changed: tensors that the objective writes into, such as the best point so far or the statistics of BatchNorm.
    """

    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None
    generator: torch.Generator | None = None
    changed: Sequence[Tensor] = ()

    @property
    def variables(self) -> list[Tensor]:
        """Of all groups of the optimizer."""
        return [v for group in self.optimizer.param_groups for v in group["params"]]

    def state(self) -> dict[str, Tensor]:
        """A copy of it all, but for the schedule."""
        state = {f"variable.{i}": v for i, v in enumerate(self.variables)}
        state |= {f"changed.{i}": t for i, t in enumerate(self.changed)}
        for i, v in enumerate(self.variables):
            state |= {f"optimizer.{i}.{name}": t for name, t in self.optimizer.state[v].items()}
        if self.generator is not None:
            state["generator"] = self.generator.get_state()
        return {name: t.detach().clone(memory_format=torch.contiguous_format) for name, t in state.items()}

    @torch.no_grad()
    def take(self, state: Mapping[str, Tensor]) -> None:
        """Go to a state, in place."""
        for i, v in enumerate(self.variables):
            v.copy_(state[f"variable.{i}"])
            start = f"optimizer.{i}."
            moments = {k.removeprefix(start): t.clone() for k, t in state.items() if k.startswith(start)}
            self.optimizer.state[v] = {k: t if k == "step" else t.to(v) for k, t in moments.items()}
        for i, t in enumerate(self.changed):
            t.copy_(state[f"changed.{i}"])
        if self.generator is not None:
            self.generator.set_state(state["generator"].cpu())

    def wind(self, steps: int) -> None:
        """Move a new schedule to where it was after so many steps."""
        if self.schedule is None:
            return
        with catch_warnings():
            simplefilter("ignore", UserWarning)  # torch expects a step of the optimizer before each
            for _ in range(steps):
                self.schedule.step()

    def differentiate(self, objective: Tensor) -> None:
        """Put the gradient into `grad` of each variable, and of nothing else that the objective depends on."""
        gradients = torch.autograd.grad(objective, self.variables, materialize_grads=True)
        for v, gradient in zip(self.variables, gradients, strict=True):
            v.grad = gradient

    def step(self) -> None:
        """Of the optimizer, and of its schedule."""
        self.optimizer.step()
        if self.schedule is not None:
            self.schedule.step()


@dataclass(frozen=True, eq=False)
class Fitted:
    """End of a descent; the variables hold the state that it ended in.

    Attributes:
        values: of the objective before each step, all finite.
        outcome: BUDGET_SPENT, CONVERGED where it was enough, or NOT_FINITE: then the state is the last finite one of
            those that were copied.
    """

    values: Float[Tensor, " steps"]
    outcome: Outcome


def fit(
    objective: Callable[[int], Tensor],
    descent: Descent,
    *,
    steps: int,
    enough: Callable[[int, float], bool] | None = None,
    keep_every: int = KEEP_EVERY,
    checkpoint: Checkpoint | None = None,
    on_step: OnStep | None = None,
    note: str = "",
) -> Fitted:
    """Descend an objective, step by step.

    Gradients reach the variables of the descent and nothing else: what a backbone or a user's model holds collects
    none. To clip or mask gradients, register a hook of the optimizer before its step.

    Args:
        objective: of the number of steps done; a scalar.
        descent: from where, and how.
        steps: at most.
        enough: ends the descent before a step is taken, given the steps done and the objective; each variable's `grad`
            is its gradient.
        keep_every: steps between two copies of the state: what goes back is at most so old.
        checkpoint: where a copy is saved every few seconds, and read from if there is one.
        on_step: told the objective before each step.
        note: what it is told beside.

    >>> x = torch.tensor([2.0], requires_grad=True)
    >>> fit(lambda _: x.square().sum() / 2, Descent(torch.optim.SGD([x], 0.5)), steps=3).values.tolist(), x.item()
    ([2.0, 0.5, 0.125], 0.25)
    """
    saver = _Saver(checkpoint)
    good = saver.resumed(descent)
    values = good["values"].tolist()
    for k in range(len(values), steps):
        now = descent.state() | _told(values) if k % keep_every == 0 else good
        value = objective(k)
        number = float(value.detach())
        if not math.isfinite(number) or not (now is good or _is_finite(now)):
            outcome = Outcome.NOT_FINITE
            break
        good = now
        saver.save(good)
        values.append(number)
        descent.differentiate(value)
        if on_step is not None:
            on_step(Step(k + 1, steps, number, note))
        if enough is not None and enough(k, number):
            outcome = Outcome.CONVERGED
            break
        descent.step()
    else:
        now = descent.state() | _told(values)
        good, outcome = (now, Outcome.BUDGET_SPENT) if _is_finite(now) else (good, Outcome.NOT_FINITE)
        saver.save(good)
    if outcome is Outcome.NOT_FINITE:
        descent.take(good)
    descent.optimizer.zero_grad()
    return Fitted(torch.tensor(values, dtype=torch.float64), outcome)


def _told(values: list[float]) -> dict[str, Tensor]:
    return {"values": torch.tensor(values, dtype=torch.float64)}


def _is_finite(state: Mapping[str, Tensor]) -> bool:
    variables = (t for name, t in state.items() if name.startswith("variable."))
    return all(bool(torch.isfinite(t).all()) for t in variables)


@dataclass
class _Saver:
    checkpoint: Checkpoint | None
    last: float = field(default_factory=time.monotonic)
    done: int = 0

    def resumed(self, descent: Descent) -> dict[str, Tensor]:
        """The state that was saved, taken up, or the one that the descent is in."""
        state = None if self.checkpoint is None else self.checkpoint.load()
        if state is None:
            return descent.state() | _told([])
        self.done = len(state["values"])
        descent.take(state)
        descent.wind(self.done)
        return state

    def save(self, state: Mapping[str, Tensor]) -> None:
        """Unless it is no further, or the last time was a moment ago."""
        if self.checkpoint is None or len(state["values"]) == self.done or time.monotonic() - self.last < SECONDS:
            return
        self.checkpoint.save(state)
        self.done, self.last = len(state["values"]), time.monotonic()
