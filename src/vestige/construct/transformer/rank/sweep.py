"""Train torch's encoder to find the farthest point, with the same attention weights in heads of any rank."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from vestige.construct.transformer.rank.nearest import sphere_points
from vestige.core.cite import Paper, paper
from vestige.core.descent import Checkpoint, Descent, Within, fit
from vestige.core.outcome import OnStep, Outcome
from vestige.core.rng import spawn

HELD_OUT, DECAY, BETAS, WARM_UP = 1024, 0.0, (0.9, 0.95), 0.05  # the last three as in the authors' code


class ScaledUnit(nn.Module):
    """x / |x| times one number that is trained, in the place of a LayerNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) -> (..., dim)."""
        return self.scale * nn.functional.normalize(x, dim=-1)


@dataclass(frozen=True, kw_only=True)
class RankFit:
    """How well heads of one rank fit.

    Attributes:
        rank: of each head: dim / heads.
        heads: of the layer.
        error: E |f - T|^2 on new points; 1 for the answer 0.
        losses: of the training, one for each step.
        outcome: of the training.
    """

    rank: int
    heads: int
    error: float
    losses: tuple[float, ...] = field(repr=False)
    outcome: Outcome
    source: tuple[Paper, ...] = field(default=(paper("2407.16153"),), repr=False)


def rank_sweep(
    dim: int,
    n: int,
    ranks: Sequence[int],
    *,
    hidden: int = 64,
    steps: int = 1500,
    batch_size: int = 128,
    learning_rate: float | int = 0.01,
    generator: torch.Generator | None = None,
    checkpoint: Checkpoint | None = None,
    on_step: OnStep | None = None,
) -> tuple[RankFit, ...]:
    """One layer of `nn.TransformerEncoder` for each rank, trained to answer each of n points with the farthest one.

    All have dim / rank heads and so as many attention weights. LayerNorms are replaced by x / |x| times a number.

    Args:
        dim: of the points.
        n: points of a sample, uniform on the sphere.
        ranks: of the heads, each a divisor of dim.
        hidden: neurons of the MLP.
        steps: of AdamW on fresh points, a warm-up and a cosine schedule.
        batch_size: samples of a step.
        learning_rate: at its largest.
        generator: None for seed 0.
        checkpoint: where trainings are saved now and then, and read from.
        on_step: told the loss.

    Raises:
        ValueError: a rank that does not divide dim.
    """
    if not ranks or any(rank < 1 or dim % rank for rank in ranks):
        raise ValueError(f"ranks={list(ranks)} given; divisors of dim={dim} are needed.")
    found = []
    for rank in ranks:
        model, draw = _start(dim, dim // rank, hidden, spawn(generator, "start", str(rank))), spawn(generator, "points")
        optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=BETAS, weight_decay=DECAY)
        schedule = _schedule(optimizer, steps)
        fitted = fit(
            lambda k, model=model, draw=draw: _error(model, dim, n, batch_size, spawn(draw, str(k))),
            Descent(optimizer, schedule),
            steps=steps,
            checkpoint=None if checkpoint is None else Within(checkpoint, f"rank {rank}", {}),
            on_step=on_step,
            note=f"rank {rank}",
        )
        with torch.no_grad():
            error = float(_error(model, dim, n, HELD_OUT, spawn(generator, "held out")))
        losses = tuple(fitted.values.tolist())
        found.append(RankFit(rank=rank, heads=dim // rank, error=error, losses=losses, outcome=fitted.outcome))
    return tuple(found)


def _schedule(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    """A linear warm-up, then a cosine to 0."""
    warm = max(1, round(WARM_UP * steps))
    rise = torch.optim.lr_scheduler.LinearLR(optimizer, 1 / warm, total_iters=warm)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps - warm))
    return torch.optim.lr_scheduler.SequentialLR(optimizer, [rise, fall], [warm])


def _start(dim: int, heads: int, hidden: int, draw: torch.Generator) -> nn.TransformerEncoderLayer:
    layer = nn.TransformerEncoderLayer(dim, heads, hidden, dropout=0.0, batch_first=True, device="meta")
    layer = layer.to_empty(device="cpu").float().train()
    layer.add_module("norm1", ScaledUnit())
    layer.add_module("norm2", ScaledUnit())
    with torch.no_grad():
        for name, p in layer.named_parameters():
            if p.ndim:  # the scales of the norms stay 1
                bound = 0.0 if "bias" in name else p.shape[-1] ** -0.5
                p.copy_(bound * (2 * torch.rand(p.shape, generator=draw) - 1))
    return layer


def _error(model: nn.Module, dim: int, n: int, batch: int, draw: torch.Generator) -> Tensor:
    x = sphere_points(dim, n, batch, generator=draw)[:, :n].float()
    worst = (x @ x.transpose(1, 2)).argmin(2)
    wanted = x.gather(1, worst[..., None].expand_as(x))
    return (model(x) - wanted).square().sum(2).mean()
