"""How far a reconstruction can be believed, from the weights alone: what the equation explains, and what it can tell.

Restarts that agree agree on a solution of the equation. It is about training samples only where the network satisfies
the equation at all, and where the equation has no other solutions:

- e, the share of the first layer's square that the best restart explains, is near 1 at the end of a training with
  weight decay or a large margin; it is a fifth for an ordinary network under Adam;
- a hyperplane separates any labels of up to about 2 points a dimension (Cover 1965). With d different neurons for n
  samples that can be told apart, d < 2 n, gates that agree say little, and at d = n nothing;
- with no more than one sample a class that can be told apart, class means solve the equation;
- with two classes the samples of one have much alike columns, and restarts agree on blends of them. With more, each
  sample has multipliers of its own;
- what agrees is right the more often the less of the layer is left open, and the more different neurons there are;
- singular values of the first layer that fall off little are those of noise: mini-batches, not samples, left them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vestige.reconstruct.weights.ranking import Ranking

EXPLAINED = 0.5  # of the first layer: below it nothing is verified
# Log odds of a group over those of `clusters`; benchmarks/false_claims.py --fit prints them.
SLOPE, TWO, MORE, ROOM, STATIONARY, FALL = (0.73, -5.77, -4.32, 0.27, 0.24, 0.99)
LEAST = 1e-3  # share of the first layer left open below which nothing is gained
STEEP = 3.0  # fall of the singular values from which nothing is gained
MEANS = (
    "the first layer tells no more samples apart than there are classes, so that class means explain it as well as "
    "samples would"
)


def explained(residual_per_layer: Mapping[str, float]) -> float:
    """e: 1 minus the relative squared residual of the first layer, in [0, 1]; 1 where there is none."""
    return min(1.0, max(0.0, 1 - next(iter(residual_per_layer.values()), 0.0)))


def fall_of(singular_values: Float[Tensor, " k"], rank: int) -> float:
    """Log of the largest singular value over the last of `rank` that stand out of the noise; 0 for none."""
    if not rank or not singular_values.any():
        return 0.0
    last = singular_values[min(rank, len(singular_values)) - 1].clamp(min=torch.finfo(singular_values.dtype).tiny)
    return float((singular_values[0] / last).log())


@dataclass(frozen=True)
class Grounds:
    """What a reconstruction stands on.

    Attributes:
        explained: share of the first layer that the best restart explains, in [0, 1].
        samples: how many can be told apart; 0 where the first layer does not count them.
        directions: different neurons of the first layer; 0 likewise.
        classes: of the network, 2 for one output.
        fall: of the singular values of the first layer, `fall_of`.
        collapse: whether candidates fall together to class means.
    """

    explained: float
    samples: int
    directions: int
    classes: int
    fall: float
    collapse: bool

    @property
    def means(self) -> bool:
        """Whether class means are another solution."""
        return 0 < self.samples <= self.classes

    @property
    def factor(self) -> float:
        """What the confidence of every sample is multiplied by: e min(1, max(0, d / n - 1)), 0 for class means."""
        if self.means or self.collapse:
            return 0.0
        room = min(1.0, max(0.0, self.directions / self.samples - 1)) if self.samples else 1.0
        return self.explained * room

    @property
    def doubt(self) -> str:
        """Why the weights cannot tell; empty where they can."""
        if self.means:
            return MEANS
        if self.collapse:
            return "the reconstructions collapse to a few averages, such as class means"
        if not self.explained >= EXPLAINED:
            return (
                f"the equation explains {100 * self.explained:.0f} % of the first layer: training did not end where "
                "the theory says, or the search did not"
            )
        if self.samples and self.directions < 2 * self.samples:
            return (
                f"the first layer has {self.directions} different neurons for {self.samples} samples, and many other "
                "inputs explain them as well"
            )
        return ""

    @property
    def shift(self) -> float:
        """What the log odds of a group are moved by: the classes, log d / n, what is explained, and the fall."""
        room = math.log(self.directions / self.samples) if self.samples and self.directions else 0.0
        left = math.log(max(1 - self.explained, LEAST))
        steep = FALL * min(self.fall, STEEP)
        return (TWO if self.classes <= 2 else MORE) + ROOM * room - STATIONARY * left + steep

    def tempered(
        self, ranking: Ranking, verified: Bool[Tensor, " k"], by_range: Bool[Tensor, " k"] | None = None
    ) -> Ranking:
        """The ranking with what can be believed of it; nothing is verified where there is a doubt.

        The confidence p of a group becomes

            factor sigmoid(SLOPE logit p + shift)

        and that of a sample with a column of its own is multiplied by `factor`. A confidence of 0 stays. What follows
        from the range of inputs does not stand on the equation, and is only doubted where class means would follow too.

        Args:
            ranking: samples with columns first, marked as verified, then groups.
            verified: which of them are.
            by_range: which follow from the range of inputs; None: none does.
        """
        p = ranking.confidence.double()
        revised = torch.where(p > 0, (SLOPE * p.logit(1e-6) + self.shift).sigmoid(), 0.0).to(ranking.confidence)
        confidence = self.factor * torch.where(ranking.verified, ranking.confidence, revised)
        if by_range is not None and not self.means and not self.collapse:
            confidence = torch.where(by_range, ranking.confidence, confidence)
        return replace(ranking, confidence=confidence, verified=verified & (not self.doubt))
