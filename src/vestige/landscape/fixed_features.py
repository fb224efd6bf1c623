"""What fixed random features can do with one neuron: the exact best error over Gaussian inputs, and bounds below it.

For features f_i with Gram matrix K_ij = E f_i f_j and t_i = E f_i f*, the best combination has the error
E f*^2 - t^T K^+ t, without a sample. A ridge trades error for coefficients: u = (K + s)^-1 t. Two bounds from below
hold whatever is done: r functions span r dimensions, which for a target in a random direction leaves the smallest
shares of its energy; and u of error e has sum |u_i| |t_i| >= (E f*^2 - e) / 2. (arXiv 1904.00687; the bounds are ours.)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import eval_gegenbauer, roots_gegenbauer
from torch import Tensor

from vestige.core.cite import Paper, paper
from vestige.core.rng import spawn
from vestige.landscape.gaussian.population import STANDARD, Population, pair_values
from vestige.landscape.neurons import Neurons

PAPER = paper("1904.00687")
CUTOFF = 1e-10  # of the largest eigenvalue of K: below it, rounding
NODES, DEGREES = 600, 200


@dataclass(frozen=True, eq=False, kw_only=True)
class FeatureFit:
    """The best combination of features for a target, for each ridge.

    Attributes:
        ridges: added to the eigenvalues of K; 0 for the best error.
        error: E (sum u_i f_i - f*)^2 of each.
        energy: E f*^2.
        coefficients: u of each.
        size: r max |u_i| of each.
        least_size: no combination with this error has less, since sum |u_i| |t_i| >= (energy - error) / 2.
        rank: of K, numerically.
        source: the paper.
    """

    ridges: tuple[float, ...]
    error: Float[Tensor, " ridges"]
    energy: float
    coefficients: Float[Tensor, "ridges r"]
    size: Float[Tensor, " ridges"]
    least_size: Float[Tensor, " ridges"]
    rank: int
    source: tuple[Paper, ...] = (PAPER,)

    @property
    def relative(self) -> Tensor:
        """Error over energy."""
        return self.error / self.energy


def random_features(
    r: int, dimension: int, *, bias_radius: float = 0.0, generator: torch.Generator | None = None
) -> Neurons:
    """Neurons with uniform unit weights, and biases uniform in [-radius, radius] where there are any.

    Args:
        r: features.
        dimension: of the inputs.
        bias_radius: 0 for none.
        generator: None for seed 0.

    Raises:
        ValueError: numbers below 1 or a negative radius.

    >>> random_features(3, 2).weight.norm(dim=1).sum().round()
    tensor(3., dtype=torch.float64)
    """
    if r < 1 or dimension < 1 or not 0 <= bias_radius < math.inf:
        raise ValueError(
            f"{r} features of {dimension} dimensions, bias_radius={bias_radius} given; need >= 1 and >= 0."
        )
    draw = spawn(generator, "features", str(r), str(dimension))
    weight = torch.randn(r, dimension, generator=draw, dtype=torch.float64)
    bias = bias_radius * (2 * torch.rand(r, generator=draw, dtype=torch.float64) - 1)
    return Neurons(weight / weight.norm(dim=1, keepdim=True), bias if bias_radius else None)


def fit_features(
    features: Neurons, target: Neurons, population: Population = STANDARD, *, ridges: Sequence[float] = (0.0,)
) -> FeatureFit:
    """The best that a combination of fixed features does over the population, exactly.

    Args:
        features: neurons, whose output weights are not used.
        target: a network; one neuron for the paper's.
        population: law of the inputs, activation.
        ridges: penalties on |u|^2, which trade the error for small coefficients.

    Raises:
        ValueError: a negative ridge, a target that is 0, or as `population_loss`.

    >>> one = Neurons(torch.eye(2)[:1])
    >>> found = fit_features(Neurons(torch.tensor([[2.0, 0.0]])), one)
    >>> round(float(found.error), 12) == 0, round(float(found.coefficients), 6)
    (True, 0.5)
    """
    if not all(ridge >= 0 for ridge in ridges):
        raise ValueError(f"ridges={list(ridges)} given; they must not be negative.")
    plain, beta = Neurons(features.weight, features.bias), target.outputs.double()
    k = pair_values(plain, plain, population)
    t = pair_values(plain, target, population) @ beta
    energy = float(beta @ pair_values(target, target, population) @ beta)
    if not energy > 0:
        raise ValueError("A target that is 0 on all inputs given; it is fitted by nothing at all.")
    values, vectors = torch.linalg.eigh((k + k.mT) / 2)
    kept = values > CUTOFF * values[-1]
    along, levels = vectors[:, kept].mT @ t, values[kept]
    u = torch.stack([vectors[:, kept] @ (along / (levels + s)) for s in ridges])
    error = torch.stack([energy - (along.square() * (levels + 2 * s) / (levels + s).square()).sum() for s in ridges])
    return FeatureFit(
        ridges=tuple(map(float, ridges)),
        error=error.clamp_min(0.0),
        energy=energy,
        coefficients=u,
        size=len(t) * u.abs().amax(1),
        least_size=len(t) * (energy - error).clamp_min(0.0) / (2 * t.abs().sum()),
        rank=int(kept.sum()),
    )


def random_feature_bound(dimension: int, r: int) -> float:
    """What no r functions do better: E (best combination - relu(w.x))^2 / E relu(w.x)^2, on average over unit w.

    relu(w.x) = |x| sum_l a_l(w, x / |x|) in spherical harmonics; each of the N(d, l) harmonics of degree l carries the
    same share e_l / N(d, l) of the energy, and r functions, of any kind, take at most the r largest shares. So some w
    is not fitted better; and if the law of the features does not prefer a direction, none is, in expectation.

    Args:
        dimension: d of the Gaussian inputs, at least 3.
        r: functions.

    Raises:
        ValueError: d below 3 or a negative r.

    Source: as Theorem 4.1, with another bound, derived here.

    >>> round(random_feature_bound(50, 0), 6), round(random_feature_bound(50, 51), 2)  # all; all but degrees 0 and 1
    (1.0, 0.18)
    """
    if dimension < 3 or r < 0:
        raise ValueError(f"dimension={dimension}, r={r} given; needed are at least 3 and 0.")
    energy, count = harmonic_energies(dimension)
    share = np.divide(energy, count)
    left = 1.0
    room = float(r)
    for degree in np.argsort(-share):
        taken = min(room, float(count[degree]))
        left -= taken * float(share[degree])
        room -= taken
    return max(0.0, left)


def harmonic_energies(dimension: int) -> tuple[np.ndarray, np.ndarray]:
    """Shares of the energy of relu(w.x) in each degree, the even ones and 0 and 1, and how many harmonics there are."""
    order = (dimension - 2) / 2
    nodes, weights = roots_gegenbauer(NODES, order)
    angle = np.arccos(nodes)
    kernel = (np.sin(angle) + (math.pi - angle) * nodes) / math.pi  # 1 at angle 0
    energies, counts = [], []
    for degree in (0, 1, *range(2, DEGREES, 2)):
        count = math.comb(degree + dimension - 1, degree)
        count -= math.comb(degree + dimension - 3, degree - 2) if degree > 1 else 0
        legendre = eval_gegenbauer(degree, order, nodes) / eval_gegenbauer(degree, order, 1.0)
        mean = float(weights @ (kernel * legendre)) / float(weights.sum())
        energies.append(count * max(mean, 0.0))
        counts.append(float(count))
    return np.asarray(energies), np.asarray(counts)


def periodic_relu_sum(a: int, direction: Float[Tensor, " d"]) -> Neurons:
    """The triangle wave psi(w.x) on [-a, a] of period 2, 0 outside, as 2a + 1 ReLUs: one of them must be hard.

    psi(z) = relu(z + a) + 2 sum_j (-1)^j relu(z + a - j) + relu(z - a) over j = 1, ..., 2a - 1.

    Args:
        a: half of the number of teeth, at least 1.
        direction: w.

    Raises:
        ValueError: a below 1.

    >>> wave = periodic_relu_sum(2, torch.ones(1))
    >>> x = torch.tensor([[-3.0], [-2.0], [-1.0], [0.0], [0.5], [1.0], [2.0], [9.0]])
    >>> (torch.relu(x @ wave.weight.T + wave.bias) @ wave.output).tolist()
    [0.0, 0.0, 1.0, 0.0, 0.5, 1.0, 0.0, 0.0]
    """
    if a < 1:
        raise ValueError(f"a={a} given; at least 1 is needed.")
    j = torch.arange(2 * a + 1, dtype=direction.dtype)
    output = 2 * (1 - 2 * (j % 2))
    output[0] = output[-1] = 1
    return Neurons(direction.expand(2 * a + 1, -1).clone(), a - j, output)
