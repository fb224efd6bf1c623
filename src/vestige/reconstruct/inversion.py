"""From an embedding back to an image: the picture whose embedding points the same way (arXiv 2407.15845, stage 2).

The image is sought in [0, 1] by gradient descent through the frozen backbone on the cosine between its embedding and
the target, plus total variation. Its prior is either that of an untrained convolutional network that draws it (deep
image prior) or none but smoothness.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vestige.core.cite import Paper, paper
from vestige.core.outcome import Outcome, Step
from vestige.core.rng import spawn

SOURCE = (paper("2407.15845"),)
CHANNELS = 48  # of the network that draws
ENOUGH = 0.995  # cosine at which every image is done


class Prior(StrEnum):
    """What an image is taken to be before the embedding is looked at."""

    DEEP = "deep"
    PIXELS = "pixels"


@dataclass(frozen=True, eq=False)
class Inversion:
    """Images for embeddings.

    Attributes:
        images: in [0, 1], the best seen of each.
        similarity: cosine between the embedding of each image and its target.
        history: thinned progress; the value is 1 - mean similarity.
        evaluations: forward and backward passes through the backbone, over single images.
        outcome: converged where every similarity reached 0.995.
        warnings: what the reader should know.
        source: the paper.
    """

    images: Float[Tensor, "m c h w"]
    similarity: Float[Tensor, " m"]
    history: tuple[Step, ...]
    evaluations: int
    outcome: Outcome
    warnings: tuple[str, ...]
    source: tuple[Paper, ...] = SOURCE


def invert_embedding(
    backbone: Callable[[Tensor], Tensor],
    target: Float[Tensor, "m d"],
    image_shape: tuple[int, ...],
    *,
    prior: Prior | str = Prior.DEEP,
    steps: int = 400,
    total_variation: float = 1.0,
    centre: Float[Tensor, " d"] | None = None,
    generator: torch.Generator | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> Inversion:
    """Minimise 1 - cos(F(x) - centre, target - centre) + total_variation * TV(x) over images x in [0, 1].

    TV is the mean absolute difference of neighbouring pixels. Many images share an embedding, and most of them look
    like nothing: an inversion shows what the embedding keeps, in pixels that may be nobody's. Without smoothness, or
    with free pixels, the result is noise that the backbone takes for the target.

    Args:
        backbone: differentiable, from images in [0, 1] to (n, d); frozen by the caller.
        target: embeddings of the backbone, one for each image wanted.
        image_shape: (channels, height, width).
        prior: "deep" (an untrained convolutional network draws the image) or "pixels".
        steps: of Adam.
        total_variation: weight of smoothness, >= 0.
        centre: mean embedding of unrelated inputs, if known; what all images share then counts for nothing.
        generator: source of the starts.
        on_step: called at every step; the value is 1 - mean similarity.

    Returns:
        The best image seen for each target.

    Raises:
        ValueError: targets that the backbone's width does not match, a backbone that is not differentiable, an image
            shape other than (c, h, w), or options out of range.
    """
    prior = _checked(target, image_shape, prior, steps, total_variation)
    source = spawn(generator, "invert")
    draw, parameters, rate = _parametrised(prior, len(target), image_shape, target, source)
    middle = 0.0 if centre is None else centre.to(target)
    aim = F.normalize(target.detach() - middle, dim=1)
    optimiser = torch.optim.Adam(parameters, lr=rate)
    best = target.new_full((len(target),), -math.inf)
    images, history, outcome = draw().detach(), [], Outcome.BUDGET_SPENT
    for index in range(1, steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = rate * (0.5 + 0.5 * math.cos(math.pi * index / steps)) + 0.02 * rate
        x = draw()
        found = _embedded(backbone, x, target.shape[1])
        cosine = (F.normalize(found - middle, dim=1) * aim).sum(1)
        if not bool(torch.isfinite(cosine).all()):
            outcome = Outcome.NOT_FINITE
            break
        better = cosine.detach() > best
        best = torch.where(better, cosine.detach(), best)
        images = torch.where(better[:, None, None, None], x.detach(), images)
        value = float(1 - cosine.detach().mean())
        step = Step(index, steps, value, "inverting")
        if index % max(1, steps // 100) == 0:
            history.append(step)
        if on_step is not None:
            on_step(step)
        if bool((best >= ENOUGH).all()):
            outcome = Outcome.CONVERGED
            break
        objective = (1 - cosine).sum() + total_variation * _variation(x).sum()
        # gradients by hand: the backbone's own parameters must not collect any
        for p, g in zip(parameters, torch.autograd.grad(objective, parameters), strict=True):
            p.grad = g
        optimiser.step()
    weak = int((best < 0.5).sum())
    warnings = (f"{weak} of {len(target)} inversions reach less than half of their target.",) if weak else ()
    return Inversion(images, best, tuple(history), index * len(target), outcome, warnings)


class DeepPrior(nn.Module):
    """An hourglass of convolutions with skips that turns a fixed noise into images; one set of weights an image.

    Images of a batch are drawn side by side by grouped convolutions, so that they share nothing.

    Args:
        count: how many images.
        channels: of an image.
        size: (height, width).
        generator: source of the weights and the noise.
    """

    def __init__(self, count: int, channels: int, size: tuple[int, ...], generator: torch.Generator):
        super().__init__()
        self.count, self.channels, self.size = count, channels, size
        self.levels = max(1, min(4, int(math.log2(min(size))) - 2))
        self.noise = 0.1 * torch.randn(1, count * CHANNELS, *size, generator=generator)
        shapes = [(CHANNELS, 3)] * (2 * self.levels + 1)
        self.down = nn.ParameterList(
            _filters(count, CHANNELS, *shape, generator) for shape in shapes[: self.levels + 1]
        )
        self.up = nn.ParameterList(_filters(count, 2 * CHANNELS, *shape, generator) for shape in shapes[: self.levels])
        self.last = nn.Parameter(_filters(count, CHANNELS, channels, 1, generator))

    def forward(self) -> Float[Tensor, "m c h w"]:
        h, kept = self.noise, []
        for level, weight in enumerate(self.down):
            h = _layer(h, weight, self.count)
            if level < self.levels:
                kept.append(h)
                h = F.avg_pool2d(h, 2)
        for weight, skip in zip(self.up, reversed(kept), strict=True):
            h = F.interpolate(h, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            both = torch.cat([t.unflatten(1, (self.count, CHANNELS)) for t in (h, skip)], 2).flatten(1, 2)
            h = _layer(both, weight, self.count)
        out = F.conv2d(h, self.last, groups=self.count)
        return out.reshape(self.count, self.channels, *self.size).sigmoid()


def _filters(count: int, channels: int, out: int, kernel: int, generator: torch.Generator) -> Tensor:
    weight = torch.randn(count * out, channels, kernel, kernel, generator=generator)
    return weight * (2 / (channels * kernel**2)) ** 0.5


def _layer(h: Tensor, weight: Tensor, count: int) -> Tensor:
    """Convolution with reflected borders, each channel standardised, leaky ReLU."""
    h = F.conv2d(F.pad(h, (1, 1, 1, 1), mode="reflect"), weight, groups=count)
    return F.leaky_relu(F.instance_norm(h), 0.2)


def _parametrised(prior: Prior, count: int, shape: tuple[int, ...], like: Tensor, generator: torch.Generator):
    """A function that draws the images, what it is turned by, and a learning rate."""
    if prior is Prior.DEEP:
        net = DeepPrior(count, shape[0], shape[1:], generator)
        net.noise = net.noise.to(like)
        net = net.to(like)
        return net, list(net.parameters()), 0.01
    start = 0.1 * torch.randn(count, *shape, generator=generator)
    logits = start.to(like).requires_grad_()
    return lambda: logits.sigmoid(), [logits], 0.05


def _embedded(backbone: Callable[[Tensor], Tensor], x: Tensor, width: int) -> Tensor:
    found = backbone(x)
    if not isinstance(found, Tensor) or found.shape != (len(x), width):
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(
            f"the backbone returned {shape} for {len(x)} images, the targets have {width} numbers; they must agree. "
            "Were the embeddings standardised? Undo that first: space.to_data(samples)."
        )
    if not found.requires_grad:
        raise ValueError("the backbone's output has no gradient; does it detach, or run under torch.no_grad?")
    return found


def _variation(x: Tensor) -> Tensor:
    across, down = (x[..., 1:] - x[..., :-1]).abs(), (x[..., 1:, :] - x[..., :-1, :]).abs()
    return across.flatten(1).mean(1) + down.flatten(1).mean(1)


def _checked(target: Tensor, shape: tuple[int, ...], prior: str, steps: int, total_variation: float) -> Prior:
    if target.ndim != 2 or not len(target) or not bool(torch.isfinite(target).all()):
        raise ValueError(f"targets of shape {tuple(target.shape)} given; finite embeddings (m, d) are needed.")
    if len(shape) != 3 or min(shape) < 1 or min(shape[1:]) < 8:
        raise ValueError(f"image_shape={shape} given; (channels, height, width) is needed, 8 pixels a side at least.")
    if prior not in set(Prior):
        raise ValueError(f"prior={prior!r} given; allowed are {', '.join(Prior)}.")
    if steps < 1 or not total_variation >= 0:
        raise ValueError(f"steps={steps}, total_variation={total_variation} given; steps >= 1 and a weight >= 0.")
    return Prior(prior)
