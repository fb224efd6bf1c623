"""A sample's column and its pre-activations, found together.

Of a sample the column s lies in the n dimensions of the column space, and the pre-activations u in those of the inputs.
Neuron by neuron the two belong together:

    (s_j, u_j)  in  G_j  =  {(0, u): u <= 0}  +  {(f_j, u): u >= 0}  +  {(t f_j, 0): 0 <= t <= 1},                (1)

closed gates, open ones and those on a kink, with f = V^T l. That is one equation a neuron, kinks included, for which
gates alone have no use. The nearest points of both sets are in closed form, a product with an orthonormal basis and
a choice of three, and a pair in both is found by alternating between them, or by reflecting at both (relaxed reflect
reflect, Elser 2017), which leaves points that are only locally nearest. All pairs of a batch are found at once.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from vestige.reconstruct.weights.two_layer.columns import ColumnSpace

STEPS, LAST = 800, 50  # steps, and those after them without reflections
INPUTS = 0.1  # what a squared distance of u counts beside one of s
STRIDE = 0.5  # of a reflected step
AGAIN = 5  # steps from one fit of V^T l to the next
RIDGE = 1e-6  # of the fit of V^T l, whose signals are orthonormal: all gates may be closed
CLOSE = (0.02, 0.05)  # of the mean |s| and the median |u|, within which (1) is met


@dataclass(frozen=True)
class Pairs:
    """Columns with pre-activations, each of norm 1 over different neurons.

    Attributes:
        s: columns.
        full: V^T l for each.
        u: pre-activations over the norm of each neuron's weights.
        met: share of the different neurons at which (1) is met.
    """

    s: Float[Tensor, "m h"]
    full: Float[Tensor, "m h"]
    u: Float[Tensor, "m h"]
    met: Float[Tensor, " m"]


def pairs_near(
    space: ColumnSpace,
    inputs: Float[Tensor, "h k"],
    u: Float[Tensor, "m h"],
    full: Float[Tensor, "m h"],
    *,
    reflect: bool,
    steps: int = STEPS,
) -> Pairs:
    """Pairs that meet (1), or nearly, near rough pre-activations.

    Args:
        space: of the columns.
        inputs: basis of the pre-activations over the norm of each neuron's weights.
        u: rough ones.
        full: rough V^T l.
        reflect: reach further, for fewer different pairs.
        steps: before those without reflections.
    """
    root = (space.weight / space.weight.sum()).sqrt()
    columns, inputs, signals = (torch.linalg.qr(b * root[:, None])[0] for b in (space.first, inputs, space.output))
    u, full = F.normalize(u * root, dim=1), F.normalize(full * root, dim=1)
    s = torch.where(u > 0, full, 0.0)
    for k in range(steps + LAST):
        near_s, near_u, opened = nearest_points(s, u, full)
        if k % AGAIN == 0 or k >= steps:
            full = _refitted(signals, _within(columns, s), opened)
        if reflect and k < steps:
            s = s + STRIDE * (_within(columns, 2 * near_s - s) - near_s)
            u = u + STRIDE * (_within(inputs, 2 * near_u - u) - near_u)
        else:
            s, u = _within(columns, near_s), _within(inputs, near_u)
        u = F.normalize(u, dim=1)
    s, full, u = s / root, full / root, u / root
    return Pairs(s, full, u, _met(s, full, u) @ root.square())


def _within(basis: Float[Tensor, "h k"], values: Float[Tensor, "m h"]) -> Float[Tensor, "m h"]:
    """The nearest vectors of a subspace."""
    return (values @ basis) @ basis.T


def nearest_points(
    s: Float[Tensor, "*m h"], u: Float[Tensor, "*m h"], full: Float[Tensor, "*m h"]
) -> tuple[Tensor, Tensor, Bool[Tensor, "*m h"]]:
    """The nearest points of (1), and which of them are open gates."""
    low, high = full.clamp(max=0), full.clamp(min=0)
    between = torch.maximum(torch.minimum(s, high), low)
    closed = s.square() + INPUTS * u.clamp(min=0).square()
    opened = (s - full).square() + INPUTS * u.clamp(max=0).square()
    kink = (s - between).square() + INPUTS * u.square()
    is_closed = closed <= torch.minimum(opened, kink)
    is_open = ~is_closed & (opened <= kink)
    near_s = torch.where(is_closed, 0.0, torch.where(is_open, full, between))
    near_u = torch.where(is_closed, u.clamp(max=0), torch.where(is_open, u.clamp(min=0), 0.0))
    return near_s, near_u, is_open


def _refitted(signals: Float[Tensor, "h q"], s: Float[Tensor, "m h"], opened: Tensor) -> Float[Tensor, "m h"]:
    """V^T l of norm 1, by least squares over the open neurons."""
    weight = opened.to(s)
    ridge = RIDGE * torch.eye(signals.shape[1]).to(s)
    gram = torch.einsum("hq,mh,hp->mqp", signals, weight, signals) + ridge
    return F.normalize(torch.linalg.solve(gram, (weight * s) @ signals) @ signals.T, dim=1)


def _met(s: Tensor, full: Tensor, u: Tensor) -> Float[Tensor, "m h"]:
    """Where (1) is met, as 0 and 1."""
    size, typical = s.abs().mean(1, keepdim=True), u.abs().median(1, keepdim=True).values
    near_s, near_u = CLOSE[0] * size, CLOSE[1] * typical
    closed = (s.abs() < near_s) & (u < near_u)
    opened = ((s - full).abs() < near_s) & (u > -near_u)
    gate = s / torch.where(full == 0, 1e-300, full)
    kink = (gate > -CLOSE[1]) & (gate < 1 + CLOSE[1]) & (u.abs() < near_u)
    return (closed | opened | kink).to(s)
