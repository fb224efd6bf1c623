"""What a certificate measures of one network and its samples: epsilon, delta, harm, and what the theorems assume."""

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vestige.core.margins import Loss, as_rows, margin, margin_directions
from vestige.core.relu_chain import find_relu_chain, first_linear
from vestige.core.residual import Rule, Subgradient, stationarity
from vestige.unlearning.gates import stacked
from vestige.unlearning.slackness import least_slack

STATED = 0.05  # relative residual above which nothing is called provable
SLACK = 0.1  # likewise; the cosine to the largest margin at these gates is at least 1 - slack


@dataclass(frozen=True)
class Assumptions:
    """What the theorems assume of the data, measured: |x|^2 in [1 - psi, 1 + psi] and |<x_i, x_j>| <= phi, i != j.

    Inner products count the constant input of a bias. `forget_phi` is the largest between a forgotten and a retained
    sample; `interference` = sum_r lambda_r * forget_phi, which the linear theorem needs below 1.
    """

    norm_sq: tuple[float, float]
    phi: float
    forget_phi: float
    interference: float


@dataclass(frozen=True, eq=False)
class Distance:
    """Relative epsilon, delta and multipliers of a network whose smallest margin is 1; NaN where it has none.

    slack = sum_i lambda_i (m_i - 1) / sum_i lambda_i m_i is delta summed over the samples and relative to |theta~|^2,
    which is sum_i lambda_i m_i where epsilon is 0. Then weak duality gives |theta*| >= sum_i lambda_i / |theta~| for
    theta* at the largest margin of these gates, and cos(theta~, theta*) >= |theta*| / |theta~| >= 1 - slack.
    """

    epsilon: float
    delta: float
    slack: float
    multipliers: Tensor


def kkt_distance(net: nn.Module, x: Tensor, y: Tensor, layers: list[str], tolerance: float) -> Distance:
    """How far a network is from a KKT point of the margin problem on these samples, once its smallest margin is 1."""
    scaled = to_unit_margin(net, layers, smallest_margin(net, x, y))
    with torch.no_grad():
        outputs = as_rows(scaled(x))
    rows, index = margin_directions(outputs, y, "all")
    margins = (rows * outputs[index]).sum(1)
    if not bool(margins.min() > 0):
        return Distance(math.nan, math.nan, math.nan, torch.full_like(margins, math.nan))
    chain = find_relu_chain(scaled)
    clarke = chain is not None and chain.depth > 1
    point = stationarity(
        scaled,
        x,
        y,
        loss=Loss.LOGISTIC if outputs.shape[1] == 1 else Loss.CROSS_ENTROPY,
        multipliers=Rule.NONNEGATIVE,
        competitors="all",
        subgradient=Subgradient.CLARKE if clarke else Subgradient.AUTOGRAD,
        layers=layers,
        kink_tolerance=tolerance,
    )
    point = least_slack(scaled, x, y, point, layers)
    over = (point.multipliers * (margins - 1)).clamp(min=0)
    slack = float(over.sum() / (point.multipliers * margins).sum().clamp(min=1e-300))
    return Distance(point.residual**0.5, float(over.max()), slack, point.multipliers)


@torch.no_grad()
def is_farther(
    net: nn.Module, other: nn.Module, goal: nn.Module, x: Tensor, y: Tensor, kept: Tensor, layers: list[str]
) -> bool:
    """Whether `net` is farther from `goal` than `other` is: by the angle of these layers, or by margins at all samples.

    Margins are relative to the mean of the retained ones, so that scale does not count.
    """
    angles = [one_minus_cosine(m, goal, layers) for m in (net, other)]
    profiles = [_relative_margins(m, x, y, kept) for m in (net, other, goal)]
    gaps = [float((profile - profiles[-1]).norm()) for profile in profiles[:-1]]
    return angles[0] > angles[1] or gaps[0] > gaps[1] or math.isnan(gaps[0]) > math.isnan(gaps[1])


def _relative_margins(net: nn.Module, x: Tensor, y: Tensor, kept: Tensor) -> Tensor:
    found = margin(as_rows(net(x)), y)
    scale = found[kept].mean()
    return found / scale if scale > 0 else torch.full_like(found, math.nan)


@torch.no_grad()
def smallest_margin(net: nn.Module, x: Tensor, y: Tensor) -> float:
    """Over the samples; negative where one is misclassified."""
    return float(margin(as_rows(net(x)), y).min())


@torch.no_grad()
def to_unit_margin(net: nn.Module, layers: list[str], gamma: float) -> nn.Module:
    """Divided by gamma: outputs are homogeneous of degree 1 in one layer, and of degree L in L of them."""
    new = copy.deepcopy(net)
    if gamma > 0:
        for name in layers:
            for parameter in new.get_submodule(name).parameters(recurse=False):
                parameter *= gamma ** (-1 / len(layers))
    return new


def size(net: nn.Module, layers: list[str]) -> float:
    """Norm of the parameters of these layers."""
    return float(stacked(dict(net.named_parameters()), layers).norm())


def one_minus_cosine(net: nn.Module, other: nn.Module, layers: list[str]) -> float:
    """Between the parameters of these layers in the two networks."""
    a, b = (stacked(dict(m.named_parameters()), layers) for m in (net, other))
    return max(0.0, 1 - float(a @ b / (a.norm() * b.norm())))


def assumptions(net: nn.Module, x: Tensor, kept: Tensor, multipliers: Tensor) -> Assumptions:
    """Of the theorems, at all samples x, of which those at `kept` are retained."""
    first = first_linear(net)
    gram = x.flatten(1) @ x.flatten(1).T + float(first is not None and first[1].bias is not None)
    retained = torch.zeros(len(x), dtype=torch.bool, device=x.device).index_fill(0, kept, True)
    worst = float(gram[~retained][:, retained].abs().max())
    off = (gram - torch.diag(gram.diagonal())).abs()
    share = float(multipliers.reshape(len(x), -1).sum(1)[~retained].sum())
    norms = gram.diagonal()
    return Assumptions((float(norms.min()), float(norms.max())), float(off.max()), worst, share * worst)


def linear_bound(whole: Distance, interference: float) -> float:
    """(delta_1 + 2 lambda_max s) / (1 - s)^2, derived from margins that move by at most s; infinite from s = 1 on."""
    if not interference < 1:
        return math.inf
    return (whole.delta + 2 * float(whole.multipliers.max()) * interference) / (1 - interference) ** 2
