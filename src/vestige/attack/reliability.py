"""Signs that a robust accuracy means less than it says, before and after the attack."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vestige.attack.methods.losses import AttackLoss, objective
from vestige.attack.methods.oracle import Oracle
from vestige.attack.problem import are_probabilities
from vestige.core.space import InputSpace
from vestige.core.threat import Norm

LOOKED_AT = 64  # samples that are evaluated for the checks
NOISE = 1e-4  # relative difference of two evaluations of the same inputs


class LogProbabilities(nn.Module):
    """A model of probabilities as one of logits: their logarithm is one up to a constant, which no attack sees."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Logarithms of the probabilities, from below at 1e-30."""
        return self.model(x).clamp(min=1e-30).log()


@dataclass(frozen=True)
class Reliability:
    """Whether the outputs are probabilities, and what to warn of."""

    probabilities: bool
    warnings: tuple[str, ...]


def reliability(
    model: nn.Module, x: Tensor, y: Tensor, *, eps: float | int, norm: Norm, space: InputSpace
) -> Reliability:
    """Look for random answers, probabilities, zero gradients, optimisation at inference, a radius in other units."""
    x, y, notes = x[:LOOKED_AT], y[:LOOKED_AT], []
    oracle = Oracle(model, space)
    first, second = oracle.logits(x), oracle.logits(x)
    scale = first.abs().amax().clamp(min=1e-12)
    if float((first - second).abs().amax() / scale) > NOISE:
        notes.append(
            "Randomised model: two evaluations of the same inputs differ, and the attack follows noise. Average its "
            "answers inside the model, or fix its randomness."
        )
    soft = bool(torch.isfinite(first).all()) and first.ndim == 2 and are_probabilities(first)
    if soft:
        notes.append(
            "Softmax outputs: the model returns probabilities, whose gradients vanish; their logarithms were attacked. "
            "Return logits."
        )
    if first.ndim == 2 and int(y.max()) < first.shape[1]:
        notes += _gradients(Oracle(LogProbabilities(model) if soft else model, space), x, y)
    notes += _inference(model, x, space)
    if norm is Norm.LINF and eps > (space.high - space.low) / 2:
        notes.append(
            f"eps = {eps:g} is more than half of the data's range: any input can be made grey. Is it 0-255 units?"
        )
    return Reliability(soft, tuple(notes))


def _gradients(oracle: Oracle, x: Tensor, y: Tensor) -> list[str]:
    slope = oracle.gradient(x, objective(AttackLoss.CE, y))[2]
    dead = (slope.flatten(1) == 0).all(1)
    if not bool(dead.any()):
        return []
    return [
        f"Zero gradients: for {int(dead.sum())} of {len(x)} samples looked at, the cross-entropy's gradient is exactly "
        "0 (saturated or masked); attacks by gradients see nothing there. Add the stage 'square', which needs none."
    ]


def _inference(model: nn.Module, x: Tensor, space: InputSpace) -> list[str]:
    try:
        with torch.inference_mode():
            model(space.to_model(x.clone()))
    except RuntimeError:
        return [
            "Inference-time optimisation: the model uses gradients to answer. Gradients through it are unreliable; "
            "attack it in a way that knows its defence."
        ]
    return []


def after(stages: tuple[str, ...], broken: Tensor) -> tuple[str, ...]:
    """What the order of successes tells: a black box that breaks what gradients did not."""
    place = stages.index("square") if "square" in stages else 0
    late = int((broken == place).sum()) if place else 0
    if not late:
        return ()
    return (
        f"Black box beats white box: Square, which uses no gradient, broke {late} samples that gradients did not. "
        "The gradients may be masked.",
    )
