"""The two-layer ReLU network of largest margin on the line, as a linear program over all neurons at once.

Balanced weights turn min 1/2 |theta|^2 with y_i N(x_i) >= 1 into

    min  sum_j |u_j|      with  y_i sum_j u_j max(0, x_i cos p_j + sin p_j) >= 1,

over all angles p. Its dual is max sum_i l_i, l >= 0, with |sum_i l_i y_i max(0, x_i cos p + sin p)| <= 1 at every p.
Between two angles at which a sample becomes active, the left side is |A cos p + B sin p|, whose maximum is known. The
neuron that breaks the dual most is thus found exactly, and added, until none does; the multipliers then bound the
optimum from below. A fixed grid of neurons would only bound it from above. The problem is that of arXiv 2305.15141.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Shaped
from numpy.typing import NDArray
from scipy.optimize import linprog
from torch import Tensor, nn

from vestige.core.cite import Paper, paper
from vestige.core.claims import Certificate, Claim
from vestige.core.margins import check_labels, signs
from vestige.core.outcome import Outcome
from vestige.core.relu_chain import linear_layer, relu_between

PAPER = paper("2305.15141")
Array = NDArray[np.float64]
ROUNDS = 100
ADDED = 200  # neurons in one round, those that break the dual most
NOTHING = 1e-9  # a weight below it, relative to the sum of all, is rounding of the simplex method


@dataclass(frozen=True, eq=False, kw_only=True)
class LineMargin:
    """The network of least weights among those with margin at least 1 on samples of the line.

    Attributes:
        model: linear, ReLU, linear; both layers' weights (and the first one's biases) are balanced.
        norm: sum_j |u_j| = |theta|^2 / 2 of it.
        bound: no network with margin 1 has less; from the multipliers.
        multipliers: l_i of the samples, not negative.
        neurons: of the model.
        certificate: the margin, and norm against bound.
        outcome: CONVERGED where they agree to the tolerance.
        source: the paper.
    """

    model: nn.Module
    norm: float
    bound: float
    multipliers: Float[Tensor, " n"]
    neurons: int
    certificate: Certificate
    outcome: Outcome
    source: tuple[Paper, ...] = (PAPER,)


def max_margin_1d(x: Float[Tensor, " n"], y: Shaped[Tensor, " n"], *, tolerance: float = 1e-6) -> LineMargin:
    """The two-layer ReLU network with the largest margin on samples of the line, of any width.

    Args:
        x: samples.
        y: labels, {0, 1} or {-1, 1}.
        tolerance: relative distance between its norm and the proved bound.

    Returns:
        The network, with its multipliers and the bound that they prove.

    Raises:
        ValueError: labels that are others, samples that are not finite, or equal samples with different labels.

    >>> found = max_margin_1d(torch.tensor([0.0, 1.0]), torch.tensor([1, 1]))
    >>> found.neurons, round(found.norm, 6)  # one constant neuron
    (1, 1.0)
    """
    check_labels(y, len(x), 1)
    points, labels = x.detach().double().cpu().numpy(), signs(y).double().cpu().numpy()
    if not (len(points) and np.isfinite(points).all()):
        raise ValueError("Samples that are finite, and at least one, are needed.")
    for value in np.unique(points):
        if len(np.unique(labels[points == value])) > 1:
            raise ValueError(f"Two samples at {value} have different labels: no network fits both. Remove one.")
    angles = np.unique(np.concatenate([-np.arctan(points), math.pi - np.arctan(points), [math.pi / 2]]))
    primal, dual, weights, bound = math.inf, np.zeros(len(points)), np.zeros(len(angles)), 0.0
    for _ in range(ROUNDS):
        primal, weights, dual = _solved(points, labels, angles)
        values, places = _worst(points, labels, dual)
        bound = max(bound, float(dual.sum()) / max(1.0, float(values.max(initial=0.0))))
        if primal - bound <= tolerance * primal:
            break
        best = np.argsort(-values)[:ADDED]
        angles = np.concatenate([angles, places[best][values[best] > 1 + tolerance / 10]])
        weights = np.concatenate([weights, np.zeros(len(angles) - len(weights))])
    return _result(points, labels, angles[: len(weights)], weights, dual, bound, tolerance)


def _features(points: Array, angles: Array) -> Array:
    return np.maximum(points[:, None] * np.cos(angles) + np.sin(angles), 0.0)


def _solved(points: Array, labels: Array, angles: Array) -> tuple[float, Array, Array]:
    """Value, output weights and multipliers of the program over these neurons."""
    rows = labels[:, None] * _features(points, angles)
    found = linprog(
        np.ones(2 * len(angles)), A_ub=np.hstack([-rows, rows]), b_ub=-np.ones(len(points)), method="highs-ds"
    )
    if found.status != 0:
        raise ValueError(f"The linear program has no solution ({found.message}); are two samples closer than rounding?")
    return float(found.fun), found.x[: len(angles)] - found.x[len(angles) :], -found.ineqlin.marginals


def _worst(points: Array, labels: Array, dual: Array) -> tuple[Array, Array]:
    """Largest |sum l y max(0, x cos p + sin p)| on each arc of angles with the same active samples, and where."""
    order = np.argsort(points, kind="stable")
    x, pull = points[order], (dual * labels)[order]
    sums = np.stack([pull * x, pull])
    total = sums.sum(1, keepdims=True)
    below = np.concatenate([np.zeros((2, 1)), np.cumsum(sums, 1)], 1)  # of the first i samples
    edges = np.concatenate([[math.pi / 2], -np.arctan(x), [-math.pi / 2]])
    found = []
    # to the right of a threshold between samples i - 1 and i, and to the left of it: the same angles turned by pi
    for (a, b), turn in ((total - below, 0.0), (below, math.pi)):
        high, low = edges[:-1] + turn, edges[1:] + turn
        top = np.arctan2(b, a)
        for angle in (low, high, *(_into(top + half, low) for half in (0.0, math.pi))):
            inside = np.where((angle >= low) & (angle <= high), angle, low)
            found.append((abs(a * np.cos(inside) + b * np.sin(inside)), inside))
    values, places = (np.concatenate(part) for part in zip(*found, strict=True))
    return values, places


def _into(angle: Array, low: Array) -> Array:
    """The same angle, at most a full turn above `low`."""
    return low + np.mod(angle - low, 2 * math.pi)


def _result(
    points: Array, labels: Array, angles: Array, weights: Array, dual: Array, bound: float, tolerance: float
) -> LineMargin:
    norm = float(abs(weights).sum())
    kept = abs(weights) > NOTHING * norm
    u, p = weights[kept], angles[kept]
    size = np.sqrt(abs(u))
    first = linear_layer((size * np.cos(p))[:, None], size * np.sin(p))
    model = relu_between([first, linear_layer((np.sign(u) * size)[None], np.zeros(1))])
    margin = float((labels * (_features(points, p) @ u)).min())
    claims = (
        Claim("1 minus the smallest margin", 1e-6, 1 - margin, "constraint"),
        Claim("norm over the proved bound, minus 1", tolerance, norm / bound - 1, "linear programming duality"),
    )
    return LineMargin(
        model=model,
        norm=norm,
        bound=bound,
        multipliers=torch.from_numpy(dual),
        neurons=int(kept.sum()),
        certificate=Certificate(claims),
        outcome=Outcome.CONVERGED if claims[1].holds else Outcome.BUDGET_SPENT,
    )
