"""Around a minimum: does the gradient point away from it, and is the loss convex there?

A network with more neurons than its teacher has points of negative curvature arbitrarily near its global minima, and
along the worst direction the gradient says almost nothing of the way back; along most it does (arXiv 2006.01005).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vestige.core.cite import Paper
from vestige.core.rng import spawn
from vestige.landscape.gaussian.population import population_gradient, population_hessian, population_loss
from vestige.landscape.neurons import Neurons
from vestige.landscape.teacher_student.certify import PAPERS


@dataclass(frozen=True, eq=False, kw_only=True)
class OnePointConvexity:
    """Ratios at W* + r u for directions u of length 1, one row a radius.

    Attributes:
        radii: r.
        ratio: <grad F, r u> / r^2; above 0 the gradient points away from the minimum.
        gradient_dominance: |grad F|^2 / (F - F*); above 0 a step down the gradient gains in proportion.
        negative_curvature: share of the points whose Hessian has a negative eigenvalue.
        source: the papers.
    """

    radii: tuple[float, ...]
    ratio: Float[Tensor, "radii directions"]
    gradient_dominance: Float[Tensor, "radii directions"]
    negative_curvature: Float[Tensor, " radii"]
    source: tuple[Paper, ...] = PAPERS

    @property
    def worst(self) -> Float[Tensor, " radii"]:
        """The smallest ratio at each radius."""
        return self.ratio.amin(1)


def one_point_convexity(
    minimum: Neurons,
    teacher: Neurons,
    *,
    radii: Sequence[float] = (0.1, 0.01, 0.001),
    directions: int | Float[Tensor, "m n d"] = 300,
    generator: torch.Generator | None = None,
) -> OnePointConvexity:
    """Measure one-point convexity along directions; a sample of them proves nothing about the others.

    Args:
        minimum: a minimum W* of the loss.
        teacher: what it imitates.
        radii: distances from it, positive.
        directions: how many are drawn at random, or the directions themselves, which are normalized.
        generator: of the directions; None for seed 0.

    Raises:
        ValueError: radii or a number of directions that are not positive, or what `population_loss` refuses.
    """
    weight = minimum.double().weight
    if isinstance(directions, int):
        if directions < 1:
            raise ValueError(f"directions={directions} given; at least 1 is needed.")
        draw = spawn(generator, "directions")
        directions = torch.randn(directions, *weight.shape, generator=draw, dtype=torch.float64)
    if not radii or not min(radii) > 0:
        raise ValueError(f"radii={list(radii)} given; they must be positive.")
    units = directions.double() / directions.double().flatten(1).norm(dim=1)[:, None, None]
    base = population_loss(minimum, teacher)
    rows = [_at(weight, base, radius, units, teacher) for radius in radii]
    ratio, dominance, bent = (torch.stack(part) for part in zip(*rows, strict=True))
    return OnePointConvexity(radii=tuple(radii), ratio=ratio, gradient_dominance=dominance, negative_curvature=bent)


def _at(weight: Tensor, base: Tensor, radius: float, units: Tensor, teacher: Neurons) -> tuple[Tensor, Tensor, Tensor]:
    student = Neurons(weight + radius * units)
    slope = population_gradient(student, teacher).weight
    ratio = (slope * units).sum((1, 2)) / radius
    dominance = slope.square().sum((1, 2)) / (population_loss(student, teacher) - base)
    lowest = [torch.linalg.eigvalsh(population_hessian(Neurons(w), teacher))[0] for w in student.weight]
    return ratio, dominance, (torch.stack(lowest) < 0).double().mean()
