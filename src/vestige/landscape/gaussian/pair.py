"""E act(s) act(t) and its derivatives for pairs of neurons s = w.x + b, t = v.x + c and x ~ N(0, I).

`Pair` has the coefficients of value and gradient for all pairs (i, j) of two layers at once; `Blocks` the second
derivatives. Both are plain sums of w_i, v_j and unit vectors, so that a gradient of a layer is two matrix products.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

INVERSE_ROOT = 1 / math.sqrt(2 * math.pi)
TINY = 1e-300  # a division by it is an infinity with the right sign, or 0 / TINY = 0


@dataclass(frozen=True)
class Pair:
    """kappa_ij, and `along_first w_i + along_second v_j` for its gradient in w_i; `bias` for that in b_i."""

    value: Tensor
    along_first: Tensor
    along_second: Tensor
    bias: Tensor | None = None


@dataclass(frozen=True)
class Blocks:
    """Second derivatives of kappa_ij: twice in (w_i, b_i), and once there and once in (v_j, c_j)."""

    first: Tensor
    mixed: Tensor


@dataclass(frozen=True)
class Angles:
    """Lengths, directions and angles of all pairs, accurate for (nearly) parallel ones.

    `arccos` of a product loses half of the digits there; |w - v| and |w + v| of the directions lose none.
    """

    first: Tensor  # (..., n, d) unit rows
    second: Tensor
    first_norm: Tensor  # (..., n, 1)
    second_norm: Tensor  # (..., 1, k)
    cosine: Tensor  # (..., n, k)
    sine: Tensor
    rest: Tensor  # pi - angle
    versed: Tensor  # 1 - |cosine|, without cancellation


def angles(w: Tensor, v: Tensor) -> Angles:
    """Angles between the rows of (..., n, d) and (..., k, d)."""
    first_norm, second_norm = w.norm(dim=-1, keepdim=True), v.norm(dim=-1, keepdim=True)
    first, second = w / first_norm, v / second_norm
    cosine = (first @ second.mT).clamp(-1, 1)
    near = cosine.abs() > 0.9
    apart, together = (2 - 2 * cosine).sqrt(), (2 + 2 * cosine).sqrt()
    if near.any():  # exact differences only where they are needed: they cost a factor d
        index = near.nonzero(as_tuple=True)
        a = first.expand(*near.shape[:-2], *first.shape[-2:])[index[:-1]]
        b = second.expand(*near.shape[:-2], *second.shape[-2:])[(*index[:-2], index[-1])]
        apart, together = apart.clone(), together.clone()
        apart[near], together[near] = (a - b).norm(dim=-1), (a + b).norm(dim=-1)
    return Angles(
        first=first,
        second=second,
        first_norm=first_norm,
        second_norm=second_norm.mT,
        cosine=cosine,
        sine=apart * together / 2,
        rest=2 * torch.atan2(together, apart),
        versed=torch.minimum(apart, together).square() / 2,
    )


def normal(at: Angles) -> Tensor:
    """The unit vector of v_j orthogonal to w_i, (..., n, k, d); 0 where they are parallel."""
    w, v = at.first[..., :, None, :], at.second[..., None, :, :]
    # v - cos w, written with the small number 1 - |cos| so that nearly parallel rows keep their digits
    sign = torch.where(at.cosine[..., None] >= 0, 1.0, -1.0)
    vector = (v - sign * w) + sign * at.versed[..., None] * w
    length = vector.norm(dim=-1, keepdim=True)
    return torch.where(length > TINY, vector / length.clamp_min(TINY), 0.0)


def outer(a: Tensor, b: Tensor) -> Tensor:
    """Products a b^T of the last axes."""
    return a[..., :, None] * b[..., None, :]


def relu_pair(w: Tensor, v: Tensor) -> Pair:
    """kappa = |w||v| (sin t + (pi - t) cos t) / 2 pi; its gradient in w is (|v| sin t w/|w| + (pi - t) v) / 2 pi."""
    at = angles(w, v)
    value = at.first_norm * at.second_norm * (at.sine + at.rest * at.cosine) / (2 * math.pi)
    return Pair(value, at.second_norm * at.sine / (2 * math.pi * at.first_norm), at.rest / (2 * math.pi))


def relu_blocks(w: Tensor, v: Tensor) -> Blocks:
    """|v| sin / (2 pi |w|) (I - ww^T + nn^T) and ((pi - t) I + sin (cos (ww^T - nn^T) + sin (wn^T + nw^T))) / 2 pi.

    w and v are directions here and n that of v orthogonal to w, which the sines make harmless where there is none.
    """
    at = angles(w, v)
    n = normal(at)
    first = at.first[..., :, None, :].expand(n.shape)
    eye = torch.eye(w.shape[-1], dtype=w.dtype, device=w.device)
    rest, sine, cosine = (part[..., None, None] for part in (at.rest, at.sine, at.cosine))
    along, across, turned = outer(first, first), outer(n, n), outer(first, n)
    mixed = rest * eye + sine * (cosine * (along - across) + sine * (turned + turned.mT))
    size = (at.second_norm / (2 * math.pi * at.first_norm))[..., None, None] * sine
    return Blocks(size * (eye - along + across), mixed / (2 * math.pi))
