"""Truncated moments of two correlated normal variables, to the last digits for every correlation.

Quadrature of Plackett's integral is wrong where the correlation is near 1 and h near k: it made up stationary points.
Owen's T function has no such place.
"""

import math
from dataclasses import dataclass

import torch
from scipy.special import owens_t
from torch import Tensor

from vestige.landscape.gaussian.pair import INVERSE_ROOT, TINY


def density(x: Tensor) -> Tensor:
    """Standard normal density."""
    return INVERSE_ROOT * torch.exp(-x.square() / 2)


def distribution(x: Tensor) -> Tensor:
    """Standard normal distribution function, accurate in the lower tail."""
    return torch.special.erfc(-x / math.sqrt(2)) / 2


def residual(h: Tensor, k: Tensor, cosine: Tensor, versed: Tensor) -> Tensor:
    """k - cosine h, with `versed` = 1 - |cosine| so that it keeps its digits near |cosine| = 1."""
    sign = torch.where(cosine >= 0, 1.0, -1.0)
    return (k - sign * h) + sign * versed * h


def _owen(h: Tensor, a: Tensor) -> Tensor:
    return torch.as_tensor(owens_t(h.cpu().numpy(), a.cpu().numpy()), dtype=h.dtype, device=h.device)


@dataclass(frozen=True)
class TruncatedMoments:
    """For U, V standard normal with correlation cos, V = cos U + sin Z, on the event {U > h, V > k}.

    `mass` is its probability; `u`, `v`, `uv`, `uu` are E[U 1], E[V 1], E[UV 1], E[U^2 1]; `z`, `uz`, `zz` those with Z.
    """

    mass: Tensor
    u: Tensor
    v: Tensor
    uv: Tensor
    uu: Tensor
    z: Tensor
    uz: Tensor
    zz: Tensor


def orthant(h: Tensor, k: Tensor, cosine: Tensor, sine: Tensor, versed: Tensor) -> Tensor:
    """P(U > h, V > k), by Owen's T function."""
    x, y = (torch.where(z == 0, TINY, -z) for z in (h, k))  # of P(U <= x, V <= y)
    bottom = sine.clamp_min(TINY)
    across = _owen(x, residual(x, y, cosine, versed) / x / bottom)
    back = _owen(y, residual(y, x, cosine, versed) / y / bottom)
    half = (distribution(x) + distribution(y)) / 2
    return (half - across - back - 0.5 * (x * y < 0)).clamp(0, 1)


def truncated_moments(h: Tensor, k: Tensor, cosine: Tensor, sine: Tensor, versed: Tensor) -> TruncatedMoments:
    """All moments up to the second; those with Z are written without the differences that cancel near |cos| = 1."""
    bottom = sine.clamp_min(TINY)
    mass = orthant(h, k, cosine, sine, versed)
    to_k, to_h = residual(h, k, cosine, versed) / bottom, residual(k, h, cosine, versed) / bottom
    a, b = density(h) * distribution(-to_k), density(k) * distribution(-to_h)
    c = sine * INVERSE_ROOT * density(torch.hypot(to_h, k))
    return TruncatedMoments(
        mass=mass,
        u=a + cosine * b,
        v=cosine * a + b,
        uv=cosine * (mass + h * a + k * b) + c,
        uu=mass + h * a + cosine.square() * k * b + cosine * c,
        z=sine * b,
        uz=sine * (cosine * k * b + c),
        zz=mass + sine.square() * k * b - cosine * c,
    )
