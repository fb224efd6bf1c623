"""What an attack by queries returns."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from vestige.core.cite import Paper
from vestige.core.outcome import Outcome
from vestige.reconstruct.kernel_functions import Kernel


@dataclass(frozen=True, eq=False)
class QueryReconstruction:
    """Training points of a kernel machine, the best checked first, in the space of the model's inputs.

    Attributes:
        points: estimates of the x_i in f(z) = sum_i a_i k(z, x_i) + b.
        coefficients: their a_i, for each output.
        error: of each point relative to its distance from the centre, estimated from held-out queries; infinite where
            there is no estimate.
        validated: whether the error is within the tolerance.
        misfit: |f - sum of the points found| over |f - b|, root mean square over held-out queries; near 0 where
            nothing is missing.
        rank: how many points the scores show, whether or not they were found; 0 where the method does not count.
        singular_values: behind that count, over their noise, so that 1 is noise.
        queries: single inputs that predict was asked about.
        kernel: with its parameters, gamma included where it was found from queries.
        centre: that the attack worked around.
        offset: b, for each output.
        method: "pencil", "cubic" or "optimisation".
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
    centre: Float[Tensor, " d"]
    offset: Float[Tensor, " out"]
    method: str
    outcome: Outcome
    warnings: tuple[str, ...]
    source: tuple[Paper, ...]
