"""Finite groups that act on inputs: rotations, cyclic shifts, permutations of a set's elements (arXiv 2411.16458).

A group is a small frozen value. It acts on batches (n, *shape) by permuting entries, so that norms are kept. Orbits
are enumerated where they are small; of permutations, which are k!, only what can be computed without them is.
"""

import math
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from torch import Tensor

Batch = Float[Tensor, "n ..."]
GROUP_HELP = "c4, d4, shifts:STRIDE (such as shifts:2) and set:SIZE (such as set:4) are known"
_TEXT = re.compile(r"(c4|d4)|shifts:([1-9]\d{0,3})|set:([1-9]\d{0,3})")


class Group(ABC):
    """A finite group acting on inputs of a shape that it fits.

    What differs between groups is below; everything is linear in x, and `orbit` begins with x itself.
    """

    @abstractmethod
    def __str__(self) -> str:
        """The text that `parse_group` reads."""

    @abstractmethod
    def misfit(self, shape: tuple[int, ...]) -> str | None:
        """Why the group does not act on inputs of this shape; None where it does."""

    @abstractmethod
    def order(self, shape: tuple[int, ...]) -> int:
        """How many elements it has on inputs of this shape."""

    @abstractmethod
    def orbit(self, x: Batch) -> Float[Tensor, "n g ..."]:
        """g x for every g."""

    def views(self, x: Batch) -> Float[Tensor, "n t ..."]:
        """Linear pieces of x that every g permutes, whatever a network makes of each: here the orbit."""
        return self.orbit(x)

    def project(self, x: Batch) -> Batch:
        """P_G x = mean over g of g x, the part of x that the group leaves alone."""
        return self.orbit(x).mean(1)

    def draw(self, x: Batch, generator: torch.Generator) -> Batch:
        """g x for one random g."""
        orbit = self.orbit(x)
        return orbit[:, int(torch.randint(orbit.shape[1], (1,), generator=generator))]

    def products(self, a: Float[Tensor, "na ..."], b: Float[Tensor, "nb ..."]) -> Float[Tensor, "na nb"]:
        """max over g of <a_i, g b_j>."""
        flat = a.flatten(1)
        best = [flat @ moved.flatten(1).T for moved in self.orbit(b).unbind(1)]
        return torch.stack(best).amax(0)

    def align(self, x: Batch, target: Batch) -> Batch:
        """g_i x_i with g_i the element that brings x_i nearest to target_i."""
        orbit = self.orbit(x)
        best = (orbit.flatten(2) * target.flatten(1)[:, None]).sum(2).argmax(1)
        return orbit[torch.arange(len(x), device=x.device), best]

    def canonical(self, x: Batch) -> Batch:
        """The same member of the orbit for every member of it: the one that comes first in lexicographic order."""
        orbit = self.orbit(x)
        return torch.stack([members[_first(members.flatten(1))] for members in orbit])

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuse a shape that the group does not act on.

        Raises:
            ValueError: with the reason and what would fit.
        """
        if (why := self.misfit(shape)) is not None:
            given = "x".join(map(str, shape))
            raise ValueError(f"the group {self} does not act on inputs of shape {given}: {why}. {GROUP_HELP}.")


@dataclass(frozen=True)
class Rotations(Group):
    """Quarter turns of square images, C4; with their mirror images, D4.

    >>> Rotations().project(torch.tensor([[[4.0, 0.0], [0.0, 0.0]]])).tolist()
    [[[1.0, 1.0], [1.0, 1.0]]]
    """

    mirror: bool = False

    def __str__(self) -> str:
        return "d4" if self.mirror else "c4"

    def misfit(self, shape: tuple[int, ...]) -> str | None:
        square = len(shape) >= 2 and shape[-1] == shape[-2]
        return None if square else "a quarter turn needs square images, such as 1x8x8"

    def order(self, shape: tuple[int, ...]) -> int:
        return 8 if self.mirror else 4

    def orbit(self, x: Batch) -> Float[Tensor, "n g ..."]:
        sides = [x, x.flip(-1)] if self.mirror else [x]
        return torch.stack([side.rot90(k, (-2, -1)) for side in sides for k in range(4)], 1)


@dataclass(frozen=True)
class Shifts(Group):
    """Cyclic shifts of images by multiples of `stride` pixels, down and across."""

    stride: int = 1

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise ValueError(f"stride={self.stride} given; shifts go by at least 1 pixel.")

    def __str__(self) -> str:
        return f"shifts:{self.stride}"

    def misfit(self, shape: tuple[int, ...]) -> str | None:
        whole = len(shape) >= 2 and all(side % self.stride == 0 for side in shape[-2:])
        return None if whole else f"shifts by {self.stride} need images whose height and width it divides"

    def order(self, shape: tuple[int, ...]) -> int:
        return math.prod(side // self.stride for side in shape[-2:])

    def orbit(self, x: Batch) -> Float[Tensor, "n g ..."]:
        down, across = (range(0, side, self.stride) for side in x.shape[-2:])
        return torch.stack([x.roll((-a, -b), (-2, -1)) for a in down for b in across], 1)


@dataclass(frozen=True)
class Permutations(Group):
    """All permutations of the `count` elements of a set, the first dimension of an input."""

    count: int

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"count={self.count} given; a set has at least 1 element.")

    def __str__(self) -> str:
        return f"set:{self.count}"

    def misfit(self, shape: tuple[int, ...]) -> str | None:
        sets = len(shape) >= 2 and shape[0] == self.count
        return None if sets else f"sets of {self.count} elements have shape {self.count}x..., such as {self.count}x64"

    def order(self, shape: tuple[int, ...]) -> int:
        return math.factorial(self.count)

    def orbit(self, x: Batch) -> Float[Tensor, "n g ..."]:
        if self.count > 6:
            raise ValueError(f"{self.count}! = {self.order(())} permutations are too many to list; 6 elements are.")
        every = torch.cartesian_prod(*[torch.arange(self.count)] * self.count).reshape(-1, self.count)
        once = every.sort(1).values.eq(torch.arange(self.count)).all(1)
        return x[:, every[once].to(x.device)]

    def views(self, x: Batch) -> Float[Tensor, "n t ..."]:
        """The elements."""
        return x

    def project(self, x: Batch) -> Batch:
        return x.mean(1, keepdim=True).expand_as(x)

    def draw(self, x: Batch, generator: torch.Generator) -> Batch:
        return x[:, torch.randperm(self.count, generator=generator).to(x.device)]

    def products(self, a: Float[Tensor, "na ..."], b: Float[Tensor, "nb ..."]) -> Float[Tensor, "na nb"]:
        pairs = torch.einsum("ike,jle->ijkl", a.flatten(2), b.flatten(2)).detach()
        best = [[float(t[_assigned(t)].sum()) for t in row] for row in pairs]
        return torch.tensor(best, dtype=a.dtype, device=a.device)

    def align(self, x: Batch, target: Batch) -> Batch:
        pairs = target.flatten(2) @ x.flatten(2).mT
        return torch.stack([one[_assigned(table)[1]] for one, table in zip(x, pairs, strict=True)])

    def canonical(self, x: Batch) -> Batch:
        return torch.stack([one[_lexicographic(one.flatten(1))] for one in x])


def parse_group(text: str) -> Group:
    """The group that a text names.

    Args:
        text: c4, d4, shifts:STRIDE or set:SIZE.

    Raises:
        ValueError: any other text.

    >>> parse_group("shifts:2")
    Shifts(stride=2)
    """
    match = _TEXT.fullmatch(text) if text.isascii() else None
    if match is None:
        raise ValueError(f"group {text[:40]!r} given; {GROUP_HELP}.")
    if match[1]:
        return Rotations(mirror=match[1] == "d4")
    return Shifts(int(match[2])) if match[2] else Permutations(int(match[3]))


def _assigned(table: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column of the assignment of largest sum."""
    rows, columns = linear_sum_assignment(table.cpu().numpy(), maximize=True)
    return torch.as_tensor(rows), torch.as_tensor(columns)


def _lexicographic(rows: Tensor) -> Tensor:
    """Order of the rows by their entries, the first entry first."""
    return torch.tensor(sorted(range(len(rows)), key=lambda k: rows[k].tolist()), device=rows.device)


def _first(rows: Tensor) -> int:
    return int(_lexicographic(rows)[0])
