"""Full-batch gradient descent on mean loss + wd/2 |theta|^2: two rules for the step, one record of stationarity.

Without weight decay the gradient of a margin loss vanishes like the loss, so the step grows like 1/loss and is halved
when the objective rises; a step that is taken back is no step of an optimizer, so this loop is written out. With weight
decay momentum and one cycle of the step size reach the stationary point.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vestige.core.choices import ChoiceEnum
from vestige.core.descent import Descent, fit
from vestige.core.outcome import OnStep, Outcome, Step


class Schedule(ChoiceEnum):
    """How the step size moves: LOSS_SCALED adapts itself, ONE_CYCLE warms up and anneals, CONSTANT is plain descent."""

    LOSS_SCALED = "loss_scaled"
    ONE_CYCLE = "one_cycle"
    CONSTANT = "constant"


# An optimizer and the penalized loss to the optimizer with its own step size.
StepSize = Callable[[torch.optim.Optimizer, Callable[[], Tensor]], torch.optim.Optimizer]
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
class Training:
    """Variables that are stepped in place, and what is known about the last point they were evaluated at.

    `outside` is the factor of the first layer's part outside the data's span, of squared norm `outside_sq` at factor 1:
    the loss does not depend on it, so it follows the same rule as every parameter, as one number. `gradient` is the
    loss's, of the parameters alone.
    """

    parameters: list[Tensor]
    mean_loss: Callable[[], Tensor]
    weight_decay: float
    outside_sq: float = 0.0
    outside: Tensor = field(default_factory=lambda: torch.ones((), dtype=torch.float64, requires_grad=True))
    loss: float = math.nan
    gradient: list[Tensor] = field(default_factory=list)

    def evaluate(self) -> bool:
        """Loss and its gradient at the current parameters; false, and nothing changed, if not finite."""
        value = self.mean_loss()
        if not math.isfinite(self.penalized(value.item())):
            return False
        self.loss, self.gradient = value.item(), list(torch.autograd.grad(value, self.parameters))
        return True

    def penalized(self, loss: float) -> float:
        """The objective at the current parameters."""
        return loss + (0.5 * self.weight_decay * self.parameter_sq() if self.weight_decay else 0.0)

    def objective(self) -> Tensor:
        """The penalized loss, with its graph."""
        size = self.outside_sq * self.outside.square() + sum(p.square().sum().double() for p in self.parameters)
        return self.mean_loss() + 0.5 * self.weight_decay * size

    def slope(self) -> list[Tensor]:
        """The gradient of the objective in the parameters."""
        pairs = zip(self.gradient, self.parameters, strict=True)
        return [g.add(p.detach(), alpha=self.weight_decay) for g, p in pairs] if self.weight_decay else self.gradient

    def parameter_sq(self) -> float:
        """Squared norm of all parameters, the part outside the span included."""
        return squared_norm(self.parameters) + self.outside.item() ** 2 * self.outside_sq

    @torch.no_grad()
    def step(self, size: float) -> None:
        """theta -= size * slope."""
        for p, v in zip(self.parameters, self.slope(), strict=True):
            p.add_(v, alpha=-size)
        self.outside.mul_(1 - size * self.weight_decay)

    def stationarity(self) -> float:
        """How far theta is from a sum of the samples' gradients with the loss's own multipliers, relative to theta.

        With weight decay |grad + wd theta| / (wd |theta|); without, the sine of the angle between theta and the
        negative gradient, which is the same residual with the best common multiplier.
        """
        gradient_sq = squared_norm(self.slope())
        parameter_sq = self.parameter_sq()
        if self.weight_decay:
            gradient_sq += (self.weight_decay * self.outside.item()) ** 2 * self.outside_sq
            return math.sqrt(gradient_sq) / (self.weight_decay * math.sqrt(parameter_sq)) if parameter_sq else math.nan
        pairs = zip(self.gradient, self.parameters, strict=True)
        inner = -sum((g * p.detach()).sum().item() for g, p in pairs)
        if gradient_sq * parameter_sq == 0:
            return math.nan
        return math.sqrt(max(0.0, 1 - max(inner, 0.0) ** 2 / (gradient_sq * parameter_sq)))

    def snapshot(self) -> list[Tensor]:
        return [v.detach().clone() for v in (*self.parameters, self.outside)]

    @torch.no_grad()
    def restore(self, saved: list[Tensor]) -> None:
        for v, old in zip((*self.parameters, self.outside), saved, strict=True):
            v.copy_(old)


@dataclass
class Trace:
    """Loss and stationarity, kept every `every` steps, with the tolerances that end a run."""

    total: int
    every: int
    tol_loss: float | int
    tol_stationarity: float | int | None
    on_step: OnStep | None
    rows: list[tuple[int, float, float]] = field(default_factory=list)

    def reached(self, index: int, training: Training, note: str, *, record: bool = False) -> bool:
        """Record step `index` if it is due, the last or `record` says so; whether a tolerance is met."""
        enough = training.loss <= self.tol_loss
        if index % self.every and index != self.total and not record:
            return enough
        residual = training.stationarity()
        self.rows.append((index, training.loss, residual))
        if self.on_step is not None:
            self.on_step(Step(index, self.total, training.loss, note))
        return enough or (self.tol_stationarity is not None and residual <= self.tol_stationarity)


def loss_scaled(training: Training, trace: Trace, first: float, scaled: bool) -> tuple[Outcome, int, float]:
    """Step `size / loss` (or `size`, where not scaled), 5 % longer after each success, undone and halved when it fails.

    Once a tolerance is met, a hundred ever shorter steps follow.

    Returns:
        Outcome, gradient evaluations, last `size`.
    """
    size, settling, outcome = first, 0, Outcome.BUDGET_SPENT
    if not training.evaluate():
        return Outcome.NOT_FINITE, 1, size
    for index in range(1, trace.total + 1):
        size, better = _attempt(training, size, scaled)
        if size < SMALLEST_STEP * first:
            trace.reached(index, training, "stagnated", record=True)
            return Outcome.STAGNATED if not settling else outcome, index + 1, size
        if settling:
            settling += 1
            size *= SHRINKING / (GROWTH if better else 1.0)
        done = trace.reached(index, training, f"step {size:.2g}", record=settling > SETTLING)
        if settling > SETTLING:
            break
        if done and not settling:
            settling, outcome = 1, Outcome.CONVERGED
    return outcome, index + 1, size


def _attempt(training: Training, size: float, scaled: bool) -> tuple[float, bool]:
    """One step, taken back where the objective rises or is not finite; the next size and whether it was kept."""
    loss = max(training.loss, SMALLEST_LOSS)
    promised = squared_norm(training.slope()) / (loss**2 if scaled else loss)
    size = min(size, PROMISED / promised) if promised > 0 else size
    saved, before = training.snapshot(), (training.loss, training.gradient)
    objective = training.penalized(training.loss)
    training.step(size / loss if scaled else size)
    if training.evaluate() and training.penalized(training.loss) <= objective:
        return size * GROWTH, True
    training.restore(saved)
    training.loss, training.gradient = before
    return size / 2, False


def scheduled(
    training: Training,
    trace: Trace,
    peak: float,
    momentum: float,
    schedule: Schedule,
    step_size: StepSize | None = None,
) -> tuple[Outcome, int, float]:
    """Momentum descent with a fixed schedule, or with what chooses the step size.

    NOT_FINITE also where the objective climbs far above its start.

    Returns:
        Outcome, gradient evaluations, the peak step size.
    """
    cycles, ceiling = schedule is Schedule.ONE_CYCLE, math.inf
    variables = [*training.parameters, training.outside]
    sgd = torch.optim.SGD(variables, peak, momentum, weight_decay=training.weight_decay)

    def fraction(k: int) -> float:
        """Of the peak; the last point is evaluated and not left."""
        return 0.0 if k >= trace.total else one_cycle(k / trace.total) if cycles else 1.0

    def objective(k: int) -> Tensor:
        nonlocal ceiling
        value = training.mean_loss()
        penalized = training.penalized(value.item())
        ceiling = 10 * penalized + 10 if k == 0 else ceiling
        return value if penalized <= ceiling else value * math.nan

    def enough(k: int, loss: float) -> bool:
        training.loss, training.gradient = loss, [p.grad for p in training.parameters if p.grad is not None]
        return trace.reached(k, training, "one cycle" if cycles else "descent")

    if step_size is None:
        descent = Descent(sgd, torch.optim.lr_scheduler.LambdaLR(sgd, fraction))
    else:
        descent = Descent(step_size(sgd, training.objective))
    found = fit(objective, descent, steps=trace.total + 1, enough=enough)
    return found.outcome, len(found.values), peak


def one_cycle(progress: float) -> float:
    """Step size relative to its peak: cosine from 1/25 up to 1 in the first 30 %, cosine down to 1e-4 after.

    >>> [round(one_cycle(t), 4) for t in (0.0, 0.3, 1.0)]
    [0.04, 1.0, 0.0001]
    """
    rising = progress < WARM_UP
    low = START_FRACTION if rising else END_FRACTION
    phase = progress / WARM_UP if rising else (1 - progress) / (1 - WARM_UP)
    return low + (1 - low) * (1 - math.cos(math.pi * phase)) / 2
