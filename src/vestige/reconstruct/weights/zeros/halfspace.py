"""Whether one hyperplane parts the zeros of a column from the rest, as the sample itself does.

w_j . x~ < 0 holds exactly at the neurons that a sample leaves off. The difference of two columns vanishes where both
samples are off and where both are open and cancel, and no hyperplane cuts these neurons out. (One may cut out those
where both are off: a sum of columns is told by its few zeros.)
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from vestige.reconstruct.weights.zeros.layer import FirstLayer

STEPS = 12  # of Newton's method
RIDGE = 1e-3  # against the log likelihood of h neurons, on whitened weights


def separable(layer: FirstLayer, off: Bool[Tensor, "m h"]) -> Float[Tensor, " m"]:
    """Largest share of the neurons that a hyperplane through 0 puts on the right side, by logistic regression.

    Args:
        layer: the first layer, whose rows on its own span are the points.
        off: which neurons are to lie on the negative side.
    """
    points = F.normalize(layer.slopes, dim=1)
    n = points.shape[1]
    factor = torch.linalg.cholesky(points.T @ points / len(points) + 1e-9 * torch.eye(n).to(points))
    points = torch.linalg.solve_triangular(factor, points.T, upper=False).T
    side = 1.0 - 2.0 * off.to(points)
    normal = side @ points / len(points)
    for _ in range(STEPS):
        wrong = torch.sigmoid(-side * (normal @ points.T))
        slope = (side * wrong) @ points - RIDGE * normal
        bend = torch.stack([(points * w[:, None]).T @ points for w in wrong * (1 - wrong)])
        bend = bend + RIDGE * torch.eye(n).to(points)
        normal = normal + torch.cholesky_solve(slope[:, :, None], torch.linalg.cholesky(bend))[:, :, 0]
    return (side * (normal @ points.T) > 0).to(points) @ layer.weight
