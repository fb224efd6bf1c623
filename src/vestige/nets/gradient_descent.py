"""Full-batch gradient descent on mean loss + wd/2 |theta|^2: two rules for the step, one record of stationarity.

Without weight decay the gradient of a margin loss vanishes like the loss, so the step grows like 1/loss and is halved
when the objective rises. With weight decay momentum and one cycle of the step size reach the stationary point.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vestige.core.choices import ChoiceEnum
from vestige.core.outcome import OnStep, Outcome, Step


class Schedule(ChoiceEnum):
    """How the step size moves: LOSS_SCALED adapts itself, ONE_CYCLE warms up and anneals, CONSTANT is plain descent."""

    LOSS_SCALED = "loss_scaled"
    ONE_CYCLE = "one_cycle"
    CONSTANT = "constant"


WARM_UP, START_FRACTION, END_FRACTION = 0.3, 1 / 25, 1e-4
GROWTH, SMALLEST_LOSS, SMALLEST_STEP = 1.05, 1e-14, 1e-18
# A step may promise this part of the loss: some 700 steps to 1e-6, close to gradient flow. Without the limit 20 digits
# take 29 steps, to a margin 30 % smaller.
PROMISED = 0.02
# Steps of 5 % less each time at the end: longer ones bounce across the valley and hide how stationary its floor is.
SETTLING, SHRINKING = 100, 0.95


def squared_norm(tensors: list[Tensor]) -> float:
    return sum(t.detach().norm().item() ** 2 for t in tensors)


@dataclass
class Descent:
    """Parameters that are stepped in place, and what is known about the last point they were evaluated at.

    `outside` is the factor of the first layer's part outside the data's span, of squared norm `outside_sq` at factor 1:
    its gradient is zero, so it follows the same rule as every parameter, as one scalar.
    """

    parameters: list[Tensor]
    mean_loss: Callable[[], Tensor]
    weight_decay: float
    outside_sq: float = 0.0
    outside: float = 1.0
    outside_velocity: float = 0.0
    velocity: list[Tensor] = field(default_factory=list)
    loss: float = math.nan
    objective: float = math.nan
    gradient: list[Tensor] = field(default_factory=list)

    def evaluate(self) -> bool:
        """Loss, objective and its gradient at the current parameters; false, and nothing changed, if not finite."""
        value = self.mean_loss()
        loss = value.item()
        objective = loss + (0.5 * self.weight_decay * self.parameter_sq() if self.weight_decay else 0.0)
        if not math.isfinite(objective):
            return False
        gradient = list(torch.autograd.grad(value, self.parameters))
        if self.weight_decay:
            for g, p in zip(gradient, self.parameters, strict=True):
                g.add_(p.detach(), alpha=self.weight_decay)
        self.loss, self.objective, self.gradient = loss, objective, gradient
        return True

    def parameter_sq(self) -> float:
        """Squared norm of all parameters, the part outside the span included."""
        return squared_norm(self.parameters) + self.outside**2 * self.outside_sq

    def step(self, size: float, momentum: float) -> None:
        """theta -= size * v with v = momentum * v + gradient, torch's SGD."""
        gradient, outside = self.gradient, self.weight_decay * self.outside
        if momentum:
            if not self.velocity:
                self.velocity = [torch.zeros_like(g) for g in gradient]
            for v, g in zip(self.velocity, gradient, strict=True):
                v.mul_(momentum).add_(g)
            self.outside_velocity = momentum * self.outside_velocity + outside
            gradient, outside = self.velocity, self.outside_velocity
        with torch.no_grad():
            for p, v in zip(self.parameters, gradient, strict=True):
                p.add_(v, alpha=-size)
        self.outside -= size * outside

    def stationarity(self) -> float:
        """How far theta is from a sum of the samples' gradients with the loss's own multipliers, relative to theta.

        With weight decay |grad + wd theta| / (wd |theta|); without, the sine of the angle between theta and the
        negative gradient, which is the same residual with the best common multiplier.
        """
        gradient_sq = squared_norm(self.gradient)
        parameter_sq = self.parameter_sq()
        if self.weight_decay:
            gradient_sq += (self.weight_decay * self.outside) ** 2 * self.outside_sq
            return math.sqrt(gradient_sq) / (self.weight_decay * math.sqrt(parameter_sq)) if parameter_sq else math.nan
        pairs = zip(self.gradient, self.parameters, strict=True)
        inner = -sum((g * p.detach()).sum().item() for g, p in pairs)
        if gradient_sq * parameter_sq == 0:
            return math.nan
        return math.sqrt(max(0.0, 1 - max(inner, 0.0) ** 2 / (gradient_sq * parameter_sq)))

    def snapshot(self) -> tuple[list[Tensor], float]:
        return [p.detach().clone() for p in self.parameters], self.outside

    def restore(self, saved: tuple[list[Tensor], float]) -> None:
        with torch.no_grad():
            for p, old in zip(self.parameters, saved[0], strict=True):
                p.copy_(old)
        self.outside = saved[1]


@dataclass
class Trace:
    """Loss and stationarity, kept every `every` steps, with the tolerances that end a run."""

    total: int
    every: int
    tol_loss: float | int
    tol_stationarity: float | int | None
    on_step: OnStep | None
    rows: list[tuple[int, float, float]] = field(default_factory=list)

    def reached(self, index: int, descent: Descent, note: str, *, record: bool = False) -> bool:
        """Record step `index` if it is due, the last or `record` says so; whether a tolerance is met."""
        enough = descent.loss <= self.tol_loss
        if index % self.every and index != self.total and not record:
            return enough
        residual = descent.stationarity()
        self.rows.append((index, descent.loss, residual))
        if self.on_step is not None:
            self.on_step(Step(index, self.total, descent.loss, note))
        return enough or (self.tol_stationarity is not None and residual <= self.tol_stationarity)


def loss_scaled(descent: Descent, trace: Trace, first: float, scaled: bool) -> tuple[Outcome, int, float]:
    """Step `size / loss` (or `size`, where not scaled), 5 % longer after each success, undone and halved when it fails.

    Once a tolerance is met, a hundred ever shorter steps follow.

    Returns:
        Outcome, gradient evaluations, last `size`.
    """
    size, settling, outcome = first, 0, Outcome.BUDGET_SPENT
    if not descent.evaluate():
        return Outcome.NOT_FINITE, 1, size
    for index in range(1, trace.total + 1):
        size, better = _attempt(descent, size, scaled)
        if size < SMALLEST_STEP * first:
            trace.reached(index, descent, "stagnated", record=True)
            return Outcome.STAGNATED if not settling else outcome, index + 1, size
        if settling:
            settling += 1
            size *= SHRINKING / (GROWTH if better else 1.0)
        done = trace.reached(index, descent, f"step {size:.2g}", record=settling > SETTLING)
        if settling > SETTLING:
            break
        if done and not settling:
            settling, outcome = 1, Outcome.CONVERGED
    return outcome, index + 1, size


def _attempt(descent: Descent, size: float, scaled: bool) -> tuple[float, bool]:
    """One step, taken back where the objective rises or is not finite; the next size and whether it was kept."""
    loss = max(descent.loss, SMALLEST_LOSS)
    promised = squared_norm(descent.gradient) / (loss**2 if scaled else loss)
    size = min(size, PROMISED / promised) if promised > 0 else size
    saved, kept = descent.snapshot(), (descent.loss, descent.objective, descent.gradient)
    descent.step(size / loss if scaled else size, 0.0)
    if descent.evaluate() and descent.objective <= kept[1]:
        return size * GROWTH, True
    descent.restore(saved)
    descent.loss, descent.objective, descent.gradient = kept
    return size / 2, False


def scheduled(
    descent: Descent, trace: Trace, peak: float, momentum: float, schedule: Schedule
) -> tuple[Outcome, int, float]:
    """Momentum descent with a fixed schedule. NOT_FINITE also where the objective climbs far above its start.

    Returns:
        Outcome, gradient evaluations, the peak step size.
    """
    start, good = math.nan, descent.snapshot()
    for index in range(trace.total + 1):
        if not descent.evaluate() or descent.objective > 10 * start + 10:
            descent.restore(good)
            return Outcome.NOT_FINITE, index + 1, peak
        start = descent.objective if index == 0 else start
        if trace.reached(index, descent, "one cycle" if schedule is Schedule.ONE_CYCLE else "descent"):
            return Outcome.CONVERGED, index + 1, peak
        if index % trace.every == 0:
            good = descent.snapshot()
        if index < trace.total:
            fraction = one_cycle(index / trace.total) if schedule is Schedule.ONE_CYCLE else 1.0
            descent.step(peak * fraction, momentum)
    return Outcome.BUDGET_SPENT, trace.total + 1, peak


def one_cycle(progress: float) -> float:
    """Step size relative to its peak: cosine from 1/25 up to 1 in the first 30 %, cosine down to 1e-4 after.

    >>> [round(one_cycle(t), 4) for t in (0.0, 0.3, 1.0)]
    [0.04, 1.0, 0.0001]
    """
    rising = progress < WARM_UP
    low = START_FRACTION if rising else END_FRACTION
    phase = progress / WARM_UP if rising else (1 - progress) / (1 - WARM_UP)
    return low + (1 - low) * (1 - math.cos(math.pi * phase)) / 2
