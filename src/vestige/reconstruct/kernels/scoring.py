"""Score points recovered by queries against the true ones: relative error, and what chance reaches."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vestige.core.metrics import assign, l2
from vestige.reconstruct.scoring.nulls import built_in_nulls

WITHIN = 0.05


@dataclass(frozen=True)
class PointNull:
    """What points that are not reconstructions reach: true points within the tolerance, the least and median error."""

    name: str
    count: int
    n_recovered: int
    least: float
    median: float


@dataclass(frozen=True, eq=False, kw_only=True)
class QueryScore:
    """How many training points came back, and how exactly.

    Attributes:
        n_recovered: true points with a recovered point of their own within the tolerance.
        within: the tolerance, a relative error.
        error: of each true point, |recovered - true| / |true - mean of the true points|; infinite without a partner.
        match: index of the partner, -1 for none.
        recovered: error within the tolerance.
        precision: share of the offered points that are within the tolerance of some true point.
        nulls: the same for points that are not reconstructions.
    """

    n_recovered: int
    within: float
    error: Float[Tensor, " n"]
    match: Int[Tensor, " n"]
    recovered: Bool[Tensor, " n"]
    precision: float
    nulls: tuple[PointNull, ...]


def score_points(
    points: Float[Tensor, "k d"],
    x_true: Float[Tensor, "n d"],
    *,
    held_out: Float[Tensor, "h d"] | None = None,
    null: Mapping[str, Tensor] | None = None,
    within: float = WITHIN,
) -> QueryScore:
    """Pair recovered with true points, one to one, by relative error.

    The error of a true point is relative to its distance from the mean of all true points, so that what they share does
    not count in its favor.

    Args:
        points: what an attack offers, such as `QueryReconstruction.points`.
        x_true: the training points, in the space of the model's inputs.
        held_out: points of the same kind that the model never saw: the strongest null.
        null: further points to offer instead, such as what the same attack recovers from a model of other data.
        within: relative error up to which a point counts as recovered.

    Raises:
        ValueError: no true points, other sizes, or values that are not finite.

    >>> x = torch.tensor([[0.0, 1.0], [0.0, -1.0]])
    >>> score_points(x[:1] + 0.01, x).error.tolist()[1]
    inf
    """
    truth = x_true.detach().double().cpu()
    if truth.ndim != 2 or not len(truth) or not bool(torch.isfinite(truth).all()):
        raise ValueError(f"x_true has shape {tuple(x_true.shape)}; finite points (n, d), n >= 1, are needed.")
    if not within > 0:
        raise ValueError(f"within={within} given; a relative error above 0 is needed, such as 0.05.")
    size = (truth - truth.mean(0)).norm(dim=1) if len(truth) > 1 else truth.norm(dim=1)
    given = {} if held_out is None else {"held-out samples": held_out}
    given |= built_in_nulls(truth, max(1, len(points)), like=None if held_out is None else held_out.double().cpu())
    given |= dict(null or {})
    error, match, table = _paired("points", points, truth, size, within)
    nulls = []
    for name, part in given.items():
        missed, _, whole = _paired(name, part, truth, size, within)
        least = whole.amin(1)
        nulls.append(
            PointNull(name, len(part), int((missed <= within).sum()), float(least.min()), float(least.median()))
        )
    return QueryScore(
        n_recovered=int((error <= within).sum()),
        within=within,
        error=error,
        match=match,
        recovered=error <= within,
        precision=float((table <= within).any(0).double().mean()) if table.shape[1] else 0.0,
        nulls=tuple(nulls),
    )


def _paired(name: str, points: Tensor, truth: Tensor, size: Tensor, within: float) -> tuple[Tensor, Tensor, Tensor]:
    """Error and partner of each true point, and the table of all errors."""
    points = points.detach().double().cpu()
    if points.ndim != 2 or points.shape[1] != truth.shape[1]:
        raise ValueError(f"{name} have shape {tuple(points.shape)}, the true points {tuple(truth.shape)}.")
    lost, nobody = truth.new_full((len(truth),), torch.inf), torch.full((len(truth),), -1)
    if not len(points):
        return lost, nobody, truth.new_empty(len(truth), 0)
    table = (l2(truth, points) / size.clamp(min=1e-300)[:, None]).nan_to_num(nan=1e6, posinf=1e6).clamp(max=1e6)
    # As many as can be within the tolerance, and among those pairings the nearest.
    match = assign((table <= within).double() - table.clamp(max=10) / (20 * len(truth)))
    partner = table.gather(1, match.clamp(min=0)[:, None])[:, 0]
    return torch.where(match >= 0, partner, lost), match, table
