"""Trained beside constructed: how far each of two networks of two layers stands from its samples (arXiv 2202.04347).

The network that training finds falls, on every sample at once, at about R / sqrt(n) along one direction; the network
that can be written down stands up to about R / 2. The gap grows with n.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vestige.attack.theory.decision_margin import Pair
from vestige.attack.theory.universal import UniversalPerturbation, universal_margin_perturbation
from vestige.construct.robust.two_layer import RobustNetwork, robust_two_layer
from vestige.core.cite import Paper
from vestige.core.outcome import OnStep, Step
from vestige.core.rng import child, spawn
from vestige.nets.mlp import mlp
from vestige.nets.training import train_to_margin

SIZES = ((100, 10), (200, 14), (400, 20), (900, 30))  # n = sqrt(d)
FIRST_INIT, LATER_INIT = (
    1e-4,
    0.1,
)  # a larger first layer stays outside the span of the samples, and no KKT point is near


@dataclass(frozen=True, eq=False)
class RobustnessGap:
    """One training set, two networks.

    Args:
        dimension: d.
        samples: n.
        trained: what flips the trained network.
        constructed: the robust network and its certified radius.
        flipped: samples whose sign the constructed network changes at the trained network's common radius along its
            direction.
        warnings: of the perturbation.
        source: the paper.
    """

    dimension: int
    samples: int
    trained: UniversalPerturbation
    constructed: RobustNetwork
    flipped: int
    warnings: tuple[str, ...]
    source: tuple[Paper, ...]

    @property
    def gap(self) -> float:
        """Certified radius of the constructed network over the common radius of the trained one."""
        return self.constructed.radius / self.trained.radius


def robustness_gap(
    model: nn.Module,
    x: Float[Tensor, "n ..."],
    y: Int[Tensor, " labels"],
    *,
    margin_tol: float = 0.1,
    pair: Pair | None = None,
    generator: torch.Generator | None = None,
) -> RobustnessGap:
    """Put the direction that fools a trained network beside the network that it does not fool.

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
    >>> round(both.trained.radius, 6), both.constructed.radius
    (1.414214, 1.0)
    """
    found = universal_margin_perturbation(model, x, y, margin_tol=margin_tol, pair=pair, generator=generator)
    binary = y if pair is None else (y == pair[0]).long()
    built = robust_two_layer(x, binary)
    sign = torch.where(binary > 0, 1.0, -1.0)
    flipped = 0
    if math.isfinite(found.radius):
        step = sign.reshape(-1, *(1,) * (x.ndim - 1)) * found.radius * found.direction
        with torch.no_grad():
            flipped = int((sign * built.module((x - step).to(x.dtype))[:, 0] <= 0).sum())
    flat = x.flatten(1)
    return RobustnessGap(flat.shape[1], len(flat), found, built, flipped, found.warnings, found.source)


def sphere_robustness_gap(
    sizes: Sequence[tuple[int, int]] = SIZES,
    *,
    width: int = 100,
    tol_loss: float = 1e-8,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> tuple[RobustnessGap, ...]:
    """The gap on random samples of norm sqrt(d) with labels in turn, a network trained for each (d, n).

    Args:
        sizes: pairs (d, n).
        width: hidden neurons; at least n, or training may not fit.
        tol_loss: mean logistic loss at which training ends.
        generator: of samples and networks; None for seed 0.
        on_step: called after each size; its value is c sqrt(n / d).

    Raises:
        ValueError: n below 2 or d below 1, or a network that did not fit its samples.
    """
    if not all(d >= 1 and n >= 2 for d, n in sizes):
        raise ValueError(f"sizes={list(sizes)} given; pairs (d, n) with d >= 1 and n >= 2 are needed.")
    found = []
    for number, (d, n) in enumerate(sizes, 1):
        draw = spawn(generator, "sphere", str(d), str(n))
        x = torch.randn((n, d), generator=draw, dtype=torch.float64)
        x, y = x * math.sqrt(d) / x.norm(dim=1, keepdim=True), torch.arange(n) % 2
        start = mlp(
            [d, width, 1],
            first_init=FIRST_INIT,
            init_scale=LATER_INIT,
            generator=child(draw.initial_seed(), "network"),
            dtype=torch.float64,
        )
        trained = train_to_margin(start, x, y, loss="logistic", tol_loss=tol_loss)
        found.append(robustness_gap(trained.model, x, y, generator=draw))
        if on_step is not None:
            on_step(Step(number, len(sizes), found[-1].trained.ratio, f"d = {d}, n = {n}"))
    return tuple(found)
