"""How far two ReLU networks can differ anywhere in a ball, from the weights that are stored.

A target layer W x + b is stood in for by two layers, M2 relu(M1 x + c), in which every row of (M1, c) has one entry at
most. With x+ = relu(x) and x- = relu(-x) these compute P x+ + N x- + b', where

    P = sum of M2[:, q] M1[q, i]  over positive entries,     N = sum of M2[:, q] |M1[q, i]|  over negative ones,

and |(x+, x-)| = |x|. Let R_i bound the target's activations and e_i the difference after layer i:

    R_i = |W_i| R_(i-1) + |b_i|,     e_i = |W_i| e_(i-1) + |[P - W, N + W]| (R_(i-1) + e_(i-1)) + |b' - b|.

Where x >= 0 only P matters. Norms are Euclidean and spectral; ReLU increases neither.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vestige.core.relu_chain import Affine

ROUNDING = 1 + 1e-9  # float64 norms of these sizes are wrong by less than 1e-12 of themselves


@dataclass(frozen=True)
class Ball:
    """The inputs |x| <= radius, x >= 0 if `nonnegative`, and the error that the outputs may have there."""

    tolerance: float
    radius: float
    nonnegative: bool


@dataclass(frozen=True, eq=False)
class StandIn:
    """What M2 relu(M1 x + c) computes: P x+ + N x- + offset."""

    positive: Float[Tensor, "out features"]
    negative: Float[Tensor, "out features"]
    offset: Float[Tensor, " out"]


@dataclass(frozen=True)
class LayerError:
    """The largest error of a weight, the norm of the errors as an operator, and the bound after the layer."""

    weight: float
    operator: float
    bound: float


def checked_ball(tolerance: float | int, radius: float | int, nonnegative: bool) -> Ball:
    """A ball and a tolerance, both positive and finite."""
    for name, value in (("tolerance", tolerance), ("radius", radius)):
        if not (math.isfinite(value) and value > 0):
            raise ValueError(
                f"{name}={value} given; {name} must be positive and finite, such as 0.01 on a ball of radius 1."
            )
    return Ball(float(tolerance), float(radius), nonnegative)


def stand_in(
    first: Float[Tensor, "hidden features"],
    constant: Float[Tensor, " hidden"] | None,
    second: Float[Tensor, "out hidden"],
) -> StandIn:
    """Read P, N and the offset off masked weights."""
    if constant is None:
        constant = first.new_zeros(len(first))
    entries = (first != 0).sum(1) + (constant != 0)
    if int(entries.max()) > 1:
        row = int(entries.argmax())
        raise ValueError(
            f"hidden neuron {row} keeps {int(entries[row])} weights of its inputs; the certificate needs one at most. "
            "The masks were changed, or prune_to_target did not make them."
        )
    first, constant, second = first.double(), constant.double(), second.double()
    column = first.abs().argmax(1)
    entry = first.gather(1, column[:, None])[:, 0]
    positive, negative = (first.new_zeros(len(second), first.shape[1]) for _ in range(2))
    positive.index_add_(1, column, second * entry.relu())
    negative.index_add_(1, column, second * (-entry).relu())
    return StandIn(positive, negative, second @ constant.relu())


def sup_error(target: tuple[Affine, ...], stand_ins: tuple[StandIn, ...], ball: Ball) -> tuple[LayerError, ...]:
    """The bound e_i of every layer; the last one holds for the outputs of the two networks on the whole ball."""
    reach, error, found = ball.radius, 0.0, []
    for index, (layer, instead) in enumerate(zip(target, stand_ins, strict=True)):
        parts = [instead.positive - layer.weight]
        if index == 0 and not ball.nonnegative:
            parts.append(instead.negative + layer.weight)
        miss = torch.cat(parts, dim=1)
        bias = torch.zeros_like(instead.offset) if layer.bias is None else layer.bias
        norm, operator = float(torch.linalg.matrix_norm(layer.weight, 2)), float(torch.linalg.matrix_norm(miss, 2))
        drift = instead.offset - bias
        error = (norm * error + operator * (reach + error) + float(drift.norm())) * ROUNDING
        reach = (norm * reach + float(bias.norm())) * ROUNDING
        worst = max(float(miss.abs().max()), float(drift.abs().max()))
        found.append(LayerError(worst, operator, error))
    return tuple(found)
