"""The vector of a column space that agrees best with given gates, for many gates at once.

Of all unit c it is the one of least

    sum_j weight_j (U c - gate * B l)_j^2  +  ridge |c|^2,      l the best for this c,                             (1)

and therefore the smallest eigenvector of an n x n matrix A, n the dimensions of the column space. To form and factor
A takes h n^2 operations for every c. Weights that have changed little since leave the factor a good preconditioner,
with which a step of Davidson's method takes two products with U, 2 h n, for all c in one product of matrices.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vestige.reconstruct.weights.grams import weighted_grams

RIDGE = {torch.float32: 1e-5, torch.float64: 1e-6}  # of the mean diagonal of A
INNER = 1e-6  # and that of the equations for l
NOTHING = 1e-3  # of a unit vector, less of which outside of what is known is rounding
FACTORED = 6  # alternations between weights and c that one factor serves


@dataclass(frozen=True)
class Equations:
    """The quadratic form (1) in c, for each of m weightings.

    Attributes:
        first: U.
        output: B.
        weight: of each equation.
        opened: the same where the gate is open, else 0.
        inner: B^T diag(opened) B.
        ridge: of (1).
    """

    first: Float[Tensor, "h n"]
    output: Float[Tensor, "h q"]
    weight: Float[Tensor, "m h"]
    opened: Float[Tensor, "m h"]
    inner: Float[Tensor, "m q q"]
    ridge: Float[Tensor, "m 1"]

    @staticmethod
    def of(first: Tensor, output: Tensor, weight: Tensor, gate: Tensor) -> "Equations":
        """From the two bases, weights of mean 1 and gates that are open or not."""
        opened = weight * gate
        inner = output.T @ (output * opened[:, :, None]) + INNER * torch.eye(output.shape[1]).to(output)
        diagonal = weight @ first.square().sum(1, keepdim=True) / first.shape[1]
        return Equations(first, output, weight, opened, inner, RIDGE[first.dtype] * diagonal)

    def entries(self, c: Float[Tensor, "m n"]) -> tuple[Float[Tensor, "m h"], Float[Tensor, "m h"]]:
        """U c and B l."""
        s = c @ self.first.T
        right = (self.opened * s) @ self.output
        return s, torch.linalg.solve(self.inner, right[:, :, None])[:, :, 0] @ self.output.T

    def product(self, c: Float[Tensor, "m n"]) -> Float[Tensor, "m n"]:
        """A c."""
        s, full = self.entries(c)
        return (self.weight * s - self.opened * full) @ self.first + self.ridge * c

    def factor(self) -> Float[Tensor, "m n n"]:
        """The Cholesky factor of A."""
        mixed = self.first.T @ (self.output * self.opened[:, :, None])
        form = weighted_grams(self.first, self.weight)
        form -= mixed @ torch.linalg.solve(self.inner, mixed.mT)
        form.diagonal(dim1=1, dim2=2).add_(self.ridge)
        return torch.linalg.cholesky_ex(form)[0]


def improved(
    equations: Equations, factor: Float[Tensor, "m n n"] | None, c: Float[Tensor, "m n"], *, steps: int = 2
) -> tuple[Float[Tensor, "m n"], Float[Tensor, "m n n"]]:
    """c nearer to the smallest eigenvector of A, and the factor that was used: that of A where none is given."""
    if factor is not None:
        return davidson(equations, factor, c, steps=steps), factor
    factor = equations.factor()
    return inverse_iteration(factor, c, steps=steps), factor


def inverse_iteration(factor: Float[Tensor, "m n n"], c: Float[Tensor, "m n"], *, steps: int) -> Float[Tensor, "m n"]:
    """c nearer to the smallest eigenvector of the matrix whose factor this is."""
    for _ in range(steps):
        c = F.normalize(_solved(factor, c), dim=1)
    return c


def davidson(
    equations: Equations, factor: Float[Tensor, "m n n"], c: Float[Tensor, "m n"], *, steps: int
) -> Float[Tensor, "m n"]:
    """c nearer to the smallest eigenvector of A, the factor being that of a matrix like A.

    The best vector of the space that c and `steps` residuals span, each solved for with the factor.
    """
    best, image = c, equations.product(c)
    basis, images = best[:, None], image[:, None]
    for _ in range(min(steps, c.shape[1] - 1)):
        new = F.normalize(_solved(factor, image - (best * image).sum(1, keepdim=True) * best), dim=1)
        for _ in range(2):  # once leaves rounding
            new = new - ((basis @ new[:, :, None]) * basis).sum(1)
        length = new.norm(dim=1, keepdim=True)
        new = torch.where(length > NOTHING, new / length, 0.0)
        basis = torch.cat([basis, new[:, None]], 1)
        images = torch.cat([images, equations.product(new)[:, None]], 1)
        form = (basis @ images.mT).nan_to_num()  # a column that is lost must not stop the others
        unused = torch.diag_embed((basis == 0).all(2) * (1 + form.abs().amax((1, 2))[:, None]))
        weights = torch.linalg.eigh((form + form.mT) / 2 + unused)[1][:, None, :, 0]
        best, image = (weights @ basis)[:, 0], (weights @ images)[:, 0]
    return F.normalize(best, dim=1)


def _solved(factor: Tensor, right: Tensor) -> Tensor:
    return torch.cholesky_solve(right[:, :, None], factor)[:, :, 0]
