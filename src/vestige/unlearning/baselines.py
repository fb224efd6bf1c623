"""What unlearning is compared with: a network retrained without the samples, and one trained on without them.

Each method of comparison has the form `method(model, x, y, forget, *, options) -> Baseline`.
"""

import copy
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from vestige.core.margins import Loss
from vestige.core.outcome import OnStep, Outcome
from vestige.core.rng import spawn
from vestige.nets.training import train_to_margin
from vestige.unlearning.request import Forget, forgotten_and_retained


@dataclass(frozen=True, eq=False)
class Baseline:
    """A new network, what was forgotten, how many gradients of the whole data it took, and how it ended."""

    model: nn.Module
    forgotten: Int[Tensor, " k"]
    gradient_evaluations: int
    outcome: Outcome
    warnings: tuple[str, ...] = ()


def retrain(
    model: nn.Module,
    x: Float[Tensor, "n ..."],
    y: Shaped[Tensor, " n"],
    forget: Forget,
    *,
    loss: Loss | str,
    weight_decay: float = 0.0,
    start: nn.Module | None = None,
    tol_loss: float = 1e-6,
    steps: int | None = None,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> Baseline:
    """Train from scratch on the retained samples: the reference for every other method.

    Args:
        model: the architecture; its weights are not used.
        x: all training samples, model space.
        y: their labels.
        forget: positions, or a mask.
        loss: of the training.
        weight_decay: of the training.
        start: untrained network; None for one with weights drawn uniformly from +-1/sqrt(inputs of the neuron).
        tol_loss: training without weight decay stops at this loss.
        steps: see `train_to_margin`.
        generator: draws the weights of the start.
        on_step: progress.
    """
    fresh = _fresh(model, generator) if start is None else start
    return train_on_retained(fresh, x, y, forget, loss, weight_decay, tol_loss, steps, on_step)


def fine_tune(
    model: nn.Module,
    x: Float[Tensor, "n ..."],
    y: Shaped[Tensor, " n"],
    forget: Forget,
    *,
    loss: Loss | str,
    weight_decay: float = 0.0,
    tol_loss: float = 0.0,
    steps: int = 300,
    on_step: OnStep | None = None,
) -> Baseline:
    """Continue training on the retained samples.

    Args:
        model: the trained network.
        x: all training samples, model space.
        y: their labels.
        forget: positions, or a mask.
        loss: of the training.
        weight_decay: of the training.
        tol_loss: training without weight decay stops at this loss.
        steps: at most this many.
        on_step: progress.
    """
    return train_on_retained(model, x, y, forget, loss, weight_decay, tol_loss, steps, on_step)


def train_on_retained(
    start: nn.Module,
    x: Float[Tensor, "n ..."],
    y: Shaped[Tensor, " n"],
    forget: Forget,
    loss: Loss | str,
    weight_decay: float,
    tol_loss: float,
    steps: int | None,
    on_step: OnStep | None,
) -> Baseline:
    """Train `start` on the retained samples."""
    index, kept = forgotten_and_retained(forget, len(x))
    found = train_to_margin(
        start,
        x[kept],
        y[kept],
        loss=str(Loss(loss)),
        weight_decay=weight_decay,
        tol_loss=tol_loss,
        steps=steps,
        on_step=on_step,
    )
    return Baseline(found.model, index, found.gradient_evaluations, found.outcome, found.warnings)


def eval_copy(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode: every method here is about the network that predicts, without dropout."""
    return copy.deepcopy(model).eval()


def in_modes_of(model: nn.Module, net: nn.Module) -> nn.Module:
    """The copy, with each module in the mode of the user's."""
    for mine, theirs in zip(net.modules(), model.modules(), strict=True):
        mine.training = theirs.training
    return net


def _fresh(model: nn.Module, generator: torch.Generator | None) -> nn.Module:
    net, source = copy.deepcopy(model), spawn(generator, "retrain")
    with torch.no_grad():
        for p in net.parameters():
            if p.requires_grad:
                limit = max(1, p[0].numel()) ** -0.5
                p.copy_((2 * torch.rand(p.shape, generator=source) - 1) * limit)
    return net
