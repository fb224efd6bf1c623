"""Vectors of attributes and where each relation keeps them: binary digits in slices, or random ones, rotated."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vestige.core.rng import spawn


@dataclass(frozen=True, eq=False)
class Vectors:
    """What equation (1) is made of.

    Attributes:
        attributes: u_a, (n, size).
        maps: A_r, (relations, width, size), columns orthonormal.
        reach: B, no less than any coordinate of A_r^T e_s whatever the facts.
    """

    attributes: Tensor
    maps: Tensor
    reach: float

    def embeddings(self, facts: Tensor) -> Tensor:
        """sum_r A_r u_{g_r(s)}, (n, width)."""
        return torch.einsum("rws,nrs->nw", self.maps, self.attributes[facts])


def binary_vectors(n: int, relations: int) -> Vectors:
    """Signs of the digits of a: two differ in one coordinate at least, so that <u_a, u_b> <= <u_a, u_a> - 2."""
    size = max(1, (n - 1).bit_length())
    digits = torch.arange(n)[:, None] >> torch.arange(size) & 1
    maps = torch.eye(relations * size, dtype=torch.float64).reshape(relations * size, relations, size)
    return Vectors(2.0 * digits.double() - 1, maps.transpose(0, 1), 1.0)


def random_vectors(n: int, relations: int, dim: int, generator: torch.Generator | None) -> Vectors:
    """Random unit vectors and rotations; each score then has an interference of variance about (R - 1) / dim.

    Raises:
        ValueError: no dimension.
    """
    if dim < 1:
        raise ValueError(f"dim={dim} given; it must be at least 1.")
    draw = spawn(generator, "attributes")
    attributes = torch.randn(n, dim, generator=draw, dtype=torch.float64)
    maps = torch.linalg.qr(torch.randn(relations, dim, dim, generator=draw, dtype=torch.float64))[0]
    return Vectors(attributes / attributes.norm(dim=1, keepdim=True), maps, float(relations))
