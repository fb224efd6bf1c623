"""Gradient descent on the exact loss for many starts at once, ended by Newton's method where that is safe."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vestige.core.cite import Paper
from vestige.core.outcome import OnStep, Outcome, Step
from vestige.landscape.gaussian.population import population_gradient, population_hessian, population_loss
from vestige.landscape.neurons import Neurons
from vestige.landscape.teacher_student.certify import PAPERS

VANISHED = 1e-6  # length of a neuron, from where on it is not followed to 0, where a ReLU has no derivative
FEW = 6  # neurons: the largest curvature at the minimum is about n / 4 + 1/2
ROUND = 50  # steps of gradient descent between two attempts of Newton's method
NEAR = 0.05  # the gradient's length from where on Newton's method is tried, and again where it has halved since
NEWTON = 8  # its steps at most
STATIONARY = 1e-12  # the gradient's length at the end, relative to that of the teacher
LARGEST = 4_000_000  # numbers of Hessians that are held together


@dataclass(frozen=True, eq=False, kw_only=True)
class Descent:
    """Where gradient descent from a batch of starts ended.

    Attributes:
        student: the last weights.
        loss: of each.
        gradient: length of each one's gradient.
        solved: whether the loss fell below the bound that was asked for, so that descent was stopped there.
        stationary: whether Newton's method reached a point without gradient and with a positive definite Hessian.
        outcome: CONVERGED where each start is one or the other.
        source: the papers.
    """

    student: Neurons
    loss: Float[Tensor, " runs"]
    gradient: Float[Tensor, " runs"]
    solved: Bool[Tensor, " runs"]
    stationary: Bool[Tensor, " runs"]
    outcome: Outcome
    source: tuple[Paper, ...] = PAPERS


def descend(
    student: Neurons,
    teacher: Neurons,
    *,
    learning_rate: float | None = None,
    steps: int = 20_000,
    solved: float = 1e-3,
    on_step: OnStep | None = None,
) -> Descent:
    """Minimize the population loss over the weights from each of a batch of starts.

    Plain gradient descent decides which minimum is reached. Near it, where the Hessian is positive definite, Newton's
    method takes over if that lowers the gradient without raising the loss.

    Args:
        student: weights (runs, n, d), output weights 1, no biases.
        teacher: weights (k, d), likewise.
        learning_rate: None for 5 / n, as published for n = k, and 5 / 6 for fewer than 6, where that is too large.
        steps: of gradient descent at most.
        solved: a run stops below this loss. Every known minimum with k <= 20 that is not global lies above 0.01.
        on_step: called after every round of 50 steps; its value is the share of runs that have ended.

    Raises:
        ValueError: biases or output weights, a shape other than (runs, n, d), steps below 1.
    """
    _check(student, teacher, steps)
    teacher, weight = teacher.double(), student.double().weight.clone()
    rate = 5 / max(FEW, weight.shape[1]) if learning_rate is None else learning_rate
    bound = STATIONARY * float(teacher.weight.norm())
    done, stationary = (torch.zeros(len(weight), dtype=torch.bool) for _ in range(2))
    below = torch.full((len(weight),), NEAR, dtype=torch.float64)
    for first in range(0, steps, ROUND):
        live = (~done).nonzero().flatten()
        moved = _steps(weight[live], teacher, rate, min(ROUND, steps - first))
        weight[live] = torch.where(moved.isfinite().all(-1).all(-1)[:, None, None], moved, weight[live])
        loss, gradient = _measured(weight[live], teacher)
        done[live] = (loss < solved) | _vanished(weight[live])
        near = live[(gradient < below[live]) & ~done[live]]
        if len(near):
            weight[near], stationary[near], below[near] = _newton(weight[near], teacher, bound)
            done |= stationary
        if on_step is not None:
            on_step(Step(min(first + ROUND, steps), steps, float(done.double().mean()), "descending"))
        if bool(done.all()):
            break
    loss, gradient = _measured(weight, teacher)
    ended = (loss < solved) | stationary
    return Descent(
        student=Neurons(weight),
        loss=loss,
        gradient=gradient,
        solved=loss < solved,
        stationary=stationary,
        outcome=Outcome.CONVERGED if bool(ended.all()) else Outcome.BUDGET_SPENT,
    )


def _check(student: Neurons, teacher: Neurons, steps: int) -> None:
    if student.weight.ndim != 3 or any(p is not None for s in (student, teacher) for p in (s.bias, s.output)):
        raise ValueError("Weights (runs, n, d) without biases or output weights are needed, of student and teacher.")
    if steps < 1:
        raise ValueError(f"steps={steps} given; at least 1 is needed.")


def _measured(weight: Tensor, teacher: Neurons) -> tuple[Tensor, Tensor]:
    student = Neurons(weight)
    return population_loss(student, teacher), population_gradient(student, teacher).weight.flatten(1).norm(dim=1)


def _vanished(weight: Tensor) -> Tensor:
    return weight.norm(dim=-1).amin(-1) < VANISHED


def _steps(weight: Tensor, teacher: Neurons, rate: float, count: int) -> Tensor:
    for _ in range(count):
        weight = weight - rate * population_gradient(Neurons(weight), teacher).weight
    return weight


def _newton(weight: Tensor, teacher: Neurons, bound: float) -> tuple[Tensor, Tensor, Tensor]:
    """The weights after Newton's method where it ended well, where it did, and below which gradient to try again."""
    _, gradient = _measured(weight, teacher)
    size = weight[0].numel() ** 2
    parts = [_newton_part(part, teacher, bound) for part in weight.split(max(1, LARGEST // size))]
    moved, ended = (torch.cat(part) for part in zip(*parts, strict=True))
    return moved, ended, gradient / 2


def _newton_part(weight: Tensor, teacher: Neurons, bound: float) -> tuple[Tensor, Tensor]:
    start, (value, before) = weight, _measured(weight, teacher)
    fine = torch.ones(len(weight), dtype=torch.bool)
    for _ in range(NEWTON):
        slope = population_gradient(Neurons(weight), teacher).weight.flatten(1)
        size = slope.norm(dim=1)
        fine = fine & (size <= before) & size.isfinite()
        if not bool((fine & (size > bound)).any()):
            break
        factor, info = torch.linalg.cholesky_ex(population_hessian(Neurons(weight), teacher))
        fine = fine & (info == 0)
        step = torch.cholesky_solve(slope[..., None], factor)[..., 0].view_as(weight)
        fine = fine & ~_vanished(weight - step)
        weight, before = torch.where(fine[:, None, None], weight - step, start), size
    loss, size = _measured(weight, teacher)
    ended = fine & (size <= bound) & (loss <= value)
    return torch.where(ended[:, None, None], weight, start), ended
