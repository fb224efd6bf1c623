"""What a network's outputs say of a sample, beside its layers: how well it fits it, and only it.

A low loss is that of a sample that was trained on, or of an easy one. Moved by one pixel an image is as easy and was
not trained on, so that what its confidence loses tells the two apart. Comparing a sample with its neighbors is from
arXiv 2305.18462, where they are texts.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from vestige.core.margins import Loss
from vestige.membership.thresholds import confidences, outputs_of, sample_losses

OWN_LOSS, SHIFTS = "loss", "shifts"  # their names among the layers'
FITTED = 0.05  # a loss far below it says no more: members differ there, and easy samples are there too
STEPS = ((0, 1), (2, 1), (1, 0), (1, 2))  # where the image begins within its frame of one pixel; (1, 1) is at rest


def output_scores(
    net: nn.Module, x: Float[Tensor, "n ..."], y: Shaped[Tensor, "n ..."], loss: Loss, batch_size: int
) -> dict[str, Float[Tensor, " n"]]:
    """-log(loss + .05) of each sample, and of images log(p_y / (1 - p_y)) less its mean over one-pixel shifts.

    A squared loss that reaches 0 leaves no direction and is itself the evidence: normal quantiles of its ranks within
    the samples, so that extremes do not hide the rest. It has no shifts.

    Args:
        net: the trained network.
        x: samples in model space; images are (n, channel, height, width).
        y: labels or targets.
        loss: of the training.
        batch_size: samples that are run together; memory only.
    """
    outputs = outputs_of(net, x, batch_size)
    y = y.to(outputs.device)
    losses = sample_losses(outputs, y, loss)
    if not loss.is_margin:
        rank = (-losses).argsort().argsort().double()
        return {OWN_LOSS: torch.special.ndtri((rank + 0.5) / len(rank))}
    found = {OWN_LOSS: -torch.log(losses + FITTED)}
    if x.dim() == 4:
        moved = [confidences(outputs_of(net, shifted(x, *step), batch_size), y) for step in STEPS]
        found[SHIFTS] = confidences(outputs, y) - torch.stack(moved).mean(0)
    return found


def shifted(
    x: Float[Tensor, "n channel height width"], down: int, right: int
) -> Float[Tensor, "n channel height width"]:
    """Images cut out of themselves in a frame of one pixel that repeats their edge.

    Args:
        x: images.
        down: row of the frame where they begin, 0 to 2.
        right: its column.

    >>> shifted(torch.arange(6.0).reshape(1, 1, 2, 3), 1, 2).tolist()
    [[[[1.0, 2.0, 2.0], [4.0, 5.0, 5.0]]]]
    """
    height, width = x.shape[2:]
    return F.pad(x, (1, 1, 1, 1), mode="replicate")[:, :, down : down + height, right : right + width]
