"""Trained against constructed: the robustness of two two-layer networks on the same samples (arXiv 2202.04347).

The trained network changes its prediction on every sample at about R / sqrt(n) along one common direction; the network
that can be written down is robust up to about R / 2. The gap grows with n.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vestige.attack.theory.decision_margin import Pair
from vestige.attack.theory.universal import UniversalPerturbation, universal_margin_perturbation
from vestige.construct.construction import Construction
from vestige.construct.robust.two_layer import robust_two_layer
from vestige.core.cite import Paper
from vestige.core.space import per_sample


@dataclass(frozen=True, eq=False, kw_only=True)
class RobustnessGap:
    """One training set, two networks.

    Attributes:
        dimension: d.
        samples: n.
        trained: the common perturbation of the trained network.
        constructed: the robust network; `numbers["eps"]` is its certified radius.
        flipped: samples on which the constructed network changes its prediction under that perturbation.
        warnings: of the perturbation.
        source: the paper.
    """

    dimension: int
    samples: int
    trained: UniversalPerturbation
    constructed: Construction
    flipped: int
    warnings: tuple[str, ...]
    source: tuple[Paper, ...]

    @property
    def gap(self) -> float:
        """Certified radius of the constructed network over the common radius of the trained one."""
        return self.constructed.numbers["eps"] / self.trained.radius


def robustness_gap(
    model: nn.Module,
    x: Float[Tensor, "n ..."],
    y: Int[Tensor, " labels"],
    *,
    margin_tol: float = 0.1,
    pair: Pair | None = None,
    generator: torch.Generator | None = None,
) -> RobustnessGap:
    """Compare a trained network with a constructed one: one perturbation that fools the former, and its effect on both.

    Args:
        model: the trained network.
        x: its training samples, in model space.
        y: labels of two classes.
        margin_tol: see `universal_margin_perturbation`.
        pair: likewise.
        generator: of its random directions.

    Raises:
        ValueError: as `universal_margin_perturbation` and `robust_two_layer`.

    >>> linear = nn.Linear(2, 1, bias=False)
    >>> _ = nn.init.constant_(linear.weight, 1.0)
    >>> both = robustness_gap(linear, torch.tensor([[2.0, 0.0], [0.0, -2.0]]), torch.tensor([1, 0]))
    >>> round(both.trained.radius, 6), round(both.constructed.numbers["eps"], 6)
    (1.414214, 1.0)
    """
    found = universal_margin_perturbation(model, x, y, margin_tol=margin_tol, pair=pair, generator=generator)
    binary = y if pair is None else (y == pair[0]).long()
    built = robust_two_layer(x, binary)
    sign, flipped = torch.where(binary > 0, 1.0, -1.0), 0
    if math.isfinite(found.radius):
        step = per_sample(sign, x) * found.radius * found.direction
        with torch.no_grad():
            flipped = int((sign * built.network((x - step).to(x.dtype))[:, 0] <= 0).sum())
    return RobustnessGap(
        dimension=x[0].numel(),
        samples=len(x),
        trained=found,
        constructed=built,
        flipped=flipped,
        warnings=found.warnings,
        source=found.source,
    )
