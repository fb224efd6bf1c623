"""What a reconstruction returns."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from vestige.core.cite import Paper
from vestige.core.outcome import Outcome, Step


@dataclass(frozen=True, eq=False, kw_only=True)
class Reconstruction:
    """Likely training samples, most credible first, and everything they were drawn from; all in model space.

    Attributes:
        samples: one for each group of candidates that agree.
        confidence: in [0, 1]; how sure it is that this is a training sample (see `clusters`).
        support: how many restarts or rounds found the sample.
        spread: 1 - mean cosine between the candidates of its group and the sample.
        cotangents: output multipliers l of the sample, up to a positive factor.
        label: output with the largest multiplier (0 or 1 by its sign for one output).
        verified: whether the sample's column is its own: it fits the first layer's equations, and the sample separates
            the neurons that it opens from the others, as no mixture and hardly any accident does.
        candidates: everything the search returned.
        candidate_cotangents: their multipliers.
        restart: which restart or round each came from.
        cluster: index into `samples`, -1 for candidates outside every group.
        residual: relative squared stationarity residual of each restart, over all layers.
        residual_per_layer: of the best restart, by parameter name.
        history: thinned progress of the search.
        singular_values: of the first layer with its bias, largest first.
        identifiable: how many of them stand out of the noise: no more samples than that can be told apart.
        directions: different neurons of the first layer: with fewer than two for each sample little can be told; 0
            where there is no such layer.
        collapse: whether the candidates fall together to about one per class, as class means do.
        doubt: why the weights cannot tell single samples; empty where they can.
        gradient_evaluations: weighted gradients taken, over all restarts.
        outcome: why the search stopped.
        warnings: what the reader should know before believing it.
        source: the papers.
    """

    samples: Float[Tensor, "k ..."]
    confidence: Float[Tensor, " k"]
    support: Int[Tensor, " k"]
    spread: Float[Tensor, " k"]
    cotangents: Float[Tensor, "k out"]
    label: Int[Tensor, " k"]
    verified: Tensor
    candidates: Float[Tensor, "c ..."]
    candidate_cotangents: Float[Tensor, "c out"]
    restart: Int[Tensor, " c"]
    cluster: Int[Tensor, " c"]
    residual: Float[Tensor, " restarts"]
    residual_per_layer: dict[str, float]
    history: tuple[Step, ...]
    singular_values: Float[Tensor, " r"]
    identifiable: int
    directions: int = 0
    collapse: bool
    doubt: str = ""
    gradient_evaluations: int
    outcome: Outcome
    warnings: tuple[str, ...]
    source: tuple[Paper, ...]
