"""The likeliest input for given gates of a first layer, near a rough one.

A verified column says which neurons its sample opens and which it closes. The input is the most plausible one, with
z = v metric for standard normal v, among those near a rough one v_0 that keep to the gates:

    min_v  NEARNESS |v - v_0|^2 / 2  +  sum_j  rho(max(0, MARGIN - t_j u_j) / TOLERANCE),     u = W z + b,

with t_j = 1 for open gates and -1 for closed ones, u in units of its typical size, and rho a square that turns linear,
since a few gates of a column are wrong. A step of Newton's method on the active terms, reweighted, is a linear system.
"""

import torch
from jaxtyping import Float
from torch import Tensor

NEARNESS = 4.0  # the errors of a rough input have about a quarter of the variance of inputs
MARGIN = 0.35  # pre-activations of a sample are typically 1; without a margin a short vector keeps to every gate
TOLERANCE = 0.1
OUTLYING = 0.1  # violation, in typical units, from which a gate counts as possibly wrong
STEPS = 16


def input_from_gates(
    weight: Float[Tensor, "h r"],
    bias: Float[Tensor, " h"],
    gates: Float[Tensor, "m h"],
    rough: Float[Tensor, "m r"],
    metric: Float[Tensor, "r r"] | None,
) -> Float[Tensor, "m r"]:
    """One input for each row of gates, of the length of the rough one.

    Args:
        weight: of the first layer, on span coordinates.
        bias: of the first layer.
        gates: positive where open, negative where closed, 0 where unknown.
        rough: an input near each.
        metric: rows by which standard normal v become plausible inputs v metric of expected norm 1; None: isotropic.
    """
    weight, bias, rough = weight.double(), bias.double(), rough.double()
    r, length = weight.shape[1], rough.norm(dim=1, keepdim=True)
    shape = float(length.median()) * (torch.eye(r).to(weight) / r**0.5 if metric is None else metric.double())
    slopes = weight @ shape.T
    typical = (slopes.square().sum(1) + bias.square()).mean().sqrt()
    slopes, offset = slopes / typical, bias / typical
    start = torch.linalg.solve(shape.T, rough.T).T
    rows = zip(gates.sign().double(), start, strict=True)
    z = torch.stack([_most_plausible(slopes, offset, target, v) for target, v in rows]) @ shape
    return z * (length / z.norm(dim=1, keepdim=True))


def _most_plausible(slopes: Tensor, offset: Tensor, target: Tensor, start: Tensor) -> Tensor:
    v = start
    for k in range(STEPS):
        gap = MARGIN - target * (slopes @ v + offset)
        active = (gap > 0) & (target != 0)
        rows, short = slopes[active], target[active] * MARGIN - offset[active]
        weight = TOLERANCE**-2 / (1 + gap[active] / OUTLYING)
        hessian = rows.T @ (rows * weight[:, None])
        hessian.diagonal().add_(NEARNESS)
        solution = torch.linalg.solve(hessian, rows.T @ (weight * short) + NEARNESS * start)
        v = v + (1.0 if k == 0 else 0.6) * (solution - v)
    return v
