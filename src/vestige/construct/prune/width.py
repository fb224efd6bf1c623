"""How large a random network must be so that masks alone make a given network out of it.

The error that each weight may have follows from the wanted error in the ball; rows for each column and sign follow
from it, with t the tolerance relative to the largest weight, n the number of weights and `failure` the chance that
any is missed:

- SUBSET_SUM: log2(1/t) + 1. 2^m sums lie in an interval of length O(sqrt(m)); the few weights that are missed get
  more rows.
- GREEDY: a number in each of log_1.5(1/t) + 1 buckets, of the right sign: coupons, so 2 x 36 log(n buckets / failure).
- RANDOM: one entry that is right by itself: 2 log(n / failure) / t.
- CLOSE, the argument of arXiv 2002.00585: two factors that are right by themselves: 8 log(n / failure) / t^2.

No pruning does with fewer random weights than bits: with P of them there are 2^P masks, and networks whose weights are
2t apart must differ in theirs: P >= n log2(1/t).
"""

import math
from dataclasses import dataclass

import torch
from torch import nn

from vestige.construct.prune.random_layers import BUCKETS, SHRINK
from vestige.construct.prune.subset_sum import PruneMethod
from vestige.construct.prune.sup_error import Ball, checked_ball
from vestige.core.relu_chain import Affine, read_relu_chain

MOST_ROWS = 30  # of one exact search, 2^15 sums a half
FAILURE = 0.05
LARGEST_SCALE = 2.0**80


@dataclass(frozen=True)
class RequiredWidth:
    """Rows for each column and sign, hidden neurons and random weights by the estimates above, and the lower bound."""

    tolerances: tuple[float, ...]
    rows: tuple[int, ...]
    hidden: tuple[int, ...]
    random_weights: int
    lower_bound: int


def required_width(
    target: nn.Module,
    tolerance: float | int,
    *,
    method: PruneMethod | str = PruneMethod.SUBSET_SUM,
    radius: float | int = 1.0,
    nonnegative: bool = False,
    failure: float = FAILURE,
) -> RequiredWidth:
    """What a random network needs so that pruning it gives the target up to a tolerance on a ball: estimates, no proof.

    Args:
        target: Linear layers with ReLU between them.
        tolerance: largest error of the outputs in l_2, anywhere in the ball.
        method: subset_sum, greedy, random or close.
        radius: of the ball of inputs.
        nonnegative: inputs are >= 0, which halves the first layer.
        failure: chance that a weight is missed, for the methods that search without trying again.

    Raises:
        ValueError: a layer other than Linear and ReLU, a tolerance or radius that is not positive, an unknown method.

    >>> net = nn.Sequential(nn.Linear(10, 5, bias=False))
    >>> few, many = (required_width(net, 0.01, method=m).random_weights for m in ("subset_sum", "close"))
    >>> few < 10_000 < 10_000_000 < many
    True
    """
    layers, rule = read_relu_chain(target).affine(), PruneMethod(method)
    tolerances = weight_tolerances(layers, checked_ball(tolerance, radius, nonnegative))
    count = sum(numbers(layer) for layer in layers)
    rows, hidden, total, bits = [], [], 0, 0.0
    for index, (layer, allowed) in enumerate(zip(layers, tolerances, strict=True)):
        scale = scale_of(layer, rule)
        rows.append(rows_for(rule, allowed / scale, count, failure))
        out, features = layer.weight.shape
        signs = 1 if nonnegative or index else 2
        columns = features + (layer.bias is not None)
        hidden.append(rows[-1] * (features * signs + columns - features))
        total += hidden[-1] * (columns + out)
        bits += numbers(layer) * max(0.0, math.log2(scale / allowed))
    return RequiredWidth(tuple(tolerances), tuple(rows), tuple(hidden), total, math.ceil(bits))


def rows_for(method: PruneMethod, tolerance: float, count: int, failure: float = FAILURE) -> int:
    """Rows of a column and sign for a tolerance relative to the scale of the weights; see the module's docstring."""
    bits, chance = max(0.0, -math.log2(tolerance)), math.log(count / failure)
    match method:
        case PruneMethod.SUBSET_SUM:
            return max(4, math.ceil(bits) + 1)
        case PruneMethod.GREEDY:
            buckets = min(BUCKETS, math.ceil(bits / -math.log2(SHRINK)) + 1)
            return math.ceil(2 * BUCKETS * (chance + math.log(buckets)))
        case PruneMethod.RANDOM:
            return math.ceil(2 * chance / min(1.0, tolerance))
        case PruneMethod.CLOSE:
            return math.ceil(8 * chance / min(1.0, tolerance) ** 2)


def weight_tolerances(layers: tuple[Affine, ...], ball: Ball) -> list[float]:
    """Errors of single weights that add up to the tolerance at most, if they are as independent as random weights.

    An out x k matrix of independent errors of size t has norm t (sqrt(out) + sqrt(k)); every layer gets an equal share.
    """
    norms = [float(torch.linalg.matrix_norm(layer.weight, 2)) for layer in layers]
    found, reach = [], ball.radius
    for index, layer in enumerate(layers):
        out, features = layer.weight.shape
        columns = features * (1 if ball.nonnegative or index else 2)
        lost = reach * (math.sqrt(out) + math.sqrt(columns)) + (layer.bias is not None) * math.sqrt(out)
        found.append(ball.tolerance / len(layers) / max(math.prod(norms[index + 1 :]) * lost, 1e-300))
        reach = norms[index] * reach + (0.0 if layer.bias is None else float(layer.bias.norm()))
    return found


def scale_of(layer: Affine, method: PruneMethod) -> float:
    """The least power of two that no weight exceeds; twice that where a single product has to reach the largest."""
    largest = max(float(t.abs().max()) for t in (layer.weight, layer.bias) if t is not None)
    if largest > LARGEST_SCALE:
        raise ValueError(f"weights up to {largest:.3g} given; at most {LARGEST_SCALE:.3g} fit into float32: rescale")
    # No smaller than where a power of two still scales float32 without rounding.
    scale = 2.0 ** math.ceil(math.log2(max(largest, 1 / LARGEST_SCALE))) if largest > 0 else 1.0
    return scale * (2 if method in (PruneMethod.RANDOM, PruneMethod.CLOSE) else 1)


def numbers(layer: Affine) -> int:
    """Weights and biases of a layer."""
    return layer.weight.numel() + (0 if layer.bias is None else layer.bias.numel())
