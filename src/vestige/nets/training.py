"""Models worth auditing in seconds: full-batch training to a large margin, or to a stationary point with weight decay.

Gradient descent on a margin loss drives a homogeneous network towards a KKT point of the maximum margin problem
(arXiv 2206.07758, equation 3); weight decay drives any network to a stationary point of its loss (arXiv 2307.01827).
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from vestige.core.cite import Paper, paper
from vestige.core.margins import Loss, margin
from vestige.core.outcome import OnStep, Outcome
from vestige.nets.gradient_descent import Schedule, StepSize, Trace, Training, loss_scaled, scheduled
from vestige.nets.objective import checked_data, loss_of_outputs
from vestige.nets.span import SpanView, leave_span, span_view

SOURCE = (paper("2206.07758"), paper("2307.01827"))
# Measured on 20 and 100 digits and CIFAR-10 images, width 1000, centered or not; where one diverges, try a quarter.
PEAK_STEP = {Loss.MSE: 0.2, Loss.HUBER: 0.8}
PEAK_STEP_MARGIN = 0.8
DEFAULT_STEPS = {Schedule.LOSS_SCALED: 20_000, Schedule.ONE_CYCLE: 4_000, Schedule.CONSTANT: 20_000}
ATTEMPTS, RECORDED_POINTS = 6, 400


@dataclass(frozen=True, eq=False, kw_only=True)
class Trained:
    """A trained copy of the model, and how it got there.

    `stationarity` is |grad + wd theta| / (wd |theta|) with weight decay, else the sine of the angle between theta and
    the negative gradient: 0 at an exact stationary (KKT) point. ReLU networks stay above it, because autograd's
    gradient at a kink is one of many. The histories belong to the steps in `recorded_steps`. `span_rank` is the number
    of coordinates that the data span, None where training took place in the full space.
    """

    model: nn.Module
    loss: float
    stationarity: float
    accuracy: float
    outcome: Outcome
    steps: int
    recorded_steps: tuple[int, ...]
    loss_history: tuple[float, ...]
    stationarity_history: tuple[float, ...]
    learning_rate: float
    gradient_evaluations: int
    span_rank: int | None = None
    warnings: tuple[str, ...] = ()
    source: tuple[Paper, ...] = field(default=SOURCE, repr=False)


def train_to_margin(
    model: nn.Module,
    x: Float[Tensor, " n *feature"],
    y: Shaped[Tensor, " *target"],
    *,
    loss: str = "logistic",
    weight_decay: float | int = 0.0,
    steps: int | None = None,
    schedule: str | None = None,
    learning_rate: float | int | None = None,
    momentum: float | int | None = None,
    tol_loss: float | int = 1e-6,
    tol_stationarity: float | int | None = None,
    span: bool | str = "auto",
    step_size: StepSize | None = None,
    on_step: OnStep | None = None,
) -> Trained:
    """Train a copy of `model` on all samples at once until its loss or its stationarity is small.

    Minimizes (1/n) sum_i l(f(x_i), y_i) + wd/2 |theta|^2 over all trainable parameters.

    Args:
        model: any module; its weights are the start. The papers start from a small first layer:
            `mlp(..., first_init=1e-4)`.
        x: samples in model space, usually centered; cast to the model's precision.
        y: classes as integers ({0, 1} or {-1, 1} for one output), or float targets (n, out) for mse and huber.
        loss: logistic, exponential, cross_entropy, mse or huber.
        weight_decay: wd; torch's SGD means the same by it.
        steps: at most this many; None for 20,000, or 4,000 of one cycle.
        schedule: "loss_scaled" (default without weight decay), "one_cycle" (default with), or "constant".
        learning_rate: first step size, peak of the cycle, or the constant; None for a measured default, and then a
            diverging cycle starts again at a quarter of it.
        momentum: of the schedules one_cycle (default 0.9) and constant (default 0).
        tol_loss: without weight decay, stop when the mean loss is at most this. With it a small loss on the way means
            nothing, and it is not looked at.
        tol_stationarity: stop when the residual described in `Trained` is at most this; None for never.
        step_size: makes of SGD and the penalized loss the optimizer that takes the steps, in place of a schedule's;
            with the schedule "constant".
        span: train in the span of the data where that is exact ("auto"), insist on it (True), or never (False).
        on_step: called at each recorded step, at most about 400 times.

    Returns:
        Trained, with a warning for each thing that makes the model less worth auditing.

    Raises:
        ValueError: labels, targets, sizes or options out of range; no trainable parameters; a random forward pass.

    Example:
        >>> from vestige.nets.fully_connected import mlp
        >>> x, y = torch.tensor([[2.0], [-2.0]]), torch.tensor([1, 0])
        >>> result = train_to_margin(mlp([1, 1], bias="none"), x, y, loss="logistic", tol_loss=1e-3)
        >>> result.outcome.value, result.accuracy, result.stationarity < 1e-6
        ('converged', 1.0, True)
    """
    kind, rule = Loss(loss), _checked_schedule(schedule, weight_decay, steps, learning_rate, momentum)
    x, outputs = checked_data(model, x)
    loss_of, view = loss_of_outputs(outputs, y, kind), _checked_view(model, x, span)
    steps, evaluations = DEFAULT_STEPS[rule] if steps is None else steps, 0
    first, decay = _first_step(rule, kind, x, learning_rate), _momentum(rule, momentum)
    # Loss-scaled steps mend themselves, and a learning rate that was asked for is kept.
    for attempt in range(1 if learning_rate is not None or rule is Schedule.LOSS_SCALED else ATTEMPTS):
        training, work = _training(model, x, view, loss_of, weight_decay)
        goal = -math.inf if weight_decay else tol_loss
        trace = Trace(steps, max(1, steps // RECORDED_POINTS), goal, tol_stationarity, on_step)
        if rule is Schedule.LOSS_SCALED:
            outcome, used, size = loss_scaled(training, trace, first, kind.is_margin)
        else:
            outcome, used, size = scheduled(training, trace, first / 4**attempt, decay, rule, step_size)
        evaluations += used
        if not _failed(outcome, trace):
            break
    trained = work if view is None else leave_span(view, work, model, training.outside.item())
    return _result(trained, x, y, outcome, trace, evaluations, size, None if view is None else view.z.shape[-1])


def _checked_schedule(
    schedule: str | None,
    weight_decay: float | int,
    steps: int | None,
    learning_rate: float | int | None,
    momentum: float | int | None,
) -> Schedule:
    if not (math.isfinite(weight_decay) and weight_decay >= 0):
        raise ValueError(f"weight_decay={weight_decay} given; allowed are 0 and positive numbers, 1e-3 is usual here")
    if steps is not None and steps < 1:
        raise ValueError(f"steps={steps} given; at least 1 is needed, None takes the default")
    if learning_rate is not None and not (math.isfinite(learning_rate) and learning_rate > 0):
        raise ValueError(f"learning_rate={learning_rate} given; it must be positive, None takes a measured default")
    if momentum is not None and not 0 <= momentum < 1:
        raise ValueError(f"momentum={momentum} given; allowed are 0 <= momentum < 1")
    if schedule is None:
        schedule = Schedule.ONE_CYCLE if weight_decay else Schedule.LOSS_SCALED
    if schedule not in set(Schedule):
        raise ValueError(f"schedule={schedule!r} given; allowed are {', '.join(Schedule)}")
    if momentum and schedule == Schedule.LOSS_SCALED:
        raise ValueError("schedule='loss_scaled' undoes failed steps and takes no momentum; use 'one_cycle'")
    return Schedule(schedule)


def _first_step(rule: Schedule, kind: Loss, x: Tensor, learning_rate: float | int | None) -> float:
    if learning_rate is not None:
        return float(learning_rate)
    if rule is Schedule.LOSS_SCALED:
        return 0.1 / max(1.0, x.flatten(1).square().sum(1).mean().item())
    return PEAK_STEP.get(kind, PEAK_STEP_MARGIN) if rule is Schedule.ONE_CYCLE else 0.01


def _momentum(rule: Schedule, momentum: float | int | None) -> float:
    if momentum is None:
        return 0.9 if rule is Schedule.ONE_CYCLE else 0.0
    return float(momentum)


def _checked_view(model: nn.Module, x: Tensor, span: bool | str) -> SpanView | None:
    if span not in (True, False, "auto"):
        raise ValueError(f"span={span!r} given; allowed are 'auto', True and False")
    view = span_view(model, x) if span else None
    if view is None and span is True:
        raise ValueError("span=True: the model must begin with a linear layer, and the data span less than its inputs")
    return view


def _training(
    model: nn.Module,
    x: Tensor,
    view: SpanView | None,
    loss_of: Callable[[Tensor], Tensor],
    weight_decay: float | int,
) -> tuple[Training, nn.Module]:
    """A training at its start, and the network it will change: a copy of the model or of its view in the span."""
    work, data = copy.deepcopy(model if view is None else view.model), x if view is None else view.z
    outside_sq = 0.0 if view is None else view.outside.square().sum().item()
    parameters: list[Tensor] = [p for p in work.parameters() if p.requires_grad]
    return Training(parameters, lambda: loss_of(work(data)), float(weight_decay), outside_sq), work


def _failed(outcome: Outcome, trace: Trace) -> bool:
    """Diverged, or ended no better than it began, as when one long step switches every neuron off."""
    return outcome is Outcome.NOT_FINITE or trace.rows[-1][1] >= trace.rows[0][1]


def _result(
    trained: nn.Module,
    x: Tensor,
    y: Tensor,
    outcome: Outcome,
    trace: Trace,
    evaluations: int,
    size: float,
    rank: int | None,
) -> Trained:
    rows = trace.rows or [(0, math.nan, math.nan)]
    accuracy, warnings = math.nan, []
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        outputs = trained(x)
    if not y.is_floating_point() and bool(torch.isfinite(outputs).all()):
        right = margin(outputs, y) > 0
        accuracy = right.double().mean().item()
        if accuracy < 1:
            wrong = int((~right).sum())
            warnings.append(f"{wrong} of {len(x)} training samples are misclassified: such samples are on no margin")
    if outcome is Outcome.NOT_FINITE:
        warnings.append("training diverged and the last finite weights were kept; give a smaller learning_rate")
    index, losses, residuals = zip(*rows, strict=True)
    return Trained(
        model=trained,
        loss=losses[-1],
        stationarity=residuals[-1],
        accuracy=accuracy,
        outcome=outcome,
        steps=index[-1],
        recorded_steps=index,
        loss_history=losses,
        stationarity_history=residuals,
        learning_rate=size,
        gradient_evaluations=evaluations,
        span_rank=rank,
        warnings=tuple(warnings),
    )
