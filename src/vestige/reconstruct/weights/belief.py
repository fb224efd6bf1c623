"""How far a reconstruction can be believed, from the weights alone: what the equation explains, and what it can tell.

Restarts that agree agree on a solution of the equation. It is about training samples only where the network satisfies
the equation at all, and where the equation has no other solutions:

- e, the share of the first layer's square that the best restart explains, is near 1 at the end of a training with
  weight decay or a large margin; it is a fifth for an ordinary network under Adam;
- a hyperplane separates any labels of up to about 2 points a dimension (Cover 1965). With d different neurons for n
  samples that can be told apart, d < 2 n, gates that agree say little, and at d = n nothing;
- with no more than one sample a class that can be told apart, class means solve the equation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from vestige.reconstruct.weights.ranking import Ranking

EXPLAINED = 0.5  # of the first layer: below it nothing is verified
MEANS = (
    "the first layer tells no more samples apart than there are classes, so that class means explain it as well as "
    "samples would"
)


def explained(residual_per_layer: Mapping[str, float]) -> float:
    """e: 1 minus the relative squared residual of the first layer, in [0, 1]; 1 where there is none."""
    return min(1.0, max(0.0, 1 - next(iter(residual_per_layer.values()), 0.0)))


@dataclass(frozen=True)
class Grounds:
    """What a reconstruction stands on.

    Attributes:
        explained: share of the first layer that the best restart explains, in [0, 1].
        samples: how many can be told apart; 0 where the first layer does not count them.
        directions: different neurons of the first layer; 0 likewise.
        classes: of the network, 2 for one output.
        collapse: whether candidates fall together to class means.
    """

    explained: float
    samples: int
    directions: int
    classes: int
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

    def tempered(self, ranking: Ranking) -> Ranking:
        """The ranking with confidence times `factor`; nothing is verified where there is a doubt."""
        verified = torch.zeros_like(ranking.verified) if self.doubt else ranking.verified
        return replace(ranking, confidence=ranking.confidence * self.factor, verified=verified)
