"""One hyperplane parts the zeros of a column from the rest, as the sample itself does.

w_j . x~ < 0 holds exactly at the neurons that a sample leaves off. So the hyperplane that parts the zeros of a rough
column best is a rough sample, and where it closes neurons a better column vanishes. And a column without such a
hyperplane is no sample's: the difference of two columns vanishes where both samples are off and where both are open and
cancel, and no hyperplane cuts these neurons out. (One may cut out those where both are off: a sum of columns is told by
its few zeros.)
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from vestige.reconstruct.weights.grams import weighted_grams
from vestige.reconstruct.weights.zeros.layer import FirstLayer

STEPS = 12  # of Newton's method
HALVINGS = 6  # of one step, at most
RIDGE = 1e-3  # against the log likelihood of h neurons, on whitened weights


def parting_inputs(
    layer: FirstLayer, off: Bool[Tensor, "m h"], span: Float[Tensor, "n k"] | None = None
) -> Float[Tensor, "m n"]:
    """Inputs y of the layer that close the neurons `off` and open the others, as well as any can: logistic regression.

    Args:
        layer: the first layer, whose rows on its own span are the points.
        off: which neurons are to lie on the negative side.
        span: orthonormal basis of the inputs that are allowed; None: all.
    """
    points = F.normalize(layer.slopes, dim=1)
    points = points if span is None else points @ span
    k = points.shape[1]
    factor = torch.linalg.cholesky(points.T @ points / len(points) + 1e-9 * torch.eye(k).to(points))
    points = torch.linalg.solve_triangular(factor, points.T, upper=False).T
    side = 1.0 - 2.0 * off.to(points)
    normal = side @ points / len(points)
    for _ in range(STEPS):
        wrong = torch.sigmoid(-side * (normal @ points.T))
        slope = (side * wrong) @ points - RIDGE * normal
        bend = weighted_grams(points, wrong * (1 - wrong))
        bend = bend + RIDGE * torch.eye(k).to(points)
        step = torch.cholesky_solve(slope[:, :, None], torch.linalg.cholesky(bend))[:, :, 0]
        normal = normal + _length(points, side, normal, step) * step
    normal = torch.linalg.solve_triangular(factor.T, normal.T, upper=True).T
    return normal if span is None else normal @ span.T


def separable(layer: FirstLayer, off: Bool[Tensor, "m h"]) -> Float[Tensor, " m"]:
    """Share of the neurons that one hyperplane through 0 puts on the right side."""
    u = parting_inputs(layer, off) @ layer.slopes.T
    return ((u < 0) == off).to(u) @ layer.weight


def _length(points: Tensor, side: Tensor, normal: Tensor, step: Tensor) -> Float[Tensor, "m 1"]:
    """Of 1, 1/2, 1/4, ... the part of each step that gains most: whole steps run away once few neurons are wrong."""
    lengths = 0.5 ** torch.arange(HALVINGS).to(points)
    u, du = normal @ points.T, step @ points.T
    loss = [F.softplus(-side * (u + t * du)).sum(1) + RIDGE / 2 * (normal + t * step).square().sum(1) for t in lengths]
    return lengths[torch.stack(loss).argmin(0)][:, None]
