"""Image parametrizations: priors for the search of an image that has a given embedding.

Many images share an embedding, and most of them are noise to the eye. The parametrization decides which of them a
descent ends at: the output of an untrained convolutional network (deep image prior), the spectrum and colors of
photographs, or free pixels.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vestige.core.choices import ChoiceEnum
from vestige.reconstruct.image_prior import KNEE, OPPONENT

CHANNELS = 48  # of the untrained network
STEEP = 1.5  # amplitude falls with frequency to this power; 1 is that of photographs, and leaves speckles
CONTRAST = 0.25  # standard deviation of a pixel at the prior, before the sigmoid
PLAUSIBLE = 0.3  # weight of the mean squared coefficient against 1 - cosine


class Prior(ChoiceEnum):
    """Which images are likely before the embedding is known."""

    DEEP = "deep"
    SPECTRUM = "spectrum"
    PIXELS = "pixels"


class ImageParametrization(nn.Module):
    """`count` images in [0, 1] as a function of its parameters.

    Attributes:
        rate: step size for Adam.
        shift: pixels by which images are moved at random before the backbone sees them.
        smooth: weight of total variation where the caller gives none.
    """

    rate, shift, smooth = 0.05, 0, 1.0

    def penalty(self) -> Float[Tensor, " m"] | float:
        """How implausible each image's parameters are."""
        return 0.0


class DeepPrior(ImageParametrization):
    """An hourglass of convolutions with skips that turns a fixed noise into images; one set of weights an image.

    Images of a batch are computed side by side by grouped convolutions, so that they share nothing.

    Args:
        count: how many images.
        channels: of an image.
        size: (height, width).
        generator: source of the weights and the noise.
    """

    rate = 0.01

    def __init__(self, count: int, channels: int, size: tuple[int, ...], generator: torch.Generator):
        super().__init__()
        self.count, self.channels, self.size = count, channels, size
        self.levels = max(1, min(4, int(math.log2(min(size))) - 2))
        self.register_buffer("noise", 0.1 * torch.randn(1, count * CHANNELS, *size, generator=generator))
        shapes = [(CHANNELS, 3)] * (2 * self.levels + 1)
        self.down = nn.ParameterList(
            _filters(count, CHANNELS, *shape, generator) for shape in shapes[: self.levels + 1]
        )
        self.up = nn.ParameterList(_filters(count, 2 * CHANNELS, *shape, generator) for shape in shapes[: self.levels])
        self.last = nn.Parameter(_filters(count, CHANNELS, channels, 1, generator))

    def forward(self) -> Float[Tensor, "m c h w"]:
        h, kept = self.get_buffer("noise"), []
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


class Spectrum(ImageParametrization):
    """Cosine coefficients z ~ N(0, 1), scaled to a power that falls with frequency and colors that go together.

    x = sigmoid(4 sum_ab z_ab (a^2 + b^2 + knee^2)^(-3/4) cos_a cos_b), in gray, red against blue and green against
    both for three channels; the mean of z^2 is the penalty. Images are moved by a pixel or two at random each step, so
    that no detail counts which a pixel undoes.

    Args:
        count: how many images.
        channels: of an image.
        size: (height, width).
        generator: source of the starts.
    """

    rate, smooth = 0.1, 0.0

    def __init__(self, count: int, channels: int, size: tuple[int, ...], generator: torch.Generator):
        super().__init__()
        height, width = size
        self.shift = max(1, min(size) // 32)
        self.register_buffer("down", _cosines(height))
        self.register_buffer("across", _cosines(width))
        if channels == 3:
            colors = F.normalize(torch.tensor([[1.0, 1, 1], [1, 0, -1], [1, -2, 1]]), dim=1)
            variance = torch.tensor(OPPONENT)
        else:
            colors, variance = torch.eye(channels), torch.ones(channels)
        self.register_buffer("colors", colors)
        power = (torch.arange(height)[:, None] ** 2 + torch.arange(width)[None] ** 2 + KNEE**2) ** -STEEP
        scale = (variance[:, None, None] * power).sqrt()
        self.register_buffer("scale", CONTRAST * scale * (scale.numel() / scale.square().sum()).sqrt())
        self.z = nn.Parameter(0.1 * torch.randn(count, channels, height, width, generator=generator))

    def forward(self) -> Float[Tensor, "m c h w"]:
        down, across, colors, scale = (self.get_buffer(k) for k in ("down", "across", "colors", "scale"))
        coefficients = torch.einsum("kc,mkab->mcab", colors, self.z * scale)
        return (4 * (down @ coefficients @ across.T)).sigmoid()

    def penalty(self) -> Float[Tensor, " m"]:
        return PLAUSIBLE * self.z.square().mean((1, 2, 3))


class Pixels(ImageParametrization):
    """Free pixels, from gray.

    Args:
        count: how many images.
        channels: of an image.
        size: (height, width).
        generator: source of the starts.
    """

    def __init__(self, count: int, channels: int, size: tuple[int, ...], generator: torch.Generator):
        super().__init__()
        self.logits = nn.Parameter(0.1 * torch.randn(count, channels, *size, generator=generator))

    def forward(self) -> Float[Tensor, "m c h w"]:
        return self.logits.sigmoid()


PARAMETRIZATIONS = {Prior.DEEP: DeepPrior, Prior.SPECTRUM: Spectrum, Prior.PIXELS: Pixels}


def moved(x: Float[Tensor, "m c h w"], by: int, generator: torch.Generator) -> Float[Tensor, "m c h w"]:
    """All images shifted by the same random -by to by pixels each way, reflected at the borders."""
    if not by:
        return x
    down, across = torch.randint(0, 2 * by + 1, (2,), generator=generator).tolist()
    height, width = x.shape[-2:]
    return F.pad(x, (by, by, by, by), mode="reflect")[..., down : down + height, across : across + width]


def variation(x: Float[Tensor, "m c h w"]) -> Float[Tensor, " m"]:
    """Total variation: mean absolute difference of neighboring pixels, down plus across.

    >>> variation(torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]])).tolist()
    [1.0]
    """
    across, down = (x[..., 1:] - x[..., :-1]).abs(), (x[..., 1:, :] - x[..., :-1, :]).abs()
    return across.flatten(1).mean(1) + down.flatten(1).mean(1)


def _cosines(size: int) -> Tensor:
    """Columns: the orthonormal discrete cosine basis."""
    place, frequency = torch.arange(size)[:, None] + 0.5, torch.arange(size)[None]
    basis = (math.pi * place * frequency / size).cos() * (2 / size) ** 0.5
    basis[:, 0] /= 2**0.5
    return basis


def _filters(count: int, channels: int, out: int, kernel: int, generator: torch.Generator) -> Tensor:
    weight = torch.randn(count * out, channels, kernel, kernel, generator=generator)
    return weight * (2 / (channels * kernel**2)) ** 0.5


def _layer(h: Tensor, weight: Tensor, count: int) -> Tensor:
    """Convolution with reflected borders, each channel standardized, leaky ReLU."""
    h = F.conv2d(F.pad(h, (1, 1, 1, 1), mode="reflect"), weight, groups=count)
    return F.leaky_relu(F.instance_norm(h), 0.2)
