"""What every joint search of one reconstruction has in common."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vestige.core.descent import Checkpoint
from vestige.core.outcome import OnStep
from vestige.reconstruct.weights.chain import Chain
from vestige.reconstruct.weights.directions import Directions
from vestige.reconstruct.weights.joint import Joint, search
from vestige.reconstruct.weights.two_layer.many_samples import has_many_samples

STEPS = 1500  # of one search
CANDIDATES = 40  # of a restart where the first layer does not count the samples
RESTARTS = 4  # of deeper networks and of other modules


@dataclass(frozen=True)
class SearchSettings:
    """The settings of its joint searches.

    Every second round goes without `labeled` and `metric`: they find most samples at once, and keep away from others.
    Among many samples nothing is found without them.
    """

    sample_norm: float
    layer_weights: list[float]
    zero_sum: bool
    labeled: bool
    metric: Tensor | None
    box: tuple[Tensor, Tensor] | None
    steps: int
    generator: torch.Generator
    on_step: OnStep | None = None

    def start_norm(self, chain: Chain) -> float:
        """Where the range of inputs holds candidates together, a wide start finds more (digits: 19 of 20, not 15)."""
        return self.sample_norm if self.box is None or has_many_samples(chain) else 2 * self.sample_norm

    def sharpness(self, chain: Chain) -> tuple[float, float]:
        """Likewise gates may become sharper; of 500 photographs softer ones bring 110 above a cosine of .8, not 54."""
        return (20.0, 100.0) if self.box is None or has_many_samples(chain) else (50.0, 300.0)

    def search(
        self,
        chain: Chain,
        *,
        candidates: int,
        restarts: int,
        informed: bool = True,
        known: Tensor | None = None,
        directions: Directions | None = None,
        generator: torch.Generator,
        note: str = "",
        checkpoint: Checkpoint | None,
    ) -> Joint:
        """A joint search; without labels and metric where not `informed`, orthogonal to the `known` columns."""
        return search(
            chain,
            candidates=candidates,
            restarts=restarts,
            steps=self.steps,
            sample_norm=self.start_norm(chain),
            sharpness=self.sharpness(chain),
            layer_weights=self.layer_weights if known is None else [1.0] + [0.0] * (len(chain.weights) - 1),
            zero_sum=self.zero_sum,
            labeled=self.labeled and informed,
            metric=self.metric if informed else None,
            known=known,
            directions=directions,
            box=self.box,
            generator=generator,
            on_step=self.on_step,
            note=note,
            checkpoint=checkpoint,
        )
