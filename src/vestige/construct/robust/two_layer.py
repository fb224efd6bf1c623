"""A two-layer network that is provably robust, written down rather than trained (after arXiv 2202.04347).

One unit a sample: N(x) = sum_i y_i s_i relu(<x_i, x> - t_i). With p_i = max <x_i, x_j> over the samples j of the other
class, t_i = (|x_i|^2 + p_i) / 2 and s_i = 2 / (|x_i|^2 - p_i):

- at x_i + delta the own unit stays on while |x_i| |delta| < |x_i|^2 - t_i;
- a unit k of the other class stays off while |x_k| |delta| < t_k - p_k; both are (|x|^2 - p) / 2.

So no delta shorter than min_i (|x_i|^2 - p_i) / (2 |x_i|) changes a sign: about sqrt(d) / 2 for random samples of norm
sqrt(d), where the trained network falls at sqrt(d / n). Units of a sample's own class only help it.
"""

import torch
from jaxtyping import Int, Shaped
from torch import Tensor, nn

from vestige.construct.construction import Construction
from vestige.construct.robust.sign_balls import SignBalls, kept_radius
from vestige.core.cite import paper
from vestige.core.claims import Certificate
from vestige.core.margins import check_labels, signs
from vestige.core.outcome import Outcome
from vestige.nets.fully_connected import mlp

SOURCE = "arXiv 2202.04347, derived"
SUMS = 4  # roundings of a sum taken off the radius: one by each of two that check it, and their difference


def robust_two_layer(x: Shaped[Tensor, "n ..."], y: Int[Tensor, " labels"]) -> Construction:
    """Write down a network of one unit a sample that keeps its sign around every sample.

    Args:
        x: samples, in model space; the larger their norms against their products, the larger the radius.
        y: labels {0, 1} or {-1, 1}.

    Returns:
        `network` is Flatten, Linear, ReLU, Linear without bias; its width is the number of samples. No l_2 perturbation
        of a sample that is shorter than `numbers["eps"]` changes the sign of its output.

    Raises:
        ValueError: samples that are not finite, labels that are not two classes, equal samples of different labels, or
            a sample that is no farther out in its own direction than one of the other class.

    >>> made = robust_two_layer(torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.tensor([1, 0]))
    >>> round(made.numbers["eps"], 9)  # (4 - 0) / (2 * 2)
    1.0
    """
    flat, sign = _read(x, y)
    products = (flat @ flat.T).masked_fill(sign[:, None] == sign, -torch.inf)
    own, (worst, rival) = flat.square().sum(1), products.max(1)
    closest = int((own - worst).argmin())
    if not float((own - worst)[closest]) > 0:
        raise ValueError(_conflict(flat, closest, int(rival[closest])))
    module = mlp([flat.shape[1], len(flat), 1], dtype=x.dtype, device=x.device).requires_grad_(False).eval()
    hidden, out = module[1], module[3]
    assert isinstance(hidden, nn.Linear) and isinstance(out, nn.Linear)
    with torch.no_grad():
        hidden.weight.copy_(flat)
        hidden.bias.copy_(-(own + worst) / 2)
        out.weight.copy_((2 * sign / (own - worst))[None])
    numbers = (hidden.weight.double(), hidden.bias.double(), out.weight.double()[0])
    eps = kept_radius(*numbers, flat, sign, rounding=SUMS)
    balls = SignBalls(points=flat.cpu().numpy(), signs=sign.long().cpu().numpy(), eps=eps, source=SOURCE)
    certificate = Certificate(balls.check(module))
    return Construction(
        network=module,
        specification=balls,
        certificate=certificate,
        outcome=Outcome.CONVERGED if certificate.holds else Outcome.STAGNATED,
        source=(paper("2202.04347"),),
        numbers={"points": len(flat), "eps": eps},
    )


def _conflict(flat: Tensor, sample: int, other: int) -> str:
    cause = (
        "they are equal"
        if torch.equal(flat[sample], flat[other])
        else "subtract the samples' mean, or scale them to equal norm"
    )
    return (
        f"sample {other} of the other class reaches as far in the direction of sample {sample} as that sample itself, "
        f"so that no threshold separates them: {cause}."
    )


def _read(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    if x.is_complex():
        raise ValueError(f"x is {x.dtype}; real samples are needed.")
    if len(x) == 0 or not bool(torch.isfinite(x).all()):
        raise ValueError(f"x of shape {tuple(x.shape)} is empty or holds NaN or infinite values; remove those samples.")
    check_labels(y, len(x), 1)
    sign = signs(y).to(x.device)
    if bool((sign == sign[0]).all()):
        raise ValueError("every sample has the same label; samples of two classes are needed.")
    return x.detach().flatten(1).double(), sign
