"""Gradient descent on fresh samples of a target: what is learned from a random start, without a sample seen twice."""

import copy
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from vestige.construct.separation.targets import SeparatedTarget
from vestige.core.cite import Paper, paper
from vestige.core.descent import Descent, fit
from vestige.core.outcome import OnStep, Outcome, Step
from vestige.core.rng import spawn

HELD_OUT = 4096
RECORDS = 200


@dataclass(frozen=True, eq=False, kw_only=True)
class LearningRun:
    """A trained copy, and how far it is from the target on samples that it has not seen.

    Attributes:
        model: after the last finite step.
        relative_loss: E (f - N)^2 / Var f; 1 is a constant, 0 the target.
        correlation: of N with the target, both without their means.
        losses: mean squared errors of recorded batches.
        outcome: BUDGET_SPENT, CONVERGED below the tolerance, or NOT_FINITE.
    """

    model: nn.Module
    relative_loss: float
    correlation: float
    losses: tuple[float, ...]
    outcome: Outcome
    warnings: tuple[str, ...] = ()
    source: tuple[Paper, ...] = field(default=(paper("2102.00434"),), repr=False)


def learning_run(
    target: SeparatedTarget,
    model: nn.Module,
    *,
    steps: int = 2000,
    batch_size: int = 256,
    learning_rate: float | int = 3e-3,
    tolerance: float | int = 1e-4,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> LearningRun:
    """Train a copy of a network on a stream of samples with Adam, a cosine schedule and the squared loss.

    Args:
        target: of one value an input.
        model: of one output; its weights are the start.
        steps: batches, each of new samples.
        batch_size: samples of a batch.
        learning_rate: at the start; it falls to 0.
        tolerance: end when a batch has a mean squared error below this share of the variance.
        generator: draws the samples; None for seed 0.
        on_step: called at each recorded step.

    Raises:
        ValueError: steps or a batch size below 1, or outputs that are no single number.
    """
    _check(steps, batch_size)
    net, draw = copy.deepcopy(model), spawn(generator, "learning_run")
    like = next(net.parameters())
    held = tuple(t.to(like) for t in target.sample(HELD_OUT, spawn(generator, "held out")))
    with torch.no_grad():
        if net(held[0][:2]).numel() != 2:
            raise ValueError("the model has several outputs; a target of one value needs one.")
    variance = float(held[1].var())
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=float(learning_rate))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    every = max(1, steps // RECORDS)

    def objective(_k: int) -> Tensor:
        return _loss(net, *(t.to(like) for t in target.sample(batch_size, draw)))

    def told(step: Step) -> None:
        if on_step is not None and (step.index % every == 0 or step.index == steps):
            on_step(replace(step, value=step.value / variance))

    found = fit(
        objective,
        Descent(optimizer, schedule, draw),
        steps=steps,
        enough=lambda _, value: value < tolerance * variance,
        on_step=told,
        note=target.name,
    )
    recorded = [value for k, value in enumerate(found.values.tolist(), 1) if k % every == 0 or k == steps]
    return _judged(net, held[0], held[1], recorded, found.outcome)


def _check(steps: int, batch_size: int) -> None:
    if steps < 1 or batch_size < 1:
        raise ValueError(f"steps={steps}, batch_size={batch_size} given; both must be at least 1.")


def _loss(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return (net(x).reshape(-1) - y).square().mean()


def _judged(net: nn.Module, x: Tensor, y: Tensor, losses: list[float], outcome: Outcome) -> LearningRun:
    """Distance from the target and correlation with it, on samples that were held out."""
    with torch.no_grad():
        found = net(x).reshape(-1)
    pair = torch.stack([found, y])
    return LearningRun(
        model=net,
        relative_loss=float((found - y).square().mean()) / float(y.var()),
        correlation=float(torch.corrcoef(pair)[0, 1]) if float(found.var()) > 0 else 0.0,
        losses=tuple(losses),
        outcome=outcome,
        warnings=("A loss was not finite; give a smaller learning_rate.",) if outcome is Outcome.NOT_FINITE else (),
    )
