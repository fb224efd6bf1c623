"""A two-layer network that is provably robust, written down rather than trained (after arXiv 2202.04347).

One unit a sample: N(x) = sum_i y_i s_i relu(<x_i, x> - t_i). With p_i = max <x_i, x_j> over the samples j of the other
class, t_i = (|x_i|^2 + p_i) / 2 and s_i = 2 / (|x_i|^2 - p_i):

- at x_i + delta the own unit stays on while |x_i| |delta| < |x_i|^2 - t_i;
- a unit k of the other class stays off while |x_k| |delta| < t_k - p_k; both are (|x|^2 - p) / 2.

So no delta shorter than min_i (|x_i|^2 - p_i) / (2 |x_i|) changes a sign: about sqrt(d) / 2 for random samples of norm
sqrt(d), where the trained network falls at sqrt(d / n). Units of a sample's own class only help it.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vestige.core.cite import Paper, paper
from vestige.core.claims import Certificate, Claim
from vestige.core.margins import check_labels, signs
from vestige.nets.mlp import mlp

ROUNDING = 1e3  # machine epsilons that the claims allow; sums over the features round


@dataclass(frozen=True, eq=False)
class RobustNetwork:
    """The network and the radius that its stored weights certify.

    Args:
        module: Flatten, Linear, ReLU, Linear without bias; the width is the number of samples.
        radius: no l_2 perturbation of a given sample that is shorter changes the sign of the output.
        certificate: what the proof needs, computed in float64 from the stored weights.
        source: the paper.
    """

    module: nn.Module
    radius: float
    certificate: Certificate
    source: tuple[Paper, ...]


def robust_two_layer(x: Float[Tensor, "n ..."], y: Int[Tensor, " labels"]) -> RobustNetwork:
    """Write down a network of one unit a sample that keeps its sign around every sample.

    Args:
        x: samples, in model space; the larger their norms against their products, the larger the radius.
        y: labels {0, 1} or {-1, 1}.

    Raises:
        ValueError: samples that are not finite, labels that are no two classes, equal samples of different labels, or a
            sample that is no farther out in its own direction than one of the other class.

    >>> robust_two_layer(torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.tensor([1, 0])).radius  # (4 - 0) / (2 * 2)
    1.0
    """
    flat, sign = _read(x, y)
    products = (flat @ flat.T).masked_fill(sign[:, None] == sign, -torch.inf)
    own, (worst, rival) = flat.square().sum(1), products.max(1)
    closest = int((own - worst).argmin())
    if not float((own - worst)[closest]) > 0:
        other = int(rival[closest])
        cause = (
            "they are equal"
            if torch.equal(flat[closest], flat[other])
            else "subtract the samples' mean, or scale them to equal norm"
        )
        raise ValueError(
            f"sample {other} of the other class reaches as far in the direction of sample {closest} as that sample "
            f"itself, so that no threshold parts them: {cause}."
        )
    module = mlp([flat.shape[1], len(flat), 1], dtype=x.dtype, device=x.device).eval()
    hidden, out = module[1], module[3]
    assert isinstance(hidden, nn.Linear) and isinstance(out, nn.Linear)
    with torch.no_grad():
        hidden.weight.copy_(flat)
        hidden.bias.copy_(-(own + worst) / 2)
        out.weight.copy_((2 * sign / (own - worst))[None])
    radius, certificate = _certify(hidden, out, flat, sign)
    return RobustNetwork(module, radius, certificate, (paper("2202.04347"),))


def _read(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    if len(x) == 0 or not bool(torch.isfinite(x).all()):
        raise ValueError(f"x of shape {tuple(x.shape)} is empty or holds NaN or infinite values; remove those samples.")
    check_labels(y, len(x), 1)
    sign = signs(y).to(x.device)
    if bool((sign == sign[0]).all()):
        raise ValueError("every sample has the same label; samples of two classes are needed.")
    return x.detach().flatten(1).double(), sign


def _certify(hidden: nn.Linear, out: nn.Linear, flat: Tensor, sign: Tensor) -> tuple[float, Certificate]:
    """The radius of the stored weights: how far the own unit stays on, and the units of the other class stay off."""
    weight, bias = hidden.weight.detach().double(), hidden.bias.detach().double()
    size = weight.norm(dim=1)
    before = flat @ weight.T + bias  # (sample, unit)
    on = before.diagonal() / size
    off = (-before / size).masked_fill(sign[:, None] == sign, torch.inf).amin(1)
    radius = float(torch.minimum(on, off).min())
    margins = sign * (before.relu() @ out.weight.detach().double()[0])
    slack = ROUNDING * torch.finfo(hidden.weight.dtype).eps
    wrong = int((out.weight.detach()[0].sign() != sign).sum())
    claims = (
        Claim("units that vote for the other class", 0, wrong, "derived"),
        Claim("1 - smallest margin", slack, 1 - float(margins.min()), "derived"),
        Claim("share of min (|x|^2 - p) / (2 |x|) lost to rounding", slack, _lost(radius, flat, sign), "derived"),
    )
    return radius, Certificate(claims)


def _lost(radius: float, flat: Tensor, sign: Tensor) -> float:
    products = (flat @ flat.T).masked_fill(sign[:, None] == sign, -torch.inf).amax(1)
    own = flat.square().sum(1)
    return 1 - radius / float(((own - products) / (2 * own.sqrt())).min())
