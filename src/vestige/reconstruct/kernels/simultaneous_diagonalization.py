"""Simultaneous diagonalization: matrices V D_q V^T with diagonal D_q and one V, from what they are to V.

An eigenvalue problem of two random mixtures gives a first V (Jennrich's algorithm); sweeps over all matrices together
then part what the eigenvalues left close together.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

TRIALS = 3  # pairs of mixtures, the best of which is refined
SWEEPS = 12
TINY = 1e-300


@dataclass(frozen=True, eq=False)
class Diagonalized:
    """`vectors` V with columns of norm 1, its inverse, and what is left off the diagonal relative to it."""

    vectors: Float[Tensor, "n n"]
    inverse: Float[Tensor, "n n"]
    left: float


def diagonalize(matrices: Float[Tensor, "q n n"], draw: torch.Generator) -> Diagonalized:
    """V such that every V^-1 M_q V^-T is as diagonal as can be.

    Args:
        matrices: symmetric, q >= 2.
        draw: random mixtures.

    Raises:
        ValueError: fewer than two matrices.

    >>> v, d = torch.tensor([[1.0, 1.0], [0.0, 1.0]]).double(), torch.tensor([[1.0, 2.0], [3.0, 1.0]]).double()
    >>> found = diagonalize(torch.stack([v @ part.diag() @ v.T for part in d]), torch.Generator().manual_seed(0))
    >>> found.left < 1e-12
    True
    """
    if len(matrices) < 2:
        raise ValueError(f"{len(matrices)} matrix given; at least two are needed, because many V diagonalize one.")
    tried = [_pencil(matrices, draw) for _ in range(TRIALS)]
    inverse = min((inv for inv in tried if inv is not None), key=lambda inv: _left(inv, matrices), default=None)
    if inverse is None:
        inverse = torch.eye(matrices.shape[1], dtype=matrices.dtype)
    best, left = inverse, _left(inverse, matrices)
    for _ in range(SWEEPS):
        inverse = _sweep(inverse, matrices)
        now = _left(inverse, matrices)
        if not now < left:
            break
        gain, best, left = now / left, inverse, now
        if gain > 0.9:
            break
    vectors = torch.linalg.inv(best)
    size = vectors.norm(dim=0)
    return Diagonalized(vectors / size, best * size[:, None], left)


def _pencil(matrices: Tensor, draw: torch.Generator) -> Tensor | None:
    mix = torch.randn(2, len(matrices), generator=draw, dtype=matrices.dtype)
    top, bottom = torch.einsum("pq,qij->pij", mix, matrices)
    try:
        value, vector = torch.linalg.eig(torch.linalg.solve(bottom, top))
        # M_bottom^-1 M_top = V^-T D V^T: eigenvectors are the columns of V^-T. A pair of complex ones, of eigenvalues
        # that noise has driven together, spans the same plane as its real and imaginary part.
        real = torch.where(value.imag >= 0, vector.real, vector.imag)
        return _scaled(real.T.contiguous(), matrices)
    except RuntimeError:  # singular, or no convergence
        return None


def _scaled(inverse: Tensor, matrices: Tensor) -> Tensor:
    """Rows such that the diagonals of all matrices have norm 1 for each."""
    diagonal = _rotated(inverse, matrices).diagonal(dim1=1, dim2=2)
    return inverse / diagonal.norm(dim=0).clamp(min=TINY).sqrt()[:, None]


def _rotated(inverse: Tensor, matrices: Tensor) -> Tensor:
    return torch.stack([inverse @ part @ inverse.T for part in matrices])


def _left(inverse: Tensor, matrices: Tensor) -> float:
    rotated = _rotated(inverse, matrices)
    diagonal = rotated.diagonal(dim1=1, dim2=2)
    off = rotated.square().sum() - diagonal.square().sum()
    value = float((off.clamp(min=0) / diagonal.square().sum()).sqrt())
    return value if value == value else float("inf")


def _sweep(inverse: Tensor, matrices: Tensor) -> Tensor:
    """One step W <- (1 + X) W with the X that, to first order, takes most off the diagonals: two unknowns a pair."""
    rotated = _rotated(inverse, matrices)
    diagonal = rotated.diagonal(dim1=1, dim2=2)
    gram = diagonal.T @ diagonal
    toward = torch.einsum("qij,qj->ij", rotated, diagonal)
    own = gram.diagonal()
    determinant = own[:, None] * own - gram.square()
    floor = 1e-12 * own[:, None] * own
    x = -(own[:, None] * toward - gram * toward.T) / torch.maximum(determinant, floor)
    x.fill_diagonal_(0)
    x = x / (x.abs().amax() / 0.5).clamp(min=1.0)
    return _scaled(inverse + x @ inverse, matrices)
