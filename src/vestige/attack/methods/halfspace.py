"""The nearest point of a half-space inside a box, in each norm: one step of FAB (arXiv 1907.02044, section 2).

    min |d|_p   with   <w, d> >= c   and   low <= d <= high

For l_inf and l_2 the solution is a clipped multiple of sign(w) or of w, found by bisection on the multiple; for l_1 the
coordinates with the largest |w_i| are used up one after the other. Where no d reaches c, the one that comes closest is
given.
"""

import math

import torch
from torch import Tensor

from vestige.attack.methods.balls import BISECTIONS
from vestige.core.threat import Norm


def nearest(w: Tensor, c: Tensor, low: Tensor, high: Tensor, norm: Norm) -> Tensor:
    """d for each row.

    Args:
        w: normals, (n, d).
        c: what <w, d> must reach; rows with c <= 0 need no step and get 0.
        low: smallest step of each coordinate, not positive.
        high: largest, not negative.
        norm: which is minimized.
    """
    end = torch.where(w > 0, high, low) * (w != 0)  # the corner that gains most
    if norm is Norm.L1:
        return _greedy(w, c, end)
    direction = w.sign() if norm is Norm.LINF else w

    def at(size: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(direction * size[:, None], low), high)

    # Beyond this multiple every coordinate is at its end.
    ratio = torch.where(direction != 0, end / torch.where(direction != 0, direction, 1.0), 0.0)
    finite = torch.where(torch.isfinite(ratio), ratio, 0.0).amax(1)
    plain = c.clamp(min=0) / (w * direction).sum(1).clamp(min=1e-30)
    below, above = torch.zeros_like(c), torch.where(torch.isfinite(end).all(1), finite, torch.maximum(plain, finite))
    for _ in range(BISECTIONS):
        middle = (below + above) / 2
        short = (w * at(middle)).sum(1) < c
        below, above = torch.where(short, middle, below), torch.where(short, above, middle)
    return torch.where((c > 0)[:, None], at(above), 0.0)


def _greedy(w: Tensor, c: Tensor, end: Tensor) -> Tensor:
    order = w.abs().argsort(1, descending=True)
    gain = (w * end).nan_to_num(0.0, posinf=math.inf).gather(1, order)
    before = gain.cumsum(1) - gain
    before = torch.where(torch.isnan(before), math.inf, before)
    missing = (c[:, None] - before).clamp(min=0)
    share = torch.minimum(missing, gain) / w.abs().gather(1, order).clamp(min=1e-30)
    step = share * w.sign().gather(1, order)
    return torch.zeros_like(w).scatter(1, order, step)
