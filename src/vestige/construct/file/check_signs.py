"""The claims of a robust two-layer network's file, derived again from its stored weights in numpy.

The output out relu(W x + b) keeps the sign y in the ball of radius r around x if one unit with y out > 0 has
(w x + b) / |w| >= r, so that it stays on, and every unit with y out < 0 has (w x + b) / |w| <= -r, so that it stays
off. Nothing is shared with what wrote the network down.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vestige.construct.file.check import Derived, Question
from vestige.construct.file.check_points import chosen
from vestige.construct.file.stored import Stored
from vestige.core.claims import Claim

LOST, A_TERM = 1000, 16  # units of the network's precision that margins and radius may lose, times |x| / radius
SOURCE = "arXiv 2202.04347, derived"
Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Layers:
    """The stored numbers, in float64, and the unit of their precision."""

    weight: Numbers
    bias: Numbers
    vote: Numbers
    unit: float


def derive_signs(stored: Stored, question: Question) -> Derived:
    """Wrong signs, the smallest margin, the radius that the weights keep, and what rounding took of the best one."""
    layers, fields = _layers(stored.network, stored.tensors), stored.fields
    x, sign = np.asarray(fields["points"], dtype=np.float64), np.asarray(fields["signs"])
    eps, source = float(fields["eps"]), str(fields["source"])
    if x.ndim != 2 or x.shape[1] != layers.weight.shape[1] or sign.shape != x.shape[:1] or not set(sign) == {-1, 1}:
        raise ValueError(f"points of shape {x.shape} with signs of shape {sign.shape}; signs are 1 and -1, both occur")
    if source != SOURCE:
        raise ValueError(f"source {source[:80]!r}")
    if not 0 < eps < math.inf:
        raise ValueError(f"eps={eps}; eps must be positive")
    index = chosen(len(x), question.points)
    margins, radius = (np.array(part) for part in zip(*_each(layers, x[index], sign[index]), strict=True))
    best, least = _best(x, sign), float(margins.min())
    largest = math.sqrt(float((x * x).sum(1).max()))
    near = 1 + (LOST + A_TERM * x.shape[1]) * layers.unit * largest / best
    said = f"{source}; {len(index):,} of {len(x):,} samples"
    return Derived(
        (
            Claim("samples of the wrong sign", 0, int((~(margins > 0)).sum()), said),
            Claim("1 / smallest margin", near, 1 / least if least > 0 else math.inf, said),
            Claim("radius", float(radius.min()), eps, said),
            Claim("radius without rounding / radius", near, best / eps, source),
        ),
        numbers={"points": len(x), "eps": eps},
    )


def _layers(network: Mapping[str, str], tensors: Mapping[str, Tensor]) -> Layers:
    weight, bias, vote = (tensors[name] for name in ("1.weight", "1.bias", "3.weight"))
    hidden, features = weight.shape
    if network["architecture"] != f"mlp:{features}-{hidden}-1" or len(tensors) != 3:
        raise ValueError(f"architecture {str(network['architecture'])[:80]!r} with {len(tensors)} tensors")
    if bias.shape != (hidden,) or vote.shape != (1, hidden) or len({t.dtype for t in (weight, bias, vote)}) > 1:
        raise ValueError(f"biases of shape {tuple(bias.shape)}, output weights of shape {tuple(vote.shape)}")
    numbers = [t.double().numpy() for t in (weight, bias, vote[0])]
    return Layers(*numbers, unit=float(np.finfo(str(weight.dtype).removeprefix("torch.")).eps))


def _each(layers: Layers, x: Numbers, sign: NDArray[np.int64]) -> Iterator[tuple[float, float]]:
    """Margin and radius of each sample; a radius less what summing in float64 may have been off by."""
    length = np.sqrt((layers.weight**2).sum(1))
    for point, y in zip(x, sign, strict=True):
        value = layers.weight @ point + layers.bias
        slack = (len(point) + 2) * 2.0**-52 * (math.sqrt(float(point @ point)) * length + np.abs(layers.bias))
        favor = y * layers.vote
        with np.errstate(divide="ignore", invalid="ignore"):
            on, off = (value - slack) / length, (-value - slack) / length
        stays_on = on[favor > 0].max(initial=-math.inf)
        stays_off = off[favor < 0].min(initial=math.inf)
        yield float(y * (np.maximum(value, 0) @ layers.vote)), float(np.minimum(stays_on, stays_off))


def _best(x: Numbers, sign: NDArray[np.int64]) -> float:
    """min over samples of (|x|^2 - largest <x, other class>) / (2 |x|)."""
    best = math.inf
    for point, y in zip(x, sign, strict=True):
        own = float(point @ point)
        best = min(best, (own - float((x[sign != y] @ point).max())) / (2 * math.sqrt(own)))
    return best
