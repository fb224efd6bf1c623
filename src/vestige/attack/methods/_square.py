"""Square: random search with square patches, without a gradient (arXiv 1912.00049).

For l_inf the perturbation is +-eps everywhere, in vertical stripes at first; each query repaints one square and keeps
the change where it raises the margin. For l_2 and l_1 a square takes the mass of another one and gets a bump in its
place. The side of the squares shrinks with the queries spent.
"""

import math

import torch
from jaxtyping import Int
from torch import Tensor

from vestige.attack.classifier import Classifier, Inputs, Labels
from vestige.attack.methods.balls import project
from vestige.attack.methods.losses import AttackLoss, objective
from vestige.attack.problem import SQUARE, Case, check_counts, open_case, read_targets
from vestige.attack.result import AttackResult
from vestige.core.outcome import OnStep, Step
from vestige.core.rng import spawn
from vestige.core.space import InputSpace, per_sample
from vestige.core.threat import Norm, Radius, Threat

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of 10,000 queries
FIRST_SHARE = 0.8  # of the features that the first squares cover


@torch.inference_mode(False)
def square(
    model: Classifier,
    x: Inputs,
    y: Labels,
    *,
    eps: Radius,
    norm: Norm | str | float | int = Norm.LINF,
    space: InputSpace | None = None,
    targets: Int[Tensor, " n *k"] | None = None,
    must_reach: bool = False,
    queries: int = 5000,
    batch_size: int = 256,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> AttackResult:
    """Search the ball without gradients; each sample takes part until its first success.

    Inputs other than images (channel first) are treated as one row of pixels.

    Args:
        model: in evaluation mode; returns logits (n, classes), see `vestige.attack.evaluate_robustness`.
        x: clean inputs in data space.
        y: true classes.
        eps, norm, space: the threat model, see `vestige.core.threat.Threat`; one eps, or one a sample.
        targets: class to move to, (n,) or (n, k), of which the first counts; None: away from y.
        must_reach: only the target counts as success; else any class but y.
        queries: of each sample.
        batch_size: samples of any pass through the model.
        generator: of the squares; None for seed 0.
        on_step: told how many samples are done.

    Raises:
        ValueError: as for `apgd`.
    """
    check_counts(queries=queries, batch_size=batch_size)
    threat = Threat(eps, norm, space)
    case = open_case(model, x, y, threat, must_reach=must_reach, batch_size=batch_size)
    every = read_targets(targets, case)
    found = None if every is None else every[:, 0]
    total, done = len(case.to_attack()), 0
    for part in case.to_attack().split(batch_size):
        draw = spawn(generator, "square", str(int(part[0])))
        _search(case, part, None if found is None else found[part], queries, draw)
        done += len(part)
        if on_step is not None:
            on_step(Step(done, total, 1 - float(case.success.double().mean()), "square"))
    return case.result(SQUARE)


def share_of_features(query: int, queries: int) -> float:
    """Share of the features that the square of this query covers: 0.8, halved as the queries go."""
    scaled = query / queries * 10_000
    return FIRST_SHARE / 2 ** sum(scaled > each for each in HALVINGS)


def _search(case: Case, rows: Tensor, target: Tensor | None, queries: int, draw: torch.Generator) -> None:
    shape = case.x.shape[1:] if case.x.ndim == 4 else (1, 1, case.x[0].numel())
    paint = _repaint_signs if case.norm is Norm.LINF else _move_mass
    delta = _first(case, case.eps[rows].double(), shape, draw).to(case.x)
    best = torch.full_like(case.eps[rows], -torch.inf)
    for query in range(queries):
        x, eps = case.x[rows].reshape(-1, *shape), case.eps[rows]
        tried = delta if query == 0 else paint(case, delta, eps, share_of_features(query, queries), draw)
        at = project(x + tried, x, eps, case.oracle.box, case.norm)
        logits = case.oracle.logits(at.reshape(-1, *case.x.shape[1:]))
        value = objective(AttackLoss.MARGIN, case.y[rows], target, reach=case.must_reach)(logits)
        better = value > best
        best, delta = torch.where(better, value, best), torch.where(per_sample(better, delta), at - x, delta)
        won = case.fooled(logits, rows, target)
        if bool(won.any()):
            place = None if target is None else torch.zeros_like(rows[won])
            hit = at[won].reshape(-1, *case.x.shape[1:])
            case.record(rows[won], hit, None if target is None else target[won], place)
            rows, delta, best = rows[~won], delta[~won], best[~won]
            target = None if target is None else target[~won]
            if not len(rows):
                return


def _signs(shape: tuple[int, ...], draw: torch.Generator) -> Tensor:
    return 2 * torch.randint(0, 2, shape, generator=draw, dtype=torch.float64) - 1


def _first(case: Case, eps: Tensor, shape: torch.Size | tuple[int, ...], draw: torch.Generator) -> Tensor:
    n, (channels, height, width) = len(eps), shape
    if case.norm is Norm.LINF:
        stripes = _signs((n, channels, 1, width), draw).to(eps)
        return (per_sample(eps, stripes) * stripes).expand(n, *shape)
    side = max(1, math.ceil(math.sqrt(height * width) / 5))
    tile = _bump(side if height > 1 else 1, side)
    grid = _signs((n, channels, -(-height // tile.shape[0]), -(-width // side)), draw)
    full = torch.kron(grid, tile.expand(1, 1, -1, -1))[:, :, :height, :width].to(eps)
    return per_sample(eps, full) * full / _size(full, case.norm.p)


def _bump(height: int, width: int) -> Tensor:
    """Rings that fall off from the center as sum_{k >= r} 1 / (k + 1)^2, r being the distance to the center."""
    i, j = torch.arange(height)[:, None], torch.arange(width)[None]
    ring = torch.maximum((2 * i - (height - 1)).abs() // 2, (2 * j - (width - 1)).abs() // 2)
    levels = 1 / (torch.arange(int(ring.max()) + 1, dtype=torch.float64) + 1).square()
    return levels.flip(0).cumsum(0).flip(0)[ring]


def _windows(like: Tensor, share: float, draw: torch.Generator) -> tuple[Tensor, Tensor, int, int]:
    """For each sample the row and column of every pixel within one random window, and the window's sides."""
    n, _, height, width = like.shape
    side = max(1, round(math.sqrt(share * height * width)))
    tall, wide = min(side, height), min(side if height > 1 else max(1, round(share * width)), width)
    top = torch.randint(0, height - tall + 1, (n, 1, 1, 1), generator=draw).to(like.device)
    left = torch.randint(0, width - wide + 1, (n, 1, 1, 1), generator=draw).to(like.device)
    i = torch.arange(height, device=like.device).reshape(1, 1, -1, 1) - top
    j = torch.arange(width, device=like.device).reshape(1, 1, 1, -1) - left
    return i, j, tall, wide


def _inside(window: tuple[Tensor, Tensor, int, int]) -> Tensor:
    i, j, tall, wide = window
    return (i >= 0) & (i < tall) & (j >= 0) & (j < wide)


def _repaint_signs(case: Case, delta: Tensor, eps: Tensor, share: float, draw: torch.Generator) -> Tensor:
    window = _inside(_windows(delta, share, draw))
    color = _signs((*delta.shape[:2], 1, 1), draw).to(delta) * per_sample(eps, delta)
    return torch.where(window, color, delta)


def _move_mass(case: Case, delta: Tensor, eps: Tensor, share: float, draw: torch.Generator) -> Tensor:
    """Empty one window, and add to another a bump that brings the perturbation back to the sphere."""
    p = case.norm.p
    window, other = _windows(delta, share, draw), _inside(_windows(delta, share, draw))
    i, j, tall, wide = window
    inside = _inside(window)
    table = _bump(tall, wide).to(delta)
    bump = torch.where(inside, table[i.clamp(0, tall - 1), j.clamp(0, wide - 1)], 0.0)
    here = torch.where(inside, delta, 0.0)
    old = here / _size(here, p).clamp(min=1e-12)
    new = bump / _size(bump, p) * _signs((*delta.shape[:2], 1, 1), draw).to(delta) + old
    kept = torch.where(inside | other, 0.0, delta)
    left = (per_sample(eps, delta) ** p - _size(kept, p) ** p).clamp(min=0) ** (1 / p)
    return kept + new / _size(new, p).clamp(min=1e-12) * left


def _size(x: Tensor, p: float) -> Tensor:
    return per_sample(torch.linalg.vector_norm(x.flatten(1), ord=p, dim=1), x)
