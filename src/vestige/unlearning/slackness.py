"""Of multipliers that explain the weights equally well, those that fit the margins.

With more samples than weights the stationarity sum has many solutions, and least squares may give a term to a sample
far behind the margin. A KKT point has lambda_i (m_i - 1) = 0 too, so that this sum is added, with a small weight:

    min over lambda >= 0 of  |theta - sum_i lambda_i y_i grad f(x_i)|^2 + 2 w sum_i lambda_i (m_i - min m).
"""

from dataclasses import replace

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from vestige.core.kkt import gram_system
from vestige.core.margins import as_rows, margin_directions
from vestige.core.multipliers import nonnegative
from vestige.core.relu_chain import find_relu_chain
from vestige.core.residual import Stationarity

UNIQUE = 1e-9  # least eigenvalue over the largest, above which the samples' gradients are independent
WEIGHT = 1e-4  # against the distance, for margins of the size of 1
RIDGE = 1e-9  # of the mean square: slackness is seen where the samples' gradients are dependent, too


def least_slack(
    net: nn.Module, x: Float[Tensor, "n ..."], y: Shaped[Tensor, " n"], point: Stationarity, layers: list[str]
) -> Stationarity:
    """The point with these multipliers, for a linear network where they are not unique; another one as it is.

    Args:
        net: in float64 and evaluation mode.
        x: samples, model space.
        y: their labels.
        point: the stationarity sum with non-negative multipliers of all competitors.
        layers: names of the layers that count.
    """
    chain = find_relu_chain(net)
    if chain is None or chain.depth > 1:
        return point
    outputs = as_rows(net(x)).detach()
    rows, index = margin_directions(outputs, y, "all")
    margins = (rows * outputs[index]).sum(1)
    system = gram_system(net, x[index], rows, layers=layers)
    sizes = torch.linalg.eigvalsh(system.gram)
    if sizes[0] > UNIQUE * sizes[-1]:
        return point
    full = system.gram + RIDGE * system.gram.diagonal().mean() * torch.eye(len(rows)).to(rows)
    lam = nonnegative(full, system.target - WEIGHT * (margins - margins.min()))
    cotangent = torch.zeros_like(outputs).index_add(0, index, lam[:, None] * rows)
    size = cotangent.norm(dim=1)
    return replace(point, multipliers=lam, cotangent=cotangent, support=size > 1e-6 * size.max())
