"""The span of the data, and the part of a first layer that training cannot change because it lies off the span."""

import copy
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vestige.core.relu_chain import first_linear

ROUNDING = 10  # machine epsilons of the data, relative to the largest singular value, below which a direction is empty
CLEAR = 1e-2  # a ratio of neighboring singular values below which the rank is not in doubt


@dataclass(frozen=True, eq=False)
class DataSpan:
    """A subspace through 0 that contains the data, or nearly.

    Attributes:
        basis: orthonormal columns.
        singular_values: of the data, largest first; empty for a basis that was given.
        warnings: on the rank and the mean.
    """

    basis: Float[Tensor, "d r"]
    singular_values: Float[Tensor, " k"]
    warnings: tuple[str, ...] = ()

    @property
    def dimension(self) -> int:
        """d, of the space around it."""
        return self.basis.shape[0]

    @property
    def codimension(self) -> int:
        """l, how many directions are orthogonal to the data."""
        return self.basis.shape[0] - self.basis.shape[1]

    def off(self, rows: Float[Tensor, "k d"]) -> Float[Tensor, "k d"]:
        """The part of each row that is orthogonal to the span; exactly 0 where only rounding is left."""
        basis = self.basis.to(rows)
        rest = rows - (rows @ basis) @ basis.T
        rest = rest - (rest @ basis) @ basis.T  # once more: rounding of the first subtraction is not noise of the start
        eps = torch.finfo(rows.dtype).eps
        return torch.where(rest.norm(dim=1, keepdim=True) > ROUNDING * eps * rows.norm(dim=1, keepdim=True), rest, 0.0)

    def check(self, features: int) -> None:
        """Refuse a span in a space of another dimension.

        Raises:
            ValueError: it is.
        """
        if features != self.dimension:
            raise ValueError(
                f"the span lies in {self.dimension} dimensions, a sample has {features} values; is it of other data?"
            )

    def without_noise(self, model: nn.Module) -> nn.Module:
        """A copy whose first layer has no weights off the span."""
        cleaned = copy.deepcopy(model)
        layer = first_layer(cleaned)
        self.check(layer.in_features)
        with torch.no_grad():
            weight = layer.weight.double()
            layer.weight.copy_((weight @ self.basis.to(weight)) @ self.basis.to(weight).T)
        return cleaned


def first_layer(model: nn.Module) -> nn.Linear:
    """The linear layer that reads the input.

    Raises:
        ValueError: there is none.
    """
    found = first_linear(model)
    if found is None:
        raise ValueError(
            f"{type(model).__name__} does not begin with a linear layer; give an nn.Sequential that begins with "
            "nn.Linear, or with nn.Flatten and nn.Linear."
        )
    return found[1]


def data_span(
    x: Float[Tensor, "n ..."], *, variance: float = 1.0, basis: Float[Tensor, "d r"] | None = None
) -> DataSpan:
    """The span of the data through 0, or the leading directions that hold a share of their squared norm.

    Through 0, because gradients of a first layer lie in that span, with a bias or without: data in an affine plane span
    one direction more than they vary in.

    Args:
        x: data, flattened.
        variance: share of the squared norm that is kept; 1 keeps all but rounding.
        basis: a known subspace instead, columns of any length.

    Raises:
        ValueError: data of full rank, a share outside (0, 1], values that are not finite.

    >>> data_span(torch.tensor([[3.0, 0.0, 0.0], [0.0, 1.0, 0.0]])).codimension
    1
    """
    flat = x.detach().flatten(1).double()
    if not 0 < variance <= 1 or len(flat) == 0 or not bool(torch.isfinite(flat).all()):
        raise ValueError(
            f"variance={variance} and {len(flat)} samples given; a share in (0, 1] and finite data are needed."
        )
    if basis is not None:
        q, r = torch.linalg.qr(basis.double())
        if (
            basis.shape[0] != flat.shape[1]
            or basis.shape[1] >= basis.shape[0]
            or float(r.diagonal().abs().min()) <= 1e-12
        ):
            raise ValueError(
                f"basis of shape {tuple(basis.shape)} for data of {flat.shape[1]} values; independent columns are "
                "needed, fewer than values."
            )
        return DataSpan(q, flat.new_zeros(0))
    _, singular, right = torch.linalg.svd(flat, full_matrices=False)
    tolerance = ROUNDING * max(flat.shape) ** 0.5 * torch.finfo(x.dtype).eps
    rank = int((singular > tolerance * singular[0]).sum())
    if variance < 1:
        share = singular.square().cumsum(0) / singular.square().sum()
        rank = min(rank, int((share < variance).sum()) + 1)
    if rank >= flat.shape[1]:
        raise ValueError(
            f"the data span all {flat.shape[1]} dimensions (singular values from {float(singular[0]):.3g} to "
            f"{float(singular[-1]):.3g}): no direction is orthogonal to them. variance=0.999 leaves the weakest out."
        )
    return DataSpan(right[:rank].T.contiguous(), singular, tuple(_doubts(flat, singular, rank, variance)))


def _doubts(flat: Tensor, singular: Tensor, rank: int, variance: float) -> list[str]:
    notes = []
    if variance < 1:
        left = float(singular[rank:].square().sum() / singular.square().sum())
        notes.append(
            f"The span leaves out {left:.2%} of the data's squared norm: training moves weights there a little."
        )
    elif rank < len(singular) and float(singular[rank] / singular[rank - 1]) > CLEAR:
        notes.append(
            f"The rank {rank} is in doubt: the next singular value is {float(singular[rank]):.2g} after "
            f"{float(singular[rank - 1]):.2g}. Look at `singular_values`, or give a variance."
        )
    mean = flat.mean(0).norm() / flat.norm(dim=1).mean().clamp(min=1e-300)
    if len(flat) > 1 and float(mean) > 0.5:
        notes.append(
            f"The data are not centered (their mean has {float(mean):.0%} of their norm), so one direction of the span "
            "is that of the mean."
        )
    return notes


def invariance_drift(
    model: nn.Module, start: nn.Module, span: DataSpan, shrink: float = 1.0
) -> tuple[float, float, float]:
    """max |(W_T - shrink W_0) P|, the largest weight of W_0 off the span, and the machine epsilon of the weights.

    Args:
        model: after training.
        start: before.
        span: of the training data.
        shrink: (1 - eta lam)^T.

    Raises:
        ValueError: first layers that do not fit each other or the span.
    """
    after, before = first_layer(model).weight.detach(), first_layer(start).weight.detach()
    if after.shape != before.shape:
        raise ValueError(
            f"the first layers have shapes {tuple(after.shape)} and {tuple(before.shape)}; give one network before and "
            "after training."
        )
    span.check(after.shape[1])
    off = span.off(before.double())
    drift = (span.off(after.double()) - shrink * off).abs().max()
    return float(drift), float(before.abs().max()), torch.finfo(after.dtype).eps
