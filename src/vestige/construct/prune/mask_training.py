"""Training masks instead of weights: how good a subnetwork does a random network hold? (arXiv 1911.13299)

Every weight has a score. The mask of a layer keeps the share of weights with the largest |score|; the loss is
descended in the scores, with the gradient passed through the mask as if it were the identity:

    dL / d score  =  sign(score) . w . dL / d(masked w).

The weights never move. This is the empirical side of arXiv 2002.00585, which proves that good masks exist.
"""

import copy
import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.func import functional_call

from vestige.core.batches import Batches
from vestige.core.cite import Paper, paper
from vestige.core.descent import Descent, fit
from vestige.core.margins import as_rows, check_labels, signs
from vestige.core.outcome import OnStep, Outcome
from vestige.core.rng import spawn

MASKED = (nn.Linear, nn.Conv2d)


@dataclass(frozen=True, eq=False, kw_only=True)
class MaskTraining:
    """A random network, the masks that were trained for it, and what they are worth.

    Attributes:
        model: a copy of the given network with every weight that its mask drops set to zero.
        masks: for the weight of each linear and convolutional layer, by name.
        keep_fraction: the share that is kept, of each layer.
        accuracy: on the training samples.
        accuracy_before: the same with the masks of the first, random scores.
        losses: mean loss of each epoch.
        outcome: BUDGET_SPENT after all epochs, NOT_FINITE where the loss or a score was not; those before are kept.
        source: the papers.
    """

    model: nn.Module
    masks: dict[str, Bool[Tensor, "..."]]
    keep_fraction: float
    accuracy: float
    accuracy_before: float
    losses: tuple[float, ...]
    outcome: Outcome
    warnings: tuple[str, ...] = ()
    source: tuple[Paper, ...] = field(default=(paper("1911.13299"), paper("2002.00585")), repr=False)


class _Top(torch.autograd.Function):
    """The mask of the largest scores; its gradient is passed through."""

    @staticmethod
    def forward(ctx, size: Tensor, count: int) -> Tensor:
        return _top(size, count).to(size)

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def edge_popup(
    model: nn.Module,
    x: Float[Tensor, " n *feature"],
    y: Int[Tensor, " labels"],
    *,
    keep_fraction: float = 0.5,
    epochs: int = 60,
    batch_size: int = 128,
    learning_rate: float = 0.1,
    momentum: float = 0.9,
    weight_decay: float = 1e-4,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> MaskTraining:
    """Find masks that make a network classify without training a weight of it.

    Stochastic gradient descent on the scores with a cosine schedule, scores from U(+-1/sqrt(fan_in)) at first. The
    defaults are those of the authors' code. Weights of N(0, 2/fan_in), or +-sqrt(2/fan_in), and no biases work best.

    Args:
        model: with linear or convolutional layers; their weights are masked, biases and the rest stay.
        x: samples, in model space.
        y: classes, 0 to out - 1; {0, 1} or {-1, 1} for one output.
        keep_fraction: share of the weights that each mask keeps, in (0, 1]; about a half works best.
        epochs: passes over the samples.
        batch_size: samples a step.
        learning_rate: at the start.
        momentum: of the descent.
        weight_decay: on the scores.
        generator: draws scores and batches; None for seed 0.
        on_step: called after each epoch with its loss.

    Raises:
        ValueError: no layer to mask, labels that do not fit, options out of range, samples that are not finite.
    """
    net = copy.deepcopy(model)
    weights = _masked_weights(net)
    _check(weights, x, keep_fraction, epochs, batch_size)
    x = x.detach().to(next(iter(weights.values())))
    _check_labels(net, x, y)
    draw = spawn(generator, "edge_popup")
    scores = {name: _first_scores(weight, draw) for name, weight in weights.items()}
    counts = {name: max(1, round(keep_fraction * weight.numel())) for name, weight in weights.items()}
    masked = _Masked(net, weights, scores, counts)
    before = masked.accuracy(x, y)
    optimizer = torch.optim.SGD(list(scores.values()), learning_rate, momentum, weight_decay=weight_decay)
    losses, outcome = _trained(masked, optimizer, x, y, Batches(len(x), batch_size, draw), epochs, on_step)
    masks, accuracy = masked.masks(), masked.accuracy(x, y)
    with torch.no_grad():
        for name, mask in masks.items():
            net.get_parameter(name).mul_(mask)
    return MaskTraining(
        model=net,
        masks=masks,
        keep_fraction=float(keep_fraction),
        accuracy=accuracy,
        accuracy_before=before,
        losses=losses,
        outcome=outcome,
    )


@dataclass(frozen=True, eq=False)
class _Masked:
    """A network whose weights are multiplied by the masks of their scores."""

    net: nn.Module
    weights: dict[str, Tensor]
    scores: dict[str, Tensor]
    counts: dict[str, int]

    def __call__(self, x: Tensor) -> Tensor:
        masks = {name: _Top.apply(score.abs(), self.counts[name]) for name, score in self.scores.items()}
        return functional_call(self.net, {name: w * masks[name] for name, w in self.weights.items()}, (x,))

    def masks(self) -> dict[str, Tensor]:
        return {name: _top(score.abs(), self.counts[name]) for name, score in self.scores.items()}

    @torch.no_grad()
    def accuracy(self, x: Tensor, y: Tensor) -> float:
        rows = as_rows(self(x))
        right = (signs(y) * rows[:, 0] > 0) if rows.shape[1] == 1 else (rows.argmax(1) == y)
        return float(right.double().mean())


def _trained(
    masked: _Masked,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    y: Tensor,
    batches: Batches,
    epochs: int,
    on_step: OnStep | None,
) -> tuple[tuple[float, ...], Outcome]:
    """The mean loss of each epoch, and how it ended; the step falls from epoch to epoch."""

    def objective(k: int) -> Tensor:
        batch = batches(k).to(x.device)
        return _loss(masked(x[batch]), y[batch])

    def falling(k: int) -> float:
        return (1 + math.cos(math.pi * (k // batches.steps) / epochs)) / 2

    found = fit(
        objective,
        Descent(optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, falling)),
        steps=epochs * batches.steps,
        keep_every=batches.steps,
        on_step=batches.by_epoch(on_step),
        note="masks",
    )
    return batches.means(found.values), found.outcome


def _masked_weights(net: nn.Module) -> dict[str, Tensor]:
    layers = ((name, layer) for name, layer in net.named_modules() if isinstance(layer, MASKED))
    return {f"{name}.weight".lstrip("."): layer.weight.detach() for name, layer in layers}


def _check(weights: dict[str, Tensor], x: Tensor, keep_fraction: float, epochs: int, batch_size: int) -> None:
    if not weights:
        raise ValueError("the model has no nn.Linear or nn.Conv2d; there is nothing to mask")
    if not 0 < keep_fraction <= 1:
        raise ValueError(
            f"keep_fraction={keep_fraction} given; it is the share of weights that stay, above 0 and at most 1. "
            "A share to remove? Subtract it from 1"
        )
    if epochs < 1 or batch_size < 1:
        raise ValueError(f"epochs={epochs}, batch_size={batch_size} given; both must be at least 1.")
    if not len(x) or not bool(torch.isfinite(x).all()):
        raise ValueError(f"x of shape {tuple(x.shape)} is empty or holds NaN or infinite values; remove those samples")


def _check_labels(net: nn.Module, x: Tensor, y: Tensor) -> None:
    with torch.no_grad():
        outputs = as_rows(net(x))
    check_labels(y, len(x), outputs.shape[1])


def _loss(outputs: Tensor, y: Tensor) -> Tensor:
    rows = outputs.reshape(len(outputs), -1)
    if rows.shape[1] == 1:
        return F.softplus(-signs(y) * rows[:, 0]).mean()
    return F.cross_entropy(rows, y.long())


def _first_scores(weight: Tensor, draw: torch.Generator) -> Tensor:
    bound = 1 / math.sqrt(weight[0].numel())
    drawn = torch.empty(weight.shape, dtype=weight.dtype).uniform_(-bound, bound, generator=draw)
    return drawn.to(weight.device).requires_grad_()


def _top(size: Tensor, count: int) -> Tensor:
    mask = torch.zeros(size.numel(), dtype=torch.bool, device=size.device)
    mask[size.detach().flatten().topk(count).indices] = True
    return mask.reshape(size.shape)
