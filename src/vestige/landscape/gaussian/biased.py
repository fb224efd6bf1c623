"""Pairs of ReLU neurons with biases: truncated normal moments give value, gradient and second derivatives."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vestige.landscape.gaussian.bivariate import (
    TruncatedMoments,
    density,
    distribution,
    residual,
    truncated_moments,
)
from vestige.landscape.gaussian.pair import TINY, Angles, Blocks, Pair, angles, normal, outer


@dataclass(frozen=True)
class _Frame:
    at: Angles
    h: Tensor  # -b / |w|, (..., n, k)
    moments: TruncatedMoments
    level: Tensor  # E[t | s = 0], and its standard deviation
    spread: Tensor


def _frame(w: Tensor, b: Tensor, v: Tensor, c: Tensor) -> _Frame:
    at = angles(w, v)
    h, k = -b[..., :, None] / at.first_norm, -c[..., None, :] / at.second_norm
    h, k, cosine, sine, versed = torch.broadcast_tensors(h, k, at.cosine, at.sine, at.versed)
    level = -at.second_norm * residual(h, k, cosine, versed)
    return _Frame(at, h, truncated_moments(h, k, cosine, sine, versed), level, at.second_norm * sine)


def _positive_part(frame: _Frame) -> tuple[Tensor, Tensor]:
    """E max(t, 0) and sd P(t > 0), given s = 0."""
    ratio = frame.level / frame.spread.clamp_min(TINY)
    share = distribution(ratio)
    return frame.level * share + frame.spread * density(ratio), frame.spread * share


def biased_relu_pair(w: Tensor, b: Tensor, v: Tensor, c: Tensor) -> Pair:
    """E s+ t+, and E 1{s > 0} t+ (x, 1); its first part is P(s, t > 0) v + density(h) E[t+ | s = 0] w / |w|."""
    frame = _frame(w, b, v, c)
    at, moments = frame.at, frame.moments
    bias = at.second_norm * moments.v + c[..., None, :] * moments.mass
    value = (
        at.first_norm * (at.second_norm * moments.uv + c[..., None, :] * moments.u) + b[..., :, None] * bias
    )  # E s+ t+ = |w| E[U t+] + b E[1 t+]
    along = density(frame.h) * _positive_part(frame)[0] / at.first_norm
    return Pair(value, along, moments.mass, bias)


def biased_relu_blocks(w: Tensor, b: Tensor, v: Tensor, c: Tensor) -> Blocks:
    """Second derivatives in (w, b): the first block is all at s = 0; the mixed is E 1{s, t > 0} (x, 1)(x, 1)^T."""
    frame = _frame(w, b, v, c)
    across = normal(frame.at)
    first = frame.at.first[..., :, None, :].expand(across.shape)
    h, (zero, one) = frame.h, _positive_part(frame)
    ratio = frame.level / frame.spread.clamp_min(TINY)
    two = zero + frame.spread * density(ratio)
    scale = density(h) / frame.at.first_norm
    m = frame.moments
    parallel = (h.square() * zero, h * one, two, zero, h * zero, one, zero)
    return Blocks(
        _assembled(first, across, tuple(scale * part for part in parallel)),
        _assembled(first, across, (m.uu, m.uz, m.zz, m.mass, m.u, m.z, m.mass)),
    )


def _assembled(first: Tensor, across: Tensor, parts: tuple[Tensor, ...]) -> Tensor:
    """From coordinates (along w, across it, the rest, bias) to a matrix.

    `parts`: along along, along across, across across, the rest, along bias, across bias, bias bias.
    """
    aa, ac, cc, rest, ab, cb, bb = (part[..., None, None] for part in parts)
    eye = torch.eye(first.shape[-1], dtype=first.dtype, device=first.device)
    mixed = outer(first, across)
    weight = (
        rest * eye + (aa - rest) * outer(first, first) + (cc - rest) * outer(across, across) + ac * (mixed + mixed.mT)
    )
    edge = (ab * first[..., None] + cb * across[..., None]).squeeze(-1)
    top = torch.cat([weight, edge[..., None]], -1)
    return torch.cat([top, torch.cat([edge[..., None, :], bb], -1)], -2)
