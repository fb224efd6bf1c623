"""Kernels k(z, x) as small values, with the parameters of scikit-learn (arXiv 2505.19019 section 4 and its code).

A kernel is of exponential type where k(z, x) = a(z) exp(rate z.x) b(x): then the scores of a kernel machine are sums of
exponentials in disguise, and its points can be computed instead of searched for (`kernels.matrix_pencil`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vestige.core.rng import spawn

Queries = Float[Tensor, "m d"]
Points = Float[Tensor, "n d"]
KernelMatrix = Float[Tensor, "m n"]


def _positive(kernel: object, **given: float | int) -> None:
    for name, value in given.items():
        if not (value > 0 and math.isfinite(value)):
            raise ValueError(f"{type(kernel).__name__}({name}={value}) given; {name} must be positive and finite.")


@dataclass(frozen=True)
class Gaussian:
    """exp(-gamma |z - x|^2), scikit-learn's "rbf"; gamma None stands for unknown, to be found from queries.

    >>> round(Gaussian(0.5)(torch.zeros(1, 1), torch.ones(1, 1)).item(), 5) == round(math.exp(-0.5), 5)
    True
    """

    gamma: float | None = None

    def __post_init__(self):
        if self.gamma is not None:
            _positive(self, gamma=self.gamma)

    @property
    def rate(self) -> float:
        """Of z.x in the exponent."""
        return 2 * self._known()

    @property
    def decay(self) -> float:
        """Of -|z|^2 in the exponent."""
        return self._known()

    def _known(self) -> float:
        if self.gamma is None:
            raise ValueError("Gaussian() given where its gamma must be known; give Gaussian(gamma).")
        return self.gamma

    def __call__(self, z: Queries, x: Points) -> KernelMatrix:
        """The matrix k(z_i, x_j)."""
        return torch.exp(-self._known() * squared_distances(z, x))


@dataclass(frozen=True)
class Exponential:
    """exp(gamma z.x), the kernel of dot products whose normalized form is the Gaussian."""

    gamma: float = 1.0

    def __post_init__(self):
        _positive(self, gamma=self.gamma)

    @property
    def rate(self) -> float:
        """Of z.x in the exponent."""
        return self.gamma

    @property
    def decay(self) -> float:
        """Of -|z|^2 in the exponent."""
        return 0.0

    def __call__(self, z: Queries, x: Points) -> KernelMatrix:
        """The matrix k(z_i, x_j)."""
        return torch.exp(self.gamma * z @ x.T)


@dataclass(frozen=True)
class Laplace:
    """exp(-gamma |z - x|), Euclidean norm, as the paper has it; scikit-learn's "laplacian" takes the l_1 norm."""

    gamma: float
    norm: int = 2

    def __post_init__(self):
        _positive(self, gamma=self.gamma)
        if self.norm not in (1, 2):
            raise ValueError(f"Laplace(norm={self.norm}) given; allowed are 1 (scikit-learn's) and 2 (the paper's).")

    def __call__(self, z: Queries, x: Points) -> KernelMatrix:
        """The matrix k(z_i, x_j)."""
        if self.norm == 1:
            return torch.exp(-self.gamma * torch.cdist(z, x, p=1.0))
        # The smallest offset keeps the derivative of the root finite where z = x.
        return torch.exp(-self.gamma * (squared_distances(z, x) + 1e-24).sqrt())


@dataclass(frozen=True)
class Polynomial:
    """(coef0 + gamma z.x)^degree.

    >>> Polynomial(1.0)(torch.ones(1, 2), torch.ones(1, 2)).item()
    27.0
    """

    gamma: float
    coef0: float | int = 1.0
    degree: int = 3

    def __post_init__(self):
        _positive(self, gamma=self.gamma, degree=self.degree)

    def __call__(self, z: Queries, x: Points) -> KernelMatrix:
        """The matrix k(z_i, x_j)."""
        return (self.coef0 + self.gamma * z @ x.T) ** self.degree


@dataclass(frozen=True)
class ReLUTangent:
    """The kernel of an infinitely wide ReLU network of `layers` layers: of its training (NTK) or of its outputs (GPK).

    With u the cosine of z and x, kappa0(u) = (pi - acos u) / pi and kappa1(u) = (u (pi - acos u) + sqrt(1 - u^2)) / pi:
    gpk <- kappa1(gpk), ntk <- ntk kappa0(gpk_before) + gpk, from gpk = ntk = u, `layers` - 1 times. The NTK is divided
    by `layers`, and both are multiplied by |z| |x|, so that k(x, x) = |x|^2.

    >>> ReLUTangent(3)(torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, 4.0]])).item()
    25.0
    """

    layers: int = 3
    tangent: bool = True

    def __post_init__(self):
        _positive(self, layers=self.layers)

    def __call__(self, z: Queries, x: Points) -> KernelMatrix:
        """The matrix k(z_i, x_j)."""
        length = z.norm(dim=1)[:, None] * x.norm(dim=1)
        gpk = z @ x.T / length.clamp(min=1e-300)
        ntk = gpk
        for _ in range(self.layers - 1):
            before, gpk = gpk, kappa1(gpk)
            ntk = ntk * kappa0(before) + gpk
        return length * (ntk / self.layers if self.tangent else gpk)


def kappa0(u: Tensor) -> Tensor:
    """Share of directions in which two vectors with cosine u have the same sign: 0, 1/2, 1 at -1, 0, 1."""
    return (math.pi - torch.acos(_inside(u))) / math.pi


def kappa1(u: Tensor) -> Tensor:
    """Twice the mean product of ReLUs of two unit vectors with cosine u: 0, 1/pi, 1 at -1, 0, 1."""
    inner = _inside(u)
    return (inner * (math.pi - torch.acos(inner)) + (1 - inner.square()).clamp(min=0).sqrt()) / math.pi


def _inside(u: Tensor) -> Tensor:
    """In [-1, 1] in spite of rounding; away from +-1, where the derivative of acos is infinite, if it is wanted."""
    end = 1 - 1e-15 * u.requires_grad
    return u.clamp(-end, end)


@dataclass(frozen=True, eq=False)
class RandomFeatureKernel:
    """phi(z).phi(x) with phi(z) = sqrt(2 / D) cos(W z + b): Rahimi and Recht's approximation of a Gaussian kernel.

    Attributes:
        weights: W, (D, d); of N(0, 2 gamma) entries for exp(-gamma |z - x|^2).
        phases: b, (D,); uniform in [0, 2 pi).
    """

    weights: Float[Tensor, "features d"]
    phases: Float[Tensor, " features"]

    @classmethod
    def draw(
        cls, gamma: float, d: int, features: int, *, generator: torch.Generator | None = None
    ) -> "RandomFeatureKernel":
        """Features of a Gaussian kernel over d numbers; the same generator, or none, gives the same ones.

        Raises:
            ValueError: a gamma that is not positive and finite.
        """
        if not 0 < gamma < math.inf:
            raise ValueError(f"gamma={gamma} given; gamma must be positive and finite.")
        source = spawn(generator, "random features")
        weights = torch.randn(features, d, generator=source, dtype=torch.float64) * (2 * gamma) ** 0.5
        return cls(weights, 2 * math.pi * torch.rand(features, generator=source, dtype=torch.float64))

    def features(self, x: Queries) -> Float[Tensor, "m features"]:
        """phi(x)."""
        return (2 / len(self.phases)) ** 0.5 * torch.cos(x @ self.weights.T + self.phases)

    def __call__(self, z: Queries, x: Points) -> KernelMatrix:
        """The matrix k(z_i, x_j)."""
        return self.features(z) @ self.features(x).T


Kernel = Gaussian | Exponential | Laplace | Polynomial | ReLUTangent | RandomFeatureKernel
_NAMED: dict[str, Callable[..., Kernel]] = {
    "rbf": Gaussian,
    "gaussian": Gaussian,
    "exponential": Exponential,
    "laplace-l2": Laplace,
    "laplace-l1": lambda gamma: Laplace(gamma, norm=1),
    "poly": Polynomial,
    "polynomial": Polynomial,
    "ntk": ReLUTangent,
    "gpk": lambda layers=3: ReLUTangent(layers, tangent=False),
}


def squared_distances(z: Queries, x: Points) -> KernelMatrix:
    """|z_i - x_j|^2, never below zero."""
    return (z.square().sum(1)[:, None] + x.square().sum(1) - 2 * z @ x.T).clamp(min=0)


def parse_kernel(text: str) -> Kernel:
    """A kernel from its name and parameters, with scikit-learn's names.

    Args:
        text: such as "rbf:gamma=0.003", "rbf" (gamma from queries), "laplace-l2:gamma=0.15" (Euclidean distance),
            "laplace-l1:gamma=0.15" (scikit-learn's "laplacian"), "poly:gamma=0.01,coef0=1,degree=3", "ntk:layers=3",
            "exponential:gamma=0.1".

    Raises:
        ValueError: an unknown name or parameter.

    >>> parse_kernel("poly:gamma=0.5,degree=2")
    Polynomial(gamma=0.5, coef0=1.0, degree=2)
    """
    name, _, rest = text.strip().partition(":")
    if name in ("laplace", "laplacian"):
        raise ValueError(
            f"the kernel {text!r} given; say its norm: laplace-l2 for the Euclidean distance, laplace-l1 for "
            "scikit-learn's laplacian."
        )
    if name not in _NAMED:
        raise ValueError(f"the kernel {text!r} given; allowed are {', '.join(_NAMED)}, such as rbf:gamma=0.003.")
    try:
        pairs = [part.split("=") for part in rest.split(",") if part.strip()]
        given = {key.strip(): float(value) for key, value in pairs}
        whole = {"degree", "layers", "norm"}
        return _NAMED[name](**{key: int(v) if key in whole and v == int(v) else v for key, v in given.items()})
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"the kernel {text!r} could not be read ({error}); write it as rbf:gamma=0.003.") from error
