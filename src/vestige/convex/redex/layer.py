"""A layer of RedEx as a network: an extractor V and matrices P (Theorem 3), and the norm behind it."""

import importlib
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from vestige.core.cite import Paper, paper

PAPER = paper("2401.07606")
Array = NDArray[np.float64]
NOTHING = 1e-7  # an eigenvalue of R below it, relative to the largest, is rounding


@dataclass(frozen=True, eq=False)
class RedExLayer:
    """x -> (<P_o, (V x)(V x)^T>)_o, with orthogonal rows of V, |V|_F^2 = Tr R and |P_o| <= 1.

    Attributes:
        v: the extractor.
        p: one symmetric matrix an output.
        source: the paper.
    """

    v: Float[Tensor, "r d"]
    p: Float[Tensor, "k r r"]
    source: tuple[Paper, ...] = (PAPER,)

    def __call__(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
        """Outputs."""
        z = x.to(self.v) @ self.v.mT
        return torch.einsum("nr,krs,ns->nk", z, self.p, z)

    def features(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n f"]:
        """(V x)(V x)^T as a vector with the same inner products: what the next layer sees."""
        return symmetric_squares(x.to(self.v) @ self.v.mT)


def symmetric_squares(z: Float[Tensor, "n r"]) -> Float[Tensor, "n f"]:
    """z z^T above and on the diagonal, times sqrt(2) off it, so that lengths and inner products stay.

    >>> symmetric_squares(torch.tensor([[1.0, 2.0]])).square().sum().item()  # |z|^4
    25.0
    """
    rows, columns = torch.triu_indices(z.shape[1], z.shape[1])
    return z[:, rows] * z[:, columns] * torch.where(rows == columns, 1.0, 2**0.5).to(z)


def to_redex(a: Float[Tensor, "k d d"], r: Float[Tensor, "d d"], *, tolerance: float = 1e-6) -> RedExLayer:
    """The layer that does the same as x -> (x^T A_o x)_o with -R <= A_o <= R (Theorem 3).

    R = U^T D U gives V = sqrt(D) U and P_o = (V^+)^T A_o V^+. Where R has no part, A_o has none: x^T (R +- A) x >= 0.

    Args:
        a: symmetric matrices.
        r: symmetric.
        tolerance: by which -R <= A <= R may be missed, relative to the largest eigenvalue of R.

    Raises:
        ValueError: matrices that are not symmetric, or an A that is not between -R and R.

    >>> layer = to_redex(torch.diag(torch.tensor([2.0, -1.0, 0.0]))[None], torch.diag(torch.tensor([2.0, 1.0, 0.0])))
    >>> layer.v.shape, layer(torch.tensor([[1.0, 1.0, 5.0]])).item()
    (torch.Size([2, 3]), 1.0)
    """
    both = torch.cat([a, r[None]]).double()
    top = float(both[-1].abs().max())
    if not torch.allclose(both, both.mT, atol=1e-9 * top):
        raise ValueError("Matrices that are not symmetric given; only their symmetric part acts: pass (A + A.T) / 2.")
    least = min(float(torch.linalg.eigvalsh(both[-1] + sign * both[:-1]).min()) for sign in (1, -1))
    values, vectors = torch.linalg.eigh(both[-1])
    if not least >= -tolerance * float(values[-1]):
        raise ValueError(
            f"R +- A has the eigenvalue {least:.3g}; -R <= A <= R is needed. `redex_norm` finds such an R."
        )
    kept = values > NOTHING * values[-1]
    root, u = values[kept].sqrt(), vectors[:, kept]
    inverse = u / root
    return RedExLayer((u * root).mT, inverse.mT @ both[:-1] @ inverse)


def redex_norm(a: Float[Tensor, "k d d"]) -> float:
    """The least Tr R with -R <= A_o <= R for all o: a norm of (A_1, ..., A_k).

    For one matrix it is the sum of the absolute eigenvalues; for matrices that commute, that of the largest ones,
    sum_j max_o |lambda_oj|. In general a semidefinite program (cvxpy, the extra `convex`).

    Args:
        a: symmetric matrices.

    Raises:
        ValueError: matrices that are not symmetric, no cvxpy where it is needed, or a solver that fails.

    >>> redex_norm(torch.diag(torch.tensor([2.0, -1.0]))[None])
    3.0
    """
    a = a.double()
    if not torch.allclose(a, a.mT, atol=1e-9 * float(a.abs().max())):
        raise ValueError("Matrices that are not symmetric given; pass (A + A.T) / 2.")
    if len(a) == 1:
        return float(torch.linalg.eigvalsh(a[0]).abs().sum())
    return float(np.trace(least_r(a.numpy())))


def least_r(a: Array) -> Array:
    """The R of least trace.

    Raises:
        ValueError: no cvxpy, or a solver that fails.
    """
    try:
        cp = importlib.import_module("cvxpy")
    except ImportError as error:
        raise ValueError("Several matrices need cvxpy: pip install 'vestige[convex]'.") from error
    r = cp.Variable(a.shape[1:], symmetric=True)
    program = cp.Problem(cp.Minimize(cp.trace(r)), [r + sign * each >> 0 for each in a for sign in (1, -1)])
    program.solve(solver=cp.CLARABEL)
    if program.status != "optimal":
        raise ValueError(f"Clarabel ended with status {program.status} for matrices of size {a.shape}.")
    return np.asarray(r.value)
