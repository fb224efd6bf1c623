"""From an embedding back to an image: the picture whose embedding points the same way (arXiv 2407.15845, stage 2).

The image is sought in [0, 1] by gradient descent through the frozen backbone on the cosine between its embedding and
the target, plus total variation, as one of `embeddings.image_parametrization` draws it.
"""

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vestige.core.cite import Paper, paper
from vestige.core.descent import Descent, fit
from vestige.core.modes import evaluating
from vestige.core.outcome import OnStep, Outcome, Step
from vestige.core.rng import spawn
from vestige.core.space import per_sample
from vestige.reconstruct.embeddings.image_parametrization import PARAMETRIZATIONS, Prior, moved, variation
from vestige.reconstruct.image_prior import is_photograph

SOURCE = (paper("2407.15845"),)
ENOUGH = 0.995  # cosine at which every image is done


@dataclass(frozen=True, eq=False, kw_only=True)
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
    input_shape: tuple[int, ...],
    *,
    prior: Prior | str | None = None,
    steps: int = 400,
    total_variation: float | None = None,
    center: Float[Tensor, " d"] | None = None,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> Inversion:
    """Minimize 1 - cos(F(x) - center, target - center) + total_variation * TV(x) + penalty over images x in [0, 1].

    TV is the mean absolute difference of neighboring pixels. Many images share an embedding, and most of them look
    like nothing: an inversion shows what the embedding keeps, in pixels that may be nobody's. Without smoothness, or
    with free pixels, the result is noise that the backbone takes for the target.

    Args:
        backbone: differentiable, from images in [0, 1] to (n, d); a module is run in evaluation mode and left as it is.
        target: embeddings of the backbone, one for each image wanted.
        input_shape: (channels, height, width).
        prior: "deep" (an untrained convolutional network draws the image), "spectrum" (cosine coefficients as large as
            those of photographs, penalized by their mean square) or "pixels"; None takes "spectrum" for three channels
            of 16 pixels a side or more, else "deep".
        steps: of Adam.
        total_variation: weight of smoothness, >= 0; None takes 1, and 0 for "spectrum", which is smooth by itself.
        center: mean embedding of unrelated inputs, if known; what all images share then counts for nothing.
        generator: source of the starts.
        on_step: called at every step; the value is 1 - mean similarity.

    Returns:
        The best image seen for each target.

    Raises:
        ValueError: targets that the backbone's width does not match, a backbone that is not differentiable, an image
            shape other than (c, h, w), or options out of range.
    """
    prior = _checked(target, input_shape, prior, steps, total_variation)
    source = spawn(generator, "invert")
    drawing = PARAMETRIZATIONS[prior](len(target), input_shape[0], input_shape[1:], source).to(target)
    smooth = drawing.smooth if total_variation is None else total_variation
    look = _TargetCosine(backbone, target.detach(), torch.zeros(()) if center is None else center.to(target))
    seen = _Seen(drawing().detach(), target.new_full((len(target),), -math.inf), on_step)
    adam = torch.optim.Adam(drawing.parameters(), lr=drawing.rate)
    annealed = torch.optim.lr_scheduler.LambdaLR(adam, lambda k: 0.52 + 0.5 * math.cos(math.pi * (k + 1) / steps))

    def objective(_k: int) -> Tensor:
        x = drawing()
        cosine = look(moved(x, drawing.shift, source))
        seen.take(x.detach(), cosine.detach())
        return (1 - cosine + smooth * variation(x) + drawing.penalty()).sum()

    descent = Descent(adam, annealed, source, (seen.images, seen.best))
    found = fit(objective, descent, steps=steps, enough=seen.enough, on_step=seen.tell, note="inverting")
    best = look(seen.images).detach() if drawing.shift else seen.best
    weak = int((best < 0.5).sum())
    warnings = (f"{weak} of {len(target)} inversions reach less than half of their target.",) if weak else ()
    return Inversion(
        images=seen.images,
        similarity=best,
        history=tuple(seen.history),
        evaluations=len(found.values) * len(target),
        outcome=found.outcome,
        warnings=warnings,
    )


@dataclass(eq=False)
class _Seen:
    """The best image of each target so far with its cosine, and what is told of the progress."""

    images: Tensor
    best: Tensor
    on_step: OnStep | None
    distance: float = math.nan
    history: list[Step] = field(default_factory=list)

    def take(self, x: Tensor, cosine: Tensor) -> None:
        better, self.distance = cosine > self.best, float(1 - cosine.mean())
        for old, new in ((self.best, cosine), (self.images, x)):
            old.copy_(torch.where(per_sample(better, new), new, old))

    def enough(self, _k: int, _value: float) -> bool:
        return bool((self.best >= ENOUGH).all())

    def tell(self, step: Step) -> None:
        step = replace(step, value=self.distance)
        if step.index % max(1, step.total // 100) == 0:
            self.history.append(step)
        if self.on_step is not None:
            self.on_step(step)


@dataclass(frozen=True, eq=False)
class _TargetCosine:
    """What the backbone sees of images: the cosine with each target, both about the center."""

    backbone: Callable[[Tensor], Tensor]
    target: Tensor
    center: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        found = _embedded(self.backbone, x, self.target.shape[1])
        return F.cosine_similarity(found - self.center, self.target - self.center)


def _embedded(backbone: Callable[[Tensor], Tensor], x: Tensor, width: int) -> Tensor:
    with evaluating(backbone) if isinstance(backbone, nn.Module) else nullcontext():
        found = backbone(x)
    if not isinstance(found, Tensor) or found.shape != (len(x), width):
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(
            f"the backbone returned {shape} for {len(x)} images, the targets have {width} numbers; they must agree. "
            "Were the embeddings standardized? Undo that first: space.to_data(samples)."
        )
    if x.requires_grad and not found.requires_grad:
        raise ValueError("the backbone's output has no gradient; does it detach, or run under torch.no_grad?")
    return found


def _checked(
    target: Tensor, shape: tuple[int, ...], prior: str | None, steps: int, total_variation: float | None
) -> Prior:
    if target.ndim != 2 or not len(target) or not bool(torch.isfinite(target).all()):
        raise ValueError(f"targets of shape {tuple(target.shape)} given; finite embeddings (m, d) are needed.")
    if len(shape) != 3 or min(shape) < 1 or min(shape[1:]) < 8:
        raise ValueError(f"input_shape={shape} given; give (channels, height, width), at least 8 pixels a side.")
    if steps < 1 or not (total_variation is None or total_variation >= 0):
        raise ValueError(f"steps={steps}, total_variation={total_variation} given; needed: steps >= 1, a weight >= 0.")
    return Prior(prior or (Prior.SPECTRUM if is_photograph(shape) else Prior.DEEP))
