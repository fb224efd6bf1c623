"""Signs that a robust accuracy means less than it says, looked for before and after the attack."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vestige.attack.classifier import Classifier, LogProbabilities
from vestige.attack.methods.losses import AttackLoss, objective
from vestige.attack.methods.oracle import BATCH_SIZE, Oracle
from vestige.attack.problem import are_one_hot, are_probabilities
from vestige.core.threat import Norm, Threat

LOOKED_AT = 64  # samples that are evaluated for the checks
NOISE = 1e-4  # relative difference of two evaluations of the same inputs


@dataclass(frozen=True)
class Reliability:
    """What the checks found.

    Attributes:
        probabilities: the outputs are probabilities, and not labels alone.
        differentiable: torch can differentiate the outputs.
        warnings: what a reader must know.
    """

    probabilities: bool
    differentiable: bool
    warnings: tuple[str, ...]


def reliability(
    model: Classifier, x: Tensor, y: Tensor, threat: Threat, *, batch_size: int = BATCH_SIZE
) -> Reliability:
    """Look for random outputs, probabilities, missing gradients, optimization at inference, a radius in other units."""
    x, y, space, notes = x[:LOOKED_AT], y[:LOOKED_AT], threat.space, []
    oracle = Oracle(model, space, batch_size)
    first, second = oracle.logits(x), oracle.logits(x)
    scale = first.abs().amax().clamp(min=1e-12)
    if float((first - second).abs().amax() / scale) > NOISE:
        notes.append(
            "Randomized model: two evaluations of the same inputs differ, so the attack follows noise. Average the "
            "outputs inside the model, or fix its randomness."
        )
    differentiable = oracle.differentiable(x[:1])
    table = first.ndim == 2 and bool(torch.isfinite(first).all())
    soft = table and are_probabilities(first, oracle.rounding)
    if soft and not differentiable and are_one_hot(first):
        soft = False
        notes.append(
            "Labels only: the model returns one class and no certainty, so that Square does not see whether it comes "
            "closer. It finds fewer adversarial examples than an attack on the logits."
        )
    elif soft:
        notes.append(
            "Softmax outputs: the model returns probabilities, whose gradients vanish; their logarithms were attacked "
            "instead. Return logits."
        )
    if first.ndim == 2 and int(y.max()) < first.shape[1] and differentiable:
        notes += _gradients(Oracle(LogProbabilities(model) if soft else model, space), x, y, batch_size)
    notes += _inference(oracle, x[:batch_size])
    if threat.norm is Norm.LINF and threat.eps > space.width / 2:
        notes.append(
            f"eps = {threat.eps:g} is more than half of the data's range: any input can be made gray. Is it in "
            "units of 0-255?"
        )
    return Reliability(soft, differentiable, tuple(notes))


def _gradients(oracle: Oracle, x: Tensor, y: Tensor, batch_size: int) -> list[str]:
    parts = zip(x.split(batch_size), y.split(batch_size), strict=True)
    slope = torch.cat([oracle.gradient(part, objective(AttackLoss.CE, label))[2] for part, label in parts])
    dead = (slope.flatten(1) == 0).all(1)
    if not bool(dead.any()):
        return []
    return [
        f"Zero gradients: for {int(dead.sum())} of {len(x)} samples checked, the gradient of the cross-entropy is "
        "exactly 0 (saturated or masked); gradient attacks cannot move there. Add 'square', which needs none."
    ]


def _inference(oracle: Oracle, x: Tensor) -> list[str]:
    try:
        oracle.in_inference_mode(x)
    except RuntimeError:
        return [
            "Inference-time optimization: the model uses gradients to answer. Gradients through it are unreliable; "
            "use an attack that is made for this defense."
        ]
    return []


def black_box_wins(stages: tuple[str, ...], stage: Tensor) -> tuple[str, ...]:
    """A warning where Square fooled the model on samples that gradient attacks left.

    Args:
        stages: names, in order.
        stage: place of the stage that fooled the model on each sample; -1 for none.
    """
    place = stages.index("square") if "square" in stages else 0
    late = int((stage == place).sum()) if place else 0
    if not late:
        return ()
    return (
        f"Black box beats white box: Square, which uses no gradient, fooled the model on {late} samples that gradient "
        "attacks left. The gradients may be masked.",
    )
