"""A step size that needs no schedule: of each update, the length that descends most (arXiv 2311.13877).

For the update x <- x - s v of any base optimizer, the loss falls most at s = n / c, slope over curvature along v. From
the gradient that v is made of, n is too large by the variance of the noise and no average mends it; so n is measured on
another batch, where it is unbiased, and averaged over steps, apart from c. The method is built from this principle; the
paper's own estimator and constants are not known here.
"""

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vestige.core.cite import paper
from vestige.core.rng import spawn
from vestige.optim.direction import check_base, unit_direction, variables_of
from vestige.optim.draws import Draws, halves
from vestige.optim.line import (
    Curvature,
    Line,
    Look,
    NotTwiceDifferentiable,
    Numerator,
    Objective,
    evaluate,
    inner,
    mean_over_processes,
    undisturbed,
)
from vestige.optim.rate import Probe, Rate

PAPER = paper("2311.13877")
CHECKS = 3  # probes at which the base is tested to be linear


class LocallyOptimalStep(torch.optim.Optimizer):
    """Any optimizer of torch with the step size that descends most along its own update.

    Use it in the place of the base: `step()`, with or without a closure, `zero_grad`, `state_dict`, gradient scalers,
    accumulation and trainers are as ever. Every few steps it looks at the loss along the next update, on a batch of its
    own. `param_groups[i]["lr"]` shows the step size in use, and what others write there is replaced.

    Args:
        base: SGD, Adam, AdamW or another whose update is linear in its learning rate. The ratios of its groups'
            learning rates are kept; their size is used only until the first probe that descends.
        model: what `objective` is called with; not wrapped for distributed training, whose reducer has no second
            derivative. Its buffers and masks are left alone by a probe.
        objective: (model, batch) to the mean loss, or to (outputs, loss). Without penalties that the base applies.
        batches: to probe on, such as a second loader of the training data; gone through again and again.
        curvature: "gauss_newton" (needs outputs), "hessian", "parabola" or "smoothness"; None for the first where the
            objective returns outputs, else the second. Where an operation has no second derivative, these two fall
            back to the parabola, with one warning.
        numerator: "independent" (of the step's own batch), "split" (direction and slope from two halves of a probe's
            batch), or "same" (the gradient at hand; for training without noise only).
        smoothness: constant b of |grad f(x) - grad f(y)| <= b |x - y|; for "smoothness".
        average: weight of the past in the averages of slope and curvature.
        every: steps between two probes; the first `every` steps all have one.
        growth: largest factor up between two probes, and the factor down where the loss rises along the step.
        low: smallest step size.
        high: largest step size.
        scale: factor on every step size.
        horizon: steps over which the factor falls linearly to 0; None for none.
        generator: of the order of batches, where the loader shuffles by the global generator; None for seed 0.

    Attributes:
        history: of all probes.

    Raises:
        ValueError: a base that is not linear or has sparse gradients, options out of range, an objective that is not
            finite, draws or changes something by itself, or has no graph to the variables.

    Source: arXiv 2311.13877.

    >>> x = nn.Linear(2, 1, bias=False)
    >>> curve = torch.tensor([1.0, 10.0])
    >>> def loss(model, _): return (curve * model.weight.square()).sum() / 2
    >>> step = LocallyOptimalStep(torch.optim.SGD(x.parameters(), 1e-6), x, loss, [None],
    ...     curvature="hessian", numerator="same", average=0.0)
    >>> _ = x.weight.data.copy_(torch.tensor([[1.0, 0.1]]))
    >>> loss(x, None).backward(); step.step()
    >>> round(step.param_groups[0]["lr"], 6)  # Cauchy: g.g / g.Hg = 2 / 11
    0.181818
    """

    def __init__(
        self,
        base: torch.optim.Optimizer,
        model: nn.Module,
        objective: Objective,
        batches: Iterable[Any],
        *,
        curvature: Curvature | str | None = None,
        numerator: Numerator | str = Numerator.INDEPENDENT,
        smoothness: float | None = None,
        average: float = 0.95,
        every: int = 10,
        growth: float = 2.0,
        low: float = 1e-8,
        high: float = 100.0,
        scale: float = 1.0,
        horizon: int | None = None,
        generator: torch.Generator | None = None,
    ):
        check_base(base)
        self.curvature = None if curvature is None else Curvature(curvature)
        self.numerator, self.smoothness = Numerator(numerator), smoothness
        if (self.curvature is Curvature.SMOOTHNESS) != (smoothness is not None and smoothness > 0):
            raise ValueError(
                f"curvature={curvature!r}, smoothness={smoothness} given; 'smoothness' goes with a positive constant."
            )
        if every < 1 or not scale > 0 or (horizon is not None and horizon < 1):
            raise ValueError(f"every={every}, scale={scale}, horizon={horizon} given; all must be positive.")
        first = max(float(group["lr"]) for group in base.param_groups)
        self.base, self.model, self.objective, self.every = base, model, objective, every
        self.scale, self.horizon = scale, horizon
        self.multipliers = [float(group["lr"]) / first for group in base.param_groups]
        self.rate = Rate(first, average, growth, low, high)
        self.draws, self.taken = Draws(batches, spawn(generator, "probes")), 0
        super().__init__(base.param_groups, base.defaults)
        self._share()

    def _share(self) -> None:
        """One state and one list of groups: trainers may read and write them here."""
        self.param_groups, self.state = self.base.param_groups, self.base.state

    @property
    def history(self) -> tuple[Probe, ...]:
        """Of all probes so far."""
        return tuple(self.rate.history)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Choose the step size and take one step of the base.

        Args:
            closure: computes the gradient anew and returns the loss, as for any optimizer; called once.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self.choose()
        self.base.step()
        return loss

    def choose(self) -> None:
        """Set the learning rates of the base for its next step, from the gradients at hand."""
        if any(p.grad is not None for p in variables_of(self.base)):
            if self.taken < self.every or self.taken % self.every == 0:
                self._probe()
            left = 1.0 if self.horizon is None else max(0.0, 1 - self.taken / self.horizon)
            for group, multiplier in zip(self.base.param_groups, self.multipliers, strict=True):
                group["lr"] = self.rate.value * self.scale * left * multiplier
            self.taken += 1

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Refused after the start: its multiplier is not known."""
        if hasattr(self, "rate") and len(self.param_groups) >= len(self.multipliers):
            raise ValueError("A group is added to a running step size; add it to the base before.")
        super().add_param_group(param_group)

    def numbers(self) -> Float[Tensor, " k"]:
        """What the next step size depends on beside the base, as one tensor."""
        mine = [self.taken, self.draws.passes, self.draws.place, *self.rate.numbers()]
        return torch.tensor(mine, dtype=torch.float64)

    def take(self, numbers: Float[Tensor, " k"]) -> None:
        """Go to where `numbers` was read; the batches to probe on are drawn again up to there."""
        taken, passes, place, *rest = numbers.tolist()
        self.taken = int(taken)
        self.draws.go_to(int(passes), int(place))
        self.rate.take(rest)

    def state_dict(self) -> dict[str, Any]:
        """Of the base, with the step size under `step_size`: all that bit-exact resuming needs."""
        kept = {"multipliers": list(self.multipliers), "curvature": self.curvature and str(self.curvature)}
        return {**self.base.state_dict(), "step_size": {"numbers": self.numbers(), **kept}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go to a state.

        Raises:
            ValueError: a state without step sizes, such as that of a base alone.
        """
        if "step_size" not in state_dict:
            raise ValueError("A state without 'step_size' given; it is that of another optimizer.")
        mine = state_dict["step_size"]
        self.base.load_state_dict({k: v for k, v in state_dict.items() if k != "step_size"})
        self._share()
        self.multipliers = list(mine["multipliers"])
        self.curvature = None if mine["curvature"] is None else Curvature(mine["curvature"])
        self.take(mine["numbers"])

    @torch.enable_grad()
    def _probe(self) -> None:
        batch = self.draws.next()
        first = not self.rate.history
        if first:
            self._check_objective(batch)
        if self.numerator is Numerator.SPLIT:
            half, batch = halves(batch)
            v = self._direction_from(half)
        else:
            v = self._direction()
        slope, curvature = self._along(batch, v)
        if self.numerator is Numerator.SAME:
            slope = float(inner([p.grad for p in variables_of(self.base)], v))
        size = max(float(inner(v, v)), 1e-300)  # without it the large gradients of the start outweigh all that follows
        self.rate.update(self.taken, slope / size, curvature / size)

    def _direction(self) -> list[Tensor]:
        return unit_direction(self.base, self.multipliers, check=len(self.rate.history) < CHECKS)

    def _direction_from(self, half: Any) -> list[Tensor]:
        """The update that the base would make with the gradient of these samples."""
        variables = variables_of(self.base)
        kept = [p.grad for p in variables]
        try:
            with undisturbed(self.model, variables, self.draws.seed):
                loss = evaluate(self.objective, self.model, half)[1]
                moved = [p for p in variables if p.requires_grad]
                for p, g in zip(moved, torch.autograd.grad(loss, moved, allow_unused=True), strict=True):
                    p.grad = None if g is None else mean_over_processes(g)
            return self._direction()
        finally:
            for p, g in zip(variables, kept, strict=True):
                p.grad = g

    def _along(self, batch: Any, v: list[Tensor]) -> tuple[float, float]:
        """Slope and curvature on a batch."""
        pairs = [(p, d) for p, d in zip(variables_of(self.base), v, strict=True) if p.requires_grad]
        line = Line(self.objective, self.model, batch, [p for p, _ in pairs], [d for _, d in pairs], self.draws.seed)
        length = self.rate.value if self.rate.found else None
        at = None if self.curvature is Curvature.PARABOLA else self._derivatives(line)
        if at is None:
            at = line.parabola(length or line.short)
            if length is not None:
                return at.slope, at.curvature  # that of the whole step
        return at.slope, at.curvature if self.smoothness else line.over_the_step(at, length)

    def _derivatives(self, line: Line) -> Look | None:
        """None, now and from now on, where an operation has no second derivative."""
        try:
            return line.derivatives(self.curvature, self.smoothness)
        except NotTwiceDifferentiable as error:
            self.curvature = Curvature.PARABOLA
            why = str(error).splitlines()[0]
            warnings.warn(f"No second derivative ({why}): the curvature is a parabola's from now on.", stacklevel=6)

    def _check_objective(self, batch: Any) -> None:
        """Same weights, same batch, same random numbers: the same loss."""
        variables = variables_of(self.base)
        before = [p._version for p in variables]
        with torch.no_grad():
            losses = []
            for _ in range(2):
                with undisturbed(self.model, variables, self.draws.seed):
                    losses.append(float(evaluate(self.objective, self.model, batch)[1]))
        once, twice = losses
        if before != [p._version for p in variables] or (once == once and once != twice):
            raise ValueError(
                f"The objective gives {once:.9g} and then {twice:.9g} at the same weights, batch and random numbers, "
                "or changes the weights. It must not draw batches, train or change something by itself."
            )


class LocallyOptimalSchedule(torch.optim.lr_scheduler.LRScheduler):
    """The same as a schedule of the base: `base.step()` and then `schedule.step()`, as with any other.

    The step size is chosen when the base takes its step, by a hook; `step` counts.

    Args:
        optimizer: whose base is the one to call `step` of.

    >>> net = nn.Linear(1, 1)
    >>> base = torch.optim.SGD(net.parameters(), 0.1)
    >>> step = LocallyOptimalStep(base, net, lambda m, x: m(x).square().mean(), [torch.ones(4, 1)])
    >>> schedule = LocallyOptimalSchedule(step)
    >>> schedule.get_last_lr()
    [0.1]
    """

    def __init__(self, optimizer: LocallyOptimalStep):
        self.chosen = optimizer
        optimizer.base.register_step_pre_hook(lambda *_: optimizer.choose())
        super().__init__(optimizer.base)

    def get_lr(self) -> list[float]:
        """The step sizes in use."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Of the step size and the count; the base has its own."""
        return {"last_epoch": self.last_epoch, "step_size": self.chosen.state_dict()["step_size"]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go to a state; the base loads its own."""
        self.chosen.load_state_dict({**self.chosen.base.state_dict(), "step_size": state_dict["step_size"]})
        self.last_epoch, self._last_lr = state_dict["last_epoch"], list[float | Tensor](self.get_lr())
