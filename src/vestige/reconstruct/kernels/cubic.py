"""Points of a cubic kernel machine by simultaneous diagonalization (Jennrich's algorithm).

With k(z, x) = (c + gamma z.x)^3 the scores are a cubic polynomial, whose homogeneous parts sums of signs single out:

    sum over signs s of  s1 s2 s3 f(s1 p + s2 q + s3 r)  =  48 gamma^3  sum_i a_i (p.x_i)(q.x_i)(r.x_i)
    sum over signs s of  s1 s2    f(s1 p + s2 q)         =  24 c gamma^2 sum_i a_i (p.x_i)(q.x_i)

For anchors p, q and a fixed r the first are V D V^T with V_pi = p.x_i: the form that
`kernels.simultaneous_diagonalization` solves as long as there are no more points than dimensions. Linear equations then
give every coordinate up to one factor a point, which the second parts settle: with V_i / t_i in the place of V_i, the
cubic coefficients are a t^3, the quadratic ones a t^2. Own construction for the setting of arXiv 2505.19019.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vestige.reconstruct.kernels.black_box import BlackBox, relative_noise
from vestige.reconstruct.kernels.functions import Polynomial
from vestige.reconstruct.kernels.matrix_pencil import ABOVE_NOISE, ROOM, Terms
from vestige.reconstruct.kernels.simultaneous_diagonalization import diagonalize

DIRECTIONS = 3  # third arguments r; each output and each r is one matrix
FRESH = 8  # held-out third parts that check a point
FIRST = 24  # anchors to begin with where the number of points is not known
SIGNS = ((1, 1), (1, -1), (-1, 1), (-1, -1))


@dataclass(frozen=True, eq=False)
class _Parts:
    """Cubic parts at all pairs of anchors for each third argument and output, and the V that they have in common."""

    anchors: Float[Tensor, "m d"]
    thirds: Float[Tensor, "t d"]
    reach: float
    matrices: Float[Tensor, "q m m"]
    basis: Float[Tensor, "m k"]


def cubic_part(box: BlackBox, p: Tensor, q: Tensor, r: Tensor, reach: float) -> Float[Tensor, "m out"]:
    """sum_i a_i (p.x_i)(q.x_i)(r.x_i) gamma^3 for each row of p, q and r: eight queries a row."""
    total = torch.zeros(1, dtype=torch.float64)
    for s, t in SIGNS:
        both = s * t * (box(reach * (p + s * q + t * r)) - box(-reach * (p + s * q + t * r)))
        total = total + both
    return total / (48 * reach**3)


def square_part(box: BlackBox, p: Tensor, q: Tensor, reach: float) -> Float[Tensor, "m out"]:
    """3 c gamma^2 sum_i a_i (p.x_i)(q.x_i) for each row of p and q: four queries a row."""
    total = torch.zeros(1, dtype=torch.float64)
    for s, t in SIGNS:
        total = total + s * t * box(reach * (s * p + t * q))
    return total / (8 * reach**2)


def solve_cubic(
    box: BlackBox, kernel: Polynomial, d: int, draw: torch.Generator, *, n: int | None, most: int, reach: float = 1.0
) -> Terms:
    """All points, as many as there are dimensions at most.

    Args:
        box: the model.
        kernel: of degree 3 with coef0 other than 0, or the factors of the points would stay open.
        d: n_features.
        draw: random numbers.
        n: number of points; None for the rank.
        most: anchors at most.
        reach: size of the queries' coordinates.
    """
    most = min(d, most)
    unit = torch.randn(most, d, generator=draw, dtype=torch.float64)
    thirds = torch.randn(DIRECTIONS, d, generator=draw, dtype=torch.float64)
    box.noise = relative_noise(box, reach * (unit[:8] + unit.flip(0)[:8] + thirds[:1]))
    size = min(most, FIRST if n is None else int(ROOM * n) + 2)
    while True:
        matrices, noise = _matrices(box, unit[:size], thirds, reach)
        left, value, _ = torch.linalg.svd(matrices.permute(1, 0, 2).flatten(1), full_matrices=False)
        value = value / noise
        rank = min(int((value > ABOVE_NOISE).sum()), n or size)
        full = n is None and ROOM * rank > size and size < d
        if not full or size >= most:
            break
        size = min(most, int(1.6 * size))
    none = torch.empty(0, d, dtype=torch.float64)
    outputs = len(matrices) // DIRECTIONS
    if rank == 0 or full:
        return Terms(none, none.new_empty(0, outputs), none.new_empty(0), rank, full, value, reach)
    basis = left[:, :rank]
    found = diagonalize(torch.einsum("ai,qab,bj->qij", basis, matrices, basis), draw)
    parts = _Parts(unit[:size], thirds, reach, matrices, basis @ found.vectors)
    along, error = _coordinates(box, parts, draw)
    factor, coefficients = _factors(box, kernel, parts, along)
    return Terms(along * factor[:, None], coefficients, error.nan_to_num(torch.inf), rank, False, value, reach)


def _matrices(box: BlackBox, unit: Tensor, thirds: Tensor, reach: float) -> tuple[Tensor, float]:
    """Symmetric (third * output, m, m), and the norm of their noise."""
    m = len(unit)
    a, b = torch.triu_indices(m, m).unbind()
    parts, noise = [], 0.0
    for third in thirds:
        answers = cubic_part(box, unit[a], unit[b], third.expand(len(a), -1), reach)
        parts.append(symmetric(answers, m))
        size = box(reach * (unit[a[:32]] + unit[b[-32:]] + third)).abs().mean()
        noise = max(noise, float(size) * box.noise * 8**0.5 / (48 * reach**3))
    both = torch.cat(parts)
    return both, noise * m**0.5 * (1 + len(both) ** 0.5) + box.quantum * 8**0.5 / (48 * reach**3) * m**0.5


def _coordinates(box: BlackBox, parts: _Parts, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """x_i / t_i up to one sign for V, b and t, and its relative error at steps that it was not made from.

    f's cubic part at (anchor, step, third) is sum_i V_ai b_i(third) (step.x_i) / t_i: a row an anchor and matrix.
    """
    (m, rank), d = parts.basis.shape, parts.anchors.shape[1]
    weight = diagonals(parts.matrices, parts.basis)
    count = min(m, -(-int(1.5 * rank) // weight.shape[1]) + 1)
    demix = torch.linalg.pinv((parts.basis[:count, None, :] * weight.T).flatten(0, 1))

    def stepped(steps: Tensor) -> Tensor:
        rows = []
        for anchor in parts.anchors[:count]:
            at = anchor.expand(len(steps), -1)
            found = [cubic_part(box, at, steps, third.expand_as(at), parts.reach) for third in parts.thirds]
            rows.append(torch.cat(found, 1).T)
        return demix @ torch.cat(rows)

    box.phase, box.planned = "coordinates", box.used + 8 * count * len(parts.thirds) * (d + FRESH)
    along = stepped(torch.eye(d, dtype=torch.float64))
    fresh = torch.randn(FRESH, d, generator=draw, dtype=torch.float64)
    missed = (stepped(fresh) - along @ fresh.T).square().mean(1).sqrt()
    return along, missed / along.norm(dim=1)


def _factors(box: BlackBox, kernel: Polynomial, parts: _Parts, along: Tensor) -> tuple[Tensor, Tensor]:
    """t_i and a_i, from the cubic coefficients a t^3 and the quadratic ones a t^2 of points x / t."""
    basis = parts.anchors @ along.T
    a, b = torch.triu_indices(len(basis), len(basis)).unbind()
    square = symmetric(square_part(box, parts.anchors[a], parts.anchors[b], parts.reach), len(basis))
    squares = diagonals(square, basis) / (3 * kernel.coef0 * kernel.gamma**2)
    every = diagonals(parts.matrices, basis).unflatten(1, (len(parts.thirds), -1))
    inner = along @ parts.thirds.T  # r.x_i / t_i
    cubes = (every * inner[..., None]).sum(1) / inner.square().sum(1)[:, None] / kernel.gamma**3
    factor = (cubes * squares).sum(1) / squares.square().sum(1)
    return factor, squares / factor.square()[:, None]


def diagonals(matrices: Float[Tensor, "q m m"], basis: Float[Tensor, "m k"]) -> Float[Tensor, "k q"]:
    """D of each matrix V D V^T."""
    inverse = torch.linalg.pinv(basis)
    return torch.stack([((inverse @ part) * inverse).sum(1) for part in matrices], 1)


def symmetric(upper: Float[Tensor, "pairs q"], m: int) -> Float[Tensor, "q m m"]:
    """Matrices from their upper triangles, row by row."""
    a, b = torch.triu_indices(m, m).unbind()
    block = upper.new_zeros(upper.shape[1], m, m)
    block[:, a, b] = block[:, b, a] = upper.T
    return block
