"""Attention heads that look for the nearest of two points, in closed form (arXiv 2407.16153).

The target picks, of two orthonormal x_1 and x_2, the one nearest to y: the sign of <w, y> with w = (x_1 - x_2) /
sqrt 2. A head of rank one answers with the sign of <q, y> <k, w>. For y and w uniform on the sphere of R^d, with P_l
Gegenbauer's polynomials, P_l(1) = 1, N_l the dimension of the harmonics of degree l and s_l = E sign(u) P_l(u) of a
coordinate u,

    P[two heads agree]         = 1/2 + 2 / pi^2 asin<q, q'> asin<k, k'>
    P[a head is right]         = (1 + rho(<q, k>)) / 2,      rho(t) = sum_{l odd} N_l s_l^3 P_l(t)
    sum_{l odd} N_l s_l^2      = 1.
"""

import math

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.special import gammaln
from torch import Tensor

DEGREES = 401  # odd degrees up to here; what is left is far below 1e-6 for d >= 4


def _checked(dim: int) -> None:
    if dim < 3:
        raise ValueError(f"dim={dim} given; Gegenbauer's polynomials are those of dim >= 3.")


def harmonics(dim: int, degree: int) -> int:
    """Dimension of the harmonic polynomials of a degree on the sphere in `dim` dimensions.

    >>> [harmonics(3, l) for l in range(4)], harmonics(8, 3)
    ([1, 3, 5, 7], 112)
    """
    lower = math.comb(degree + dim - 3, dim - 1) if degree >= 2 else 0
    return math.comb(degree + dim - 1, dim - 1) - lower


def sign_coefficient(dim: int, degree: int) -> float:
    """s_l = E sign(u) P_l(u), of an odd degree l; u is a coordinate of a uniform point of the sphere.

    With a = (dim - 2) / 2:
    d/du (1 - u^2)^(a + 1/2) C_(l-1)^(a+1)(u) = -l (l + 2 a) / (2 a) (1 - u^2)^(a - 1/2) C_l^a(u).

    >>> round(sign_coefficient(3, 1), 12)  # E |u| in three dimensions
    0.5
    """
    _checked(dim)
    a, half = (dim - 2) / 2, (degree - 1) // 2
    log_at_zero = gammaln(half + a + 1) - gammaln(a + 1) - gammaln(half + 1)
    log_at_one = gammaln(degree + 2 * a) - gammaln(2 * a) - gammaln(degree + 1)
    log_density = gammaln(dim / 2) - gammaln((dim - 1) / 2) - math.log(math.pi) / 2
    size = math.exp(log_at_zero - log_at_one + log_density) * 2 * 2 * a / (degree * (degree + 2 * a))
    return -size if half % 2 else size


def head_agreement(
    q: Float[Tensor, "... d"],
    k: Float[Tensor, "... d"],
    other_q: Float[Tensor, "... d"],
    other_k: Float[Tensor, "... d"],
) -> Float[Tensor, " *#b"]:
    """Probability that two heads of rank one choose the same of two points; vectors have length 1.

    >>> e = torch.eye(3)
    >>> head_agreement(e[0], e[1], e[0], e[1]).item(), head_agreement(e[0], e[1], e[2], e[1]).item()
    (1.0, 0.5)
    """
    first, second = ((a * b).sum(-1).clamp(-1, 1).asin() for a, b in ((q, other_q), (k, other_k)))
    return 0.5 + 2 / math.pi**2 * first * second


def head_accuracy(dim: int, alignment: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Probability that a head of rank one chooses the nearer of two orthonormal points.

    Args:
        dim: of the points, at least 3.
        alignment: <q, k> of the head's unit vectors.

    Raises:
        ValueError: dim below 3.

    >>> round(head_accuracy(4, torch.tensor(1.0)).item(), 4), round(head_accuracy(16, torch.tensor(1.0)).item(), 4)
    (0.6487, 0.5659)
    """
    _checked(dim)
    t = alignment.detach().double().clamp(-1, 1).numpy()
    rho = np.zeros_like(t)
    before, now, a = np.ones_like(t), t, (dim - 2) / 2
    for degree in range(1, DEGREES + 1):
        if degree % 2:
            s = sign_coefficient(dim, degree)
            rho = rho + math.exp(math.log(harmonics(dim, degree)) + 3 * math.log(abs(s))) * math.copysign(1, s) * now
        # (l + 2 a) P_(l+1) = 2 (l + a) t P_l - l P_(l-1)
        before, now = now, (2 * (degree + a) * t * now - degree * before) / (degree + 2 * a)
    return torch.as_tensor((1 + rho) / 2).to(alignment)


def optimal_head_weights(
    q: Float[Tensor, "heads d"], k: Float[Tensor, "heads d"]
) -> tuple[Float[Tensor, " heads"], float]:
    """The best scalar values of fixed heads of rank one, and the error that they leave.

    A weighted vote sum_h a_h sign_h is held against the target's sign: error 1 - 2 b a + a C a, with C the heads' and b
    their products with the target. The error of the vector that is output is half of that.

    Args:
        q: queries of length 1.
        k: keys of length 1.

    Returns:
        Weights C^-1 b, and the error, from 0 to 1.

    >>> weights, error = optimal_head_weights(torch.eye(4)[:1], torch.eye(4)[:1])
    >>> round(weights.item(), 3), round(error, 3)  # one head: rho = 2 * 0.6487 - 1, and 1 - rho^2
    (0.297, 0.912)
    """
    q, k = q.double(), k.double()
    gram = 2 * head_agreement(q[:, None], k[:, None], q, k) - 1
    right = 2 * head_accuracy(q.shape[1], (q * k).sum(1)) - 1
    weights = torch.linalg.lstsq(gram, right[:, None]).solution[:, 0]
    return weights, float(1 - 2 * right @ weights + weights @ gram @ weights)


def rank_lower_bound(dim: int, heads: int, rank: int) -> float:
    """Mean squared error that no layer of so many heads of so small a rank can go below, with scalar values.

    A head of rank r is invariant to rotations of d - r dimensions, so that it reaches at most binom(l + r - 1, r - 1)
    of the N_l harmonics of degree l. With Eckart and Young's theorem

        E |f - T|^2  >=  1/2 sum_{l odd} s_l^2 max(0, N_l - heads binom(l + r - 1, r - 1)).

    Args:
        dim: of the points, at least 3.
        heads: at least 0.
        rank: of each, from 1 on.

    Raises:
        ValueError: dim below 3, heads below 0 or rank below 1.

    Degree 1 is reached by d heads, degree 3 hardly:

    >>> [round(rank_lower_bound(d, d, 1), 4) for d in (8, 16, 32, 64)]
    [0.1567, 0.1704, 0.1764, 0.1791]
    """
    _checked(dim)
    if heads < 0 or rank < 1:
        raise ValueError(f"heads={heads}, rank={rank} given; at least 0 heads of rank at least 1 are needed.")
    if rank >= dim and heads:
        return 0.0
    reached = seen = share = 0.0
    for degree in range(1, DEGREES + 1, 2):
        size = harmonics(dim, degree)
        mass = math.exp(2 * math.log(abs(sign_coefficient(dim, degree))) + math.log(size))
        share = min(1.0, heads * math.comb(degree + rank - 1, rank - 1) / size)
        reached, seen = reached + mass * share, seen + mass
    # the share falls with the degree, so that all higher ones together are reached no more than the last
    return max(0.0, 1 - reached - share * (1 - seen)) / 2


def softmax_head_error(dim: int, beta: float | int) -> float:
    """E |f - T|^2 of one head of full rank whose query-key form is beta times the identity, for two orthonormal points.

    It is 2 E sigmoid(-beta sqrt 2 |u|)^2, u a coordinate of a uniform point of the sphere: about 1 / beta.

    Args:
        dim: of the points, at least 3.
        beta: inverse temperature, above 0.

    Raises:
        ValueError: dim below 3, or beta not above 0.

    >>> round(softmax_head_error(16, 100.0), 5)
    0.0083
    """
    _checked(dim)
    if not beta > 0:
        raise ValueError(f"beta={beta} given; it must be above 0.")
    width = min(1.0, 40 / beta)  # beyond it the sigmoid is below 1e-24
    nodes, weights = np.polynomial.legendre.leggauss(400)
    u: NDArray[np.float64] = width * (nodes + 1) / 2
    log_density = gammaln(dim / 2) - gammaln((dim - 1) / 2) - math.log(math.pi) / 2
    density = 2 * np.exp(log_density) * (1 - u * u) ** ((dim - 3) / 2)
    values = 1 / (1 + np.exp(beta * math.sqrt(2) * u)) ** 2
    return float(2 * (width / 2 * weights * density * values).sum())
