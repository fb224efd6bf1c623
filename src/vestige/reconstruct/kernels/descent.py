"""The published attack by queries (arXiv 2505.19019 and its code): points and coefficients fitted to the scores.

    minimize over x, a:  mean_j | sum_i k(z_j, x_i) a_i - f(z_j) |^2  +  0.1 n (mean of squared excess over the range)

with Adam and one cycle of the step size. It needs no structure of the kernel; with fewer than n (d + C) / C queries the
points are not determined, and several times as many help.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vestige.core.descent import Checkpoint, Descent, fit
from vestige.core.outcome import OnStep, Outcome, Step
from vestige.reconstruct.kernels.black_box import BlackBox
from vestige.reconstruct.kernels.functions import Kernel, Polynomial, ReLUTangent

BETAS, EPS = (0.9, 0.99), 1e-15
CYCLE = {"three_phase": True, "pct_start": 0.15, "div_factor": 10.0, "final_div_factor": 100.0}
PENALTY = 0.1
REPORT_EVERY = 50


@dataclass(frozen=True)
class Pace:
    """Standard deviations at the start and step sizes, of points and of coefficients."""

    start_points: float = 0.3
    start_weights: float = 0.05
    rate_points: float = 2e-2
    rate_weights: float = 1e-2


def published_pace(kernel: Kernel) -> Pace:
    """Of the authors' code, for inputs standardized per channel; for the NTK, inputs of mean norm 1."""
    if isinstance(kernel, ReLUTangent):
        return Pace(0.1, 0.5, 1e-4, 1e-3)
    if isinstance(kernel, Polynomial):
        return Pace(rate_points=5e-3, rate_weights=5e-3)
    return Pace()


@dataclass(frozen=True, eq=False)
class Fit:
    """Points and coefficients of least loss, that loss relative to the scores' mean square, and why it stopped."""

    points: Float[Tensor, "n d"]
    coefficients: Float[Tensor, "n out"]
    loss: float
    outcome: Outcome


def fit_machine(
    kernel: Kernel,
    z: Float[Tensor, "m d"],
    scores: Float[Tensor, "m out"],
    n: int,
    *,
    steps: int = 20_000,
    batch: int = 4_096,
    bounds: tuple[Tensor, Tensor] | None = None,
    pace: Pace | None = None,
    draw: torch.Generator,
    on_step: OnStep | None = None,
    checkpoint: Checkpoint | None = None,
) -> Fit:
    """Descend from random points.

    Args:
        kernel: k.
        z: the queries that were made.
        scores: f at them, without its constant part.
        n: points to fit.
        steps: of Adam.
        batch: queries a step; all of them where they are fewer.
        bounds: least and greatest value of each entry, for the penalty.
        pace: step sizes; None for the published ones.
        draw: random numbers.
        on_step: progress of the descent.
        checkpoint: where the state is saved, and read from if there is one.
    """
    pace = pace or published_pace(kernel)
    points = pace.start_points * torch.randn(n, z.shape[1], generator=draw, dtype=torch.float64)
    weights = pace.start_weights * torch.randn(n, scores.shape[1], generator=draw, dtype=torch.float64)
    both = [points.requires_grad_(), weights.requires_grad_()]
    size = float(scores.square().mean().clamp(min=1e-300))
    best, kept = torch.tensor(math.inf, dtype=torch.float64), [p.detach().clone() for p in both]

    def objective(_k: int) -> Tensor:
        pick = slice(None) if len(z) <= batch else torch.randint(len(z), (batch,), generator=draw)
        loss = (kernel(z[pick], points) @ weights - scores[pick]).square().mean()
        if loss.detach() / size < best:
            for old, new in zip((best, *kept), (loss / size, *both), strict=True):
                old.copy_(new.detach())
        return loss if bounds is None else loss + PENALTY * n * _excess(points, bounds)

    descent = Descent(*_cycle(both, pace, steps), draw, (best, *kept))
    found = fit(objective, descent, steps=steps, checkpoint=checkpoint, on_step=_thinned(on_step, size))
    return Fit(kept[0], kept[1], float(best), found.outcome)


def _cycle(both: list[Tensor], pace: Pace, steps: int) -> tuple[torch.optim.Adam, torch.optim.lr_scheduler.OneCycleLR]:
    rates = [pace.rate_points, pace.rate_weights]
    groups = [{"params": [p], "lr": rate} for p, rate in zip(both, rates, strict=True)]
    adam = torch.optim.Adam(groups, betas=BETAS, eps=EPS)
    return adam, torch.optim.lr_scheduler.OneCycleLR(adam, rates, total_steps=steps + 1, **CYCLE)


def _thinned(on_step: OnStep | None, size: float) -> OnStep | None:
    def told(step: Step) -> None:
        if on_step is not None and (step.index % REPORT_EVERY == 0 or step.index == step.total):
            on_step(Step(step.index, step.total, step.value / size, "fit"))

    return None if on_step is None else told


def _excess(points: Tensor, bounds: tuple[Tensor, Tensor]) -> Tensor:
    low, high = bounds
    return (points - high).clamp(min=0).square().mean() + (low - points).clamp(min=0).square().mean()


def local_misfit(
    box: BlackBox, kernel: Kernel, found: Fit, draw: torch.Generator, *, tries: int = 4
) -> Float[Tensor, " n"]:
    """Error of the scores close to each point over what the point itself adds there.

    The held-out queries lie a twentieth of the spread of the points away from it.
    """
    box.phase = "check"
    spread = found.points.std(0, correction=0) if len(found.points) > 1 else found.points.abs()[0]
    parts = []
    for _ in range(tries):
        z = found.points + 0.05 * spread * torch.randn(found.points.shape, generator=draw, dtype=torch.float64)
        matrix = kernel(z, found.points)
        own = matrix.diagonal().abs() * found.coefficients.norm(dim=1)
        parts.append((box(z) - matrix @ found.coefficients).norm(dim=1) / own.clamp(min=1e-300))
    return torch.stack(parts).median(0).values.nan_to_num(torch.inf)
