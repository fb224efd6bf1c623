"""The gap of arXiv 2202.04347 on random samples: a network trained and a network written down for each (d, n)."""

import math
from collections.abc import Sequence

import torch

from vestige.audit.gap import RobustnessGap, robustness_gap
from vestige.core.outcome import OnStep, Step
from vestige.core.rng import child, spawn
from vestige.nets.fully_connected import mlp
from vestige.nets.training import train_to_margin

__all__ = ["RobustnessGap", "robustness_gap", "sphere_robustness_gap"]

SIZES = ((100, 10), (200, 14), (400, 20), (900, 30))  # n = sqrt(d)
FIRST_INIT = 1e-4  # a larger first layer keeps a part outside the span of the samples, and no KKT point is near
LATER_INIT = 0.1


def sphere_robustness_gap(
    sizes: Sequence[tuple[int, int]] = SIZES,
    *,
    width: int = 100,
    tol_loss: float = 1e-8,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> tuple[RobustnessGap, ...]:
    """The gap on random samples of norm sqrt(d) with alternating labels, a network trained for each (d, n).

    Args:
        sizes: pairs (d, n).
        width: hidden neurons; at least n, or training may not fit.
        tol_loss: mean logistic loss at which training ends.
        generator: of samples and networks; None for seed 0.
        on_step: called after each size; its value is the common radius over sqrt(d / n).

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
