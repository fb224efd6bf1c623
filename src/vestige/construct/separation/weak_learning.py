"""How much of a target is visible to shallow networks, to kernels, and to the gradient at the start (arXiv 2102.00434).

A class that gradient descent with noisy gradients learns is weakly approximated by kernels, so that a target of which
nothing is visible is not learned. With functions f_1..f_m, M_ij = E f_i f_j and the largest eigenvalue lam of M
(derived):

- Sum_i <f_i, p>^2 <= lam |p|^2 for every function p. Hence mean_i gamma_i^2 <= B^2 lam / m for the best correlations
  gamma_i of predictors of norm at most B over features with E |psi|^2 <= 1, and mean_i |E f_i grad N|^2 <= lam / m E
  |grad N|^2. For all 2^n parities M is the identity and the second is an equality, by Parseval.
- Of functions with |M_ij| <= 1/m, m of them, lam is at most 2.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from vestige.core.rng import spawn

SINGULAR = 1e-10  # relative eigenvalue below which a direction is rounding
GRADIENT_ROWS = 1024


def projection_advantage(gram: Float[Tensor, "r r"], moments: Float[Tensor, " r"], energy: float = 1.0) -> float:
    """Largest correlation with f of any combination of features: sqrt(t' K^+ t / E f^2).

    Args:
        gram: K_ij = E psi_i psi_j.
        moments: t_i = E psi_i f.
        energy: E f^2.

    >>> projection_advantage(torch.eye(2), torch.tensor([0.6, 0.0]))  # f has .6 of its size along the first feature
    0.6...
    """
    value, vector = torch.linalg.eigh(gram.double())
    stable = value > SINGULAR * value.abs().max()
    seen = ((vector.T @ moments.double())[stable].square() / value[stable]).sum()
    return float((seen / energy).clamp(min=0.0).sqrt())


@dataclass(frozen=True)
class KernelAdvantage:
    """Correlation with the target of kernel ridge regression on samples that it has not seen, and the alignment.

    Attributes:
        correlation: E[f h] / sqrt(E f^2 E h^2) on held-out samples.
        standard_error: of it under no correlation.
        alignment: E f(x) K(x, x') f(x') / E K(x, x), over pairs of different samples: unbiased.
        alignment_biased: the same over all pairs, which is larger by about 1/n.
    """

    correlation: float
    standard_error: float
    alignment: float
    alignment_biased: float


def kernel_advantage(
    kernel: Callable[[Tensor, Tensor], Tensor],
    x: Float[Tensor, "n d"],
    f: Float[Tensor, " n"],
    *,
    ridge: float = 1e-3,
    generator: torch.Generator | None = None,
) -> KernelAdvantage:
    """What a kernel sees of a target, on one half of the samples after fitting the other.

    Args:
        kernel: (a, d) and (b, d) to (a, b).
        x: independent samples.
        f: the target there.
        ridge: relative to the mean of K(x, x).
        generator: splits the samples.

    Raises:
        ValueError: fewer than four samples, or a target that is constantly 0.
    """
    if len(x) < 4 or not bool(f.any()):
        raise ValueError(f"{len(x)} samples given; at least 4 are needed, and a target that is not 0 on all of them.")
    order = torch.randperm(len(x), generator=spawn(generator, "kernel_advantage"))
    fit, held = order[: len(x) // 2], order[len(x) // 2 :]
    gram, size = kernel(x[fit], x[fit]).double(), f.double().square().mean()
    weight = torch.linalg.solve(gram + ridge * gram.diagonal().mean() * torch.eye(len(fit)).to(gram), f[fit].double())
    h, goal = kernel(x[held], x[fit]).double() @ weight, f[held].double()
    correlation = (goal * h).mean() / (goal.square().mean() * h.square().mean()).sqrt().clamp(min=1e-300)
    terms = f[fit].double()[:, None] * gram * f[fit].double()
    trace, n = gram.diagonal().mean() * size, len(fit)
    apart = (terms.sum() - terms.diagonal().sum()) / (n * (n - 1))
    return KernelAdvantage(float(correlation), len(held) ** -0.5, float(apart / trace), float(terms.mean() / trace))


def arc_cosine_kernel(x: Float[Tensor, "a d"], z: Float[Tensor, "b d"]) -> Float[Tensor, "a b"]:
    """E relu(<w, (x, 1)>) relu(<w, (z, 1)>) for w ~ N(0, I): the kernel of random ReLU features with biases."""
    x, z = (torch.cat([t, t.new_ones(len(t), 1)], dim=1) for t in (x, z))
    size = x.norm(dim=1)[:, None] * z.norm(dim=1)
    cosine = ((x @ z.T) / size).clamp(-1, 1)
    angle = torch.arccos(cosine)
    return size * (torch.sin(angle) + (torch.pi - angle) * cosine) / (2 * torch.pi)


def gram_bound(values: Float[Tensor, "m n"]) -> float:
    """lam_max(M) / m for m functions by their values at n points: what one function can see of all of them together.

    >>> gram_bound(torch.eye(4, dtype=torch.float64) * 2)  # orthonormal functions
    0.25
    """
    return float(torch.linalg.matrix_norm(values.double(), 2).square()) / values.numel()


@dataclass(frozen=True)
class GradientVariance:
    """mean_i |E f_i grad N|^2, the bound on it, E |grad N|^2, and steps that noisy descent needs at least.

    `steps(t)`: with gradients known to a tolerance t, most members of the class look alike for that many steps.
    """

    signal: float
    bound: float
    energy: float

    def steps(self, tolerance: float) -> float:
        """tolerance^2 / bound, at least 1."""
        return max(1.0, tolerance**2 / self.bound)


def gradient_variance(model: nn.Module, x: Float[Tensor, "n d"], values: Float[Tensor, "m n"]) -> GradientVariance:
    """How much the gradient at these weights tells the functions of a class apart.

    Args:
        model: with one output.
        x: inputs, each as likely as another: a whole cube, or samples.
        values: of each function of the class at the inputs.
    """
    rows = per_sample_gradients(model, x)
    seen = values.to(rows) @ rows / len(x)
    energy = float(rows.square().sum(1).mean())
    return GradientVariance(float(seen.square().sum(1).mean()), gram_bound(values) * energy, energy)


def per_sample_gradients(model: nn.Module, x: Float[Tensor, "n d"]) -> Float[Tensor, "n p"]:
    """d N(x_i) / d theta in float64, one row a sample."""
    parameters = {name: p.detach().double() for name, p in model.named_parameters()}
    with torch.no_grad():
        outputs = functional_call(model, parameters, (x[:1].double(),)).numel()
    if outputs != 1:
        raise ValueError(f"the model has {outputs} outputs; the signal of a target is defined for one")

    def output(theta: dict[str, Tensor], point: Tensor) -> Tensor:
        return functional_call(model, theta, (point[None],)).sum()

    each = vmap(grad(output), in_dims=(None, 0))
    parts = [each(parameters, part) for part in x.double().split(GRADIENT_ROWS)]
    return torch.cat([torch.cat([g.flatten(1) for g in part.values()], dim=1) for part in parts])


def sq_dimension_lower_bound(values: Float[Tensor, "m n"]) -> Int[Tensor, " k"]:
    """Functions of a class that are nearly orthogonal: k of them with |correlation| <= 1/k.

    Greedy, so that k is a lower bound on the statistical-query dimension of the class.

    Args:
        values: of each function at points that are equally likely; correlations are normalized.

    Returns:
        Indices of the k functions.
    """
    unit = values.double() / values.double().norm(dim=1, keepdim=True).clamp(min=1e-300)
    overlap = (unit @ unit.T).abs()
    best, low, high = _apart(overlap, 1.0)[:1], 1, len(values)
    while low < high:  # any k that is found is one, whether or not larger ones are
        middle = (low + high + 1) // 2
        chosen = _apart(overlap, 1 / middle)
        if len(chosen) >= middle:
            best, low = chosen[:middle], middle
        else:
            high = middle - 1
    return best


def _apart(overlap: Tensor, most: float) -> Tensor:
    """Indices chosen in order, each apart from all before it."""
    free, chosen = torch.ones(len(overlap), dtype=torch.bool), []
    for index in range(len(overlap)):
        if free[index]:
            chosen.append(index)
            free &= overlap[index] <= most + 1e-12
    return torch.tensor(chosen)
