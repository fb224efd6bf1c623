"""Laws of the inputs: the population loss of one ReLU neuron that imitates another, and its gradient.

Gaussian inputs have closed forms. A spherically symmetric law is integrated in the plane of the two neurons, where its
marginal is known; a sample is its own law. Students are `Neurons` of shape (runs, 1, d), one neuron a run.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from scipy.special import roots_jacobi
from torch import Tensor

from vestige.landscape.gaussian.population import population_gradient, population_loss
from vestige.landscape.neurons import Neurons

RADII, ANGLES = 80, 160  # nodes of the plane; losses are right to about 1e-4 of their size then


@dataclass(frozen=True)
class GaussianInputs:
    """x ~ N(0, I)."""

    dimension: int
    reach: float = math.inf
    symmetric: bool = True
    slack: float = 1e-10  # relative error of a loss

    def loss(self, student: Neurons, teacher: Neurons) -> Float[Tensor, " runs"]:
        """Closed form."""
        return population_loss(student, teacher)

    def gradient(self, student: Neurons, teacher: Neurons) -> Neurons:
        """Closed form."""
        return population_gradient(student, teacher)


@dataclass(frozen=True)
class RadialInputs:
    """x uniform in the ball of radius `reach`, or on its sphere."""

    dimension: int
    reach: float = 1.0
    on_sphere: bool = False
    symmetric: bool = True
    slack: float = 1e-2

    def __post_init__(self):
        least = 3 if self.on_sphere else 2
        if not (self.dimension >= least and 0 < self.reach < math.inf):
            raise ValueError(
                f"dimension={self.dimension}, reach={self.reach} given; at least {least} dimensions and a positive "
                "radius are needed."
            )

    @cached_property
    def nodes(self) -> tuple[Tensor, Tensor]:
        """Points (m, 2) of any plane, and their weights.

        The marginal's density is (1 - |z|^2 / r^2)^power up to a factor, which Gauss-Jacobi quadrature in |z|^2 has as
        its weight.
        """
        power = (self.dimension - 4) / 2 if self.on_sphere else (self.dimension - 2) / 2
        t, share = roots_jacobi(RADII, power, 0.0)
        radius = self.reach * torch.from_numpy((1 + t) / 2).sqrt()
        angle = 2 * math.pi * (torch.arange(ANGLES, dtype=torch.float64) + 0.5) / ANGLES
        points = radius[:, None, None] * torch.stack([angle.cos(), angle.sin()], -1)
        weights = torch.from_numpy(share / share.sum())[:, None].expand(-1, ANGLES) / ANGLES
        return points.reshape(-1, 2), weights.reshape(-1)

    def loss(self, student: Neurons, teacher: Neurons) -> Float[Tensor, " runs"]:
        """By quadrature in the plane of the two neurons."""
        plane = _plane(student, teacher)
        _, weights = self.nodes
        s, t = _pre_activations(plane, self.nodes[0])
        return ((s.clamp_min(0) - t.clamp_min(0)).square() * weights).sum(-1) / 2

    def gradient(self, student: Neurons, teacher: Neurons) -> Neurons:
        """E 1{s > 0} (s - t+) (x, 1), likewise."""
        plane, (points, weights) = _plane(student, teacher), self.nodes
        s, t = _pre_activations(plane, points)
        pull = (s > 0) * (s - t.clamp_min(0)) * weights
        flat = pull @ points
        weight = flat[:, :1] * plane.along + flat[:, 1:] * plane.across
        bias = None if student.bias is None else pull.sum(-1, keepdim=True)
        return Neurons(weight[:, None], bias)


@dataclass(frozen=True, eq=False)
class SampledInputs:
    """The empirical law of a sample, or any law on finitely many points."""

    x: Float[Tensor, "m d"]
    symmetric: bool = False
    slack: float = 1e-12

    def __post_init__(self):
        if not (len(self.x) and bool(self.x.isfinite().all())):
            raise ValueError("A sample without points, or with values that are NaN or infinite, is no law of inputs.")

    @property
    def dimension(self) -> int:
        """Number of inputs."""
        return self.x.shape[1]

    @property
    def reach(self) -> float:
        """Largest length."""
        return float(self.x.norm(dim=1).max())

    def _activations(self, student: Neurons, teacher: Neurons) -> tuple[Tensor, Tensor]:
        x = self.x.double()

        def output(s: Neurons) -> Tensor:
            z = s.double().weight[..., 0, :] @ x.mT
            return z if s.bias is None else z + s.double().bias  # type: ignore[operator]

        return output(student), output(teacher)

    def loss(self, student: Neurons, teacher: Neurons) -> Float[Tensor, " runs"]:
        """The mean over the sample."""
        s, t = self._activations(student, teacher)
        return (s.clamp_min(0) - t.clamp_min(0)).square().mean(-1) / 2

    def gradient(self, student: Neurons, teacher: Neurons) -> Neurons:
        """The mean over the sample; a neuron that is 0 at a point has no gradient there."""
        s, t = self._activations(student, teacher)
        pull = (s > 0) * (s - t.clamp_min(0)) / len(self.x)
        bias = None if student.bias is None else pull.sum(-1, keepdim=True)
        return Neurons((pull @ self.x.double())[:, None], bias)


InputLaw = GaussianInputs | RadialInputs | SampledInputs


@dataclass(frozen=True)
class _Plane:
    """Student (p, q, b) and teacher (size, 0, c) in the plane of both, with its directions in the space of inputs."""

    p: Tensor
    q: Tensor
    b: Tensor
    size: Tensor
    c: Tensor
    along: Tensor
    across: Tensor


def _plane(student: Neurons, teacher: Neurons) -> _Plane:
    student, teacher = student.double(), teacher.double()
    w, v = student.weight[:, 0], teacher.weight[0]
    size = v.norm()
    along = v / size
    p = w @ along
    rest = w - p[:, None] * along
    q = rest.norm(dim=1)
    zero = torch.zeros_like(p)
    return _Plane(
        p=p,
        q=q,
        b=zero if student.bias is None else student.bias[:, 0],
        size=size,
        c=torch.zeros((), dtype=torch.float64) if teacher.bias is None else teacher.bias[0],
        along=along,
        across=torch.where(q[:, None] > 0, rest / q[:, None].clamp_min(1e-300), 0.0),
    )


def _pre_activations(plane: _Plane, points: Tensor) -> tuple[Tensor, Tensor]:
    s = torch.stack([plane.p, plane.q], 1) @ points.mT + plane.b[:, None]
    return s, plane.size * points[:, 0] + plane.c


def as_runs(student: Neurons) -> Neurons:
    """(runs, d) weights with (runs,) biases as (runs, 1, d) and (runs, 1), in float64.

    Raises:
        ValueError: there are output weights.
    """
    if student.output is not None:
        raise ValueError("A neuron with an output weight given; a single neuron has none.")
    student = student.double()
    if student.weight.ndim == 3:
        return student
    return Neurons(student.weight[:, None], None if student.bias is None else student.bias[:, None])
