"""The bandwidth of a Gaussian kernel machine from its scores.

Far out along a ray, f(c + t v) ~ exp(-gamma t^2 + 2 gamma t v.x + ...) of one point, so that half the second difference
of -log |f| is gamma less a spread of the points along v, which is small for a random v. The rank then settles it: the
scores at sums of anchors, times exp(2 gamma' u_a.u_b), have as many singular values as there are points for gamma' =
gamma and all of them for any other, and no further query is needed to try another gamma'.
"""

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from vestige.reconstruct.kernels.black_box import BlackBox
from vestige.reconstruct.kernels.functions import Exponential, Gaussian
from vestige.reconstruct.kernels.matrix_pencil import ABOVE_NOISE, Sums, add_anchors, choose_scale, no_sums, spectrum

RAYS = 8
FARTHEST = 1e12  # of a query, so that squares stay in range
LEAST = 1e-12  # share of the central scores that must be left where a ray is read
WIDTH = 0.08  # the rank looks within this relative distance of the rays' estimate
SMALLER = 0.4
GOLDEN = (5**0.5 - 1) / 2
TAIL = 0.9  # singular values from this share on must be noise


def ray_bandwidth(box: BlackBox, center: Float[Tensor, " d"], draw: torch.Generator) -> float:
    """Median over random rays of half the second difference of -log |f|.

    Raises:
        ValueError: scores that do not fall along rays.
    """
    box.phase = "bandwidth"
    v = torch.randn(RAYS, len(center), generator=draw, dtype=torch.float64)
    v = v / v.norm(dim=1, keepdim=True)
    middle = float(box(center[None]).norm())

    def size(t: float) -> Tensor:
        return box(center + t * v).norm(dim=1)

    near, far = 1e-6, 1e-6
    while far < FARTHEST and float(size(far).median()) > LEAST * middle:
        near, far = far, 2 * far
    if far >= FARTHEST or not middle > 0:
        raise ValueError(
            "the scores do not fall along rays from the center: this is not a Gaussian kernel machine. Give the kernel."
        )
    for _ in range(20):
        between = (near + far) / 2
        near, far = (between, far) if float(size(between).median()) > LEAST * middle else (near, between)
    at = [size(near * share).log() for share in (0.5, 0.75, 1.0)]
    bend = -(at[0] - 2 * at[1] + at[2]) / (near / 4) ** 2
    return float(bend.median()) / 2


def find_bandwidth(
    box: BlackBox, center: Float[Tensor, " d"], draw: torch.Generator, *, outputs: int, most: int
) -> float:
    """Gamma at which the rank of the scores at sums of anchors falls; the rays' estimate where it falls nowhere.

    Args:
        box: the model, its constant part known.
        center: about the middle of the data.
        draw: random numbers.
        outputs: C.
        most: anchors at most; more than there are points.
    """
    rough = ray_bandwidth(box, center, draw)
    if not (rough > 0 and math.isfinite(rough)):
        raise ValueError("the scores fall along rays, but not as a Gaussian does. Give the kernel and its gamma.")
    d = len(center)
    # With the best scale for points the singular values fall at the ends of the interval too; with a smaller one not.
    scale = SMALLER * choose_scale(box, Gaussian(rough), center, draw, n=None, outputs=outputs)
    raw, size = no_sums(d, torch.zeros(1, d, dtype=torch.float64), outputs), 32
    while True:
        new = scale * torch.randn(size - len(raw.anchors), d, generator=draw, dtype=torch.float64)
        raw = add_anchors(box, Exponential(), center, raw, new)
        gamma, tail = _lowest(raw, rough)
        if tail <= math.log(ABOVE_NOISE):
            return gamma
        if size >= most:
            return rough
        size = min(most, int(1.6 * size))


def _lowest(raw: Sums, rough: float) -> tuple[float, float]:
    """The gamma whose last singular values are least, by golden section: they grow with |log gamma' - log gamma|."""
    low, high = math.log(rough) - WIDTH, math.log(rough) + WIDTH
    a, b = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_a, at_b = _tail(raw, math.exp(a)), _tail(raw, math.exp(b))
    while high - low > 1e-15 * abs(low + high) + 4e-16:
        if at_a <= at_b:
            high, b, at_b = b, a, at_a
            a = high - GOLDEN * (high - low)
            at_a = _tail(raw, math.exp(a))
        else:
            low, a, at_a = a, b, at_b
            b = low + GOLDEN * (high - low)
            at_b = _tail(raw, math.exp(b))
        if max(at_a, at_b) <= 0:  # both below the noise
            break
    return math.exp((low + high) / 2), min(at_a, at_b)


def _tail(raw: Sums, gamma: float) -> float:
    """Mean logarithm of the last singular values over the noise."""
    inner = raw.anchors @ raw.anchors.T
    factor = (2 * gamma * inner).exp()
    value = spectrum(replace(raw, values=raw.values[:3] * factor, noise=raw.noise * factor))[1]
    return float(value[int(TAIL * len(value)) :].clamp(min=1e-3).log().mean())
