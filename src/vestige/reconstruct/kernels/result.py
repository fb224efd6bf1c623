"""What an attack by queries returns."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vestige.core.cite import Paper
from vestige.core.outcome import Outcome
from vestige.reconstruct.kernels.functions import Kernel
from vestige.reconstruct.result import Reconstruction


@dataclass(frozen=True, eq=False, kw_only=True)
class QueryReconstruction:
    """Training points of a kernel machine, the best checked first, in the space of the model's inputs.

    Attributes:
        points: estimates of the x_i in f(z) = sum_i a_i k(z, x_i) + b.
        coefficients: their a_i, for each output.
        error: of each point relative to its distance from the center, estimated from held-out queries; infinite where
            there is no estimate.
        validated: whether the error is within the tolerance.
        misfit: |f - sum of the points found| over |f - b|, root mean square over held-out queries; near 0 where
            nothing is missing.
        rank: how many points the scores show, whether or not they were found; 0 where the method does not count.
        singular_values: behind that count, over their noise, so that 1 is noise.
        queries: single inputs that predict was asked about.
        kernel: with its parameters, gamma included where it was found from queries.
        center: that the attack worked around.
        offset: b, for each output.
        method: "pencil", "cubic" or "optimization".
        outcome: why it stopped.
        warnings: what the reader should know before believing it.
        source: the papers.
    """

    points: Float[Tensor, "k d"]
    coefficients: Float[Tensor, "k out"]
    error: Float[Tensor, " k"]
    validated: Bool[Tensor, " k"]
    misfit: float
    rank: int
    singular_values: Float[Tensor, " r"]
    queries: int
    kernel: Kernel
    center: Float[Tensor, " d"]
    offset: Float[Tensor, " out"]
    method: str
    outcome: Outcome
    warnings: tuple[str, ...]
    source: tuple[Paper, ...]


def as_reconstruction(found: QueryReconstruction, input_shape: tuple[int, ...]) -> Reconstruction:
    """The same as a reconstruction from weights, for the score and the report: what passed the check, else everything.

    Confidence is 1 - error for points that passed, and 0 for the others; `identifiable` is the number of points that
    the scores show, and the residual the misfit at held-out queries.
    """
    kept = found.validated if bool(found.validated.any()) else torch.isfinite(found.error)
    points, weight, error = found.points[kept], found.coefficients[kept], found.error[kept]
    count = len(points)
    label = (weight[:, 0] > 0).long() if weight.shape[1] == 1 else weight.argmax(1)
    samples = points.reshape(count, *input_shape)
    return Reconstruction(
        samples=samples,
        confidence=torch.where(found.validated[kept], (1 - error).clamp(min=0), 0.0),
        support=torch.ones(count, dtype=torch.long),
        spread=torch.zeros(count, dtype=points.dtype),
        cotangents=weight,
        label=label,
        verified=found.validated[kept],
        candidates=samples,
        candidate_cotangents=weight,
        restart=torch.zeros(count, dtype=torch.long),
        cluster=torch.arange(count),
        residual=points.new_tensor([found.misfit]),
        residual_per_layer={},
        history=(),
        singular_values=found.singular_values,
        identifiable=found.rank,
        collapse=False,
        gradient_evaluations=0,
        outcome=found.outcome,
        warnings=found.warnings,
        source=found.source,
    )
