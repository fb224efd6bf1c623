"""The three balls of adversarial examples: their dual norms, projections inside the box, steps and random starts."""

import math

import torch
from torch import Tensor

from vestige.core.space import lp_norm, per_sample
from vestige.core.threat import Norm

BISECTIONS = 50  # halve the interval of a threshold to below the rounding of float64


def project(moved: Tensor, x: Tensor, eps: Tensor, box: tuple[float, float], norm: Norm) -> Tensor:
    """Into the ball of radius eps around x and into the box; nearest point for linf and l1.

    For l2 the ball comes first and the box second, which cannot leave the ball again because x lies in the box.

    Args:
        moved: points to project.
        x: centers, inside the box.
        eps: radius of each sample.
        box: smallest and largest valid value.
        norm: of the ball.
    """
    radius = per_sample(eps, x)
    if norm is Norm.LINF:
        return torch.minimum(torch.maximum(moved, x - radius), x + radius).clamp(*box)
    delta = moved - x
    if norm is Norm.L2:
        size = per_sample(lp_norm(delta, 2), x)
        return (x + delta * (radius / torch.maximum(size, radius).clamp(min=1e-30))).clamp(*box)
    return (x + _into_l1(delta, box[0] - x, box[1] - x, radius)).clamp(*box)


def _into_l1(delta: Tensor, low: Tensor, high: Tensor, radius: Tensor) -> Tensor:
    """min |d - delta|_2 with |d|_1 <= radius and low <= d <= high: a soft threshold, then the box."""

    def at(threshold: Tensor) -> Tensor:
        soft = delta.sign() * (delta.abs() - threshold).clamp(min=0)
        return torch.minimum(torch.maximum(soft, low), high)

    over = per_sample(lp_norm(at(torch.zeros_like(radius)), 1), delta) > radius
    below, above = torch.zeros_like(radius), per_sample(delta.abs().flatten(1).amax(1), delta)
    for _ in range(BISECTIONS):
        middle = (below + above) / 2
        large = per_sample(lp_norm(at(middle), 1), delta) > radius
        below, above = torch.where(large, middle, below), torch.where(large, above, middle)
    return torch.where(over, at(above), at(torch.zeros_like(radius)))


def steepest(gradient: Tensor, norm: Norm) -> Tensor:
    """The direction of unit norm in which the first-order change is largest; 0 where the gradient is 0."""
    if norm is Norm.LINF:
        return gradient.sign()
    if norm is Norm.L2:
        return _unit(gradient)
    flat = gradient.flatten(1)
    best = flat.abs().argmax(1, keepdim=True)
    return torch.zeros_like(flat).scatter(1, best, flat.gather(1, best).sign()).reshape(gradient.shape)


def _unit(direction: Tensor) -> Tensor:
    # A gradient may be as small as 1e-30: it is scaled by its largest entry first, so that its square is not zero.
    scaled = direction / per_sample(direction.flatten(1).abs().amax(1), direction).clamp(min=1e-37)
    return scaled / per_sample(lp_norm(scaled, 2), direction).clamp(min=1e-12)


def random_start(x: Tensor, eps: Tensor, box: tuple[float, float], norm: Norm, noise: Tensor) -> Tensor:
    """A point on the sphere of radius eps around x, brought into the box.

    Args:
        x: centers.
        eps: radius of each sample.
        box: smallest and largest valid value.
        norm: of the sphere.
        noise: standard normal, shaped like x.
    """
    if norm is Norm.LINF:
        uniform = torch.special.erf(noise / math.sqrt(2))  # uniform in (-1, 1)
        delta = uniform / per_sample(uniform.flatten(1).abs().amax(1), x).clamp(min=1e-12)
    elif norm is Norm.L2:
        delta = _unit(noise)
    else:
        delta = noise / per_sample(lp_norm(noise, 1), x).clamp(min=1e-12)
    return project(x + per_sample(eps, x) * delta, x, eps, box, norm)
