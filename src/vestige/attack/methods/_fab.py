"""FAB: walk along the decision boundary towards the clean sample (arXiv 1907.02044).

The boundary with class t is replaced by the tangent plane of z_t - z_y at the iterate. The next iterate lies a little
beyond the projections of the iterate and of the clean point onto that plane, mixed; a success is followed by a step
back towards the clean point. The result is a small perturbation rather than a large loss; whether it lies within eps is
checked at the end.
"""

import torch
from jaxtyping import Int
from torch import Tensor

from vestige.attack.classifier import Classifier, Inputs, Labels
from vestige.attack.methods.balls import project
from vestige.attack.methods.halfspace import nearest
from vestige.attack.problem import FAB, Case, check_counts, open_case, read_targets
from vestige.attack.result import AttackResult
from vestige.core.outcome import OnStep, Step
from vestige.core.space import InputSpace, lp_norm, per_sample
from vestige.core.threat import Norm, Radius, Threat

BIAS, OVERSHOOT, BACKWARD = 0.1, 1.05, 0.9
REFINEMENTS = 5  # bisections between the clean sample and what was found


@torch.inference_mode(False)
def fab(
    model: Classifier,
    x: Inputs,
    y: Labels,
    *,
    eps: Radius,
    norm: Norm | str | float | int = Norm.LINF,
    space: InputSpace | None = None,
    targets: Int[Tensor, " n *k"] | None = None,
    must_reach: bool = False,
    steps: int = 100,
    batch_size: int = 256,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> AttackResult:
    """Search for a misclassified point near x, and keep it where it lies within eps.

    Args:
        model: in evaluation mode; returns logits (n, classes), see `vestige.attack.evaluate_robustness`.
        x: clean inputs in data space.
        y: true classes.
        eps, norm, space: the threat model, see `vestige.core.threat.Threat`; one eps, or one a sample.
        targets: classes to move to, one or several a sample in the order to try them; None: whichever tangent plane is
            nearest at each step, which differentiates every class.
        must_reach: only the target counts as success; else any class but y.
        steps: of each search.
        batch_size: samples of any pass through the model.
        generator: not used: FAB starts at the clean sample.
        on_step: told how many samples are done.

    Raises:
        ValueError: as for `apgd`.

    >>> linear = torch.nn.Linear(2, 2, bias=False)
    >>> _ = linear.weight.data.copy_(torch.tensor([[2.0, 0.0], [0.0, 2.0]]))
    >>> x, y = torch.tensor([[0.6, 0.4], [0.9, 0.1]]), torch.tensor([0, 0])
    >>> fab(linear.eval(), x, y, eps=0.101).success.tolist()  # the boundary is at 0.1 and at 0.4
    [True, False]
    """
    check_counts(steps=steps, batch_size=batch_size)
    case = open_case(model, x, y, Threat(eps, norm, space), must_reach=must_reach, batch_size=batch_size)
    found = read_targets(targets, case)
    done, total = 0, len(case.to_attack())
    for rows in case.to_attack().split(batch_size):
        for place in range(1 if found is None else found.shape[1]):
            left = rows[~case.success[rows]]
            if len(left):
                _walk(case, left, None if found is None else found[left, place], place, steps)
        done += len(rows)
        if on_step is not None:
            on_step(Step(done, total, 1 - float(case.success.double().mean()), "fab"))
    return case.result(FAB)


def _walk(case: Case, rows: Tensor, target: Tensor | None, place: int, steps: int) -> None:
    """One search of some samples; those whose best point lies within eps are recorded."""
    x, at = case.x[rows], case.x[rows]
    best, least = x.clone(), torch.full_like(case.eps[rows], torch.inf)
    for _ in range(steps):
        logits, w, gap = _plane(case, at, rows, target)
        fooled = case.fooled(logits, rows, target)
        best, least = _kept(best, least, at, lp_norm(at - x, case.norm.p), fooled)
        forward = torch.where(per_sample(fooled, x), x + BACKWARD * (at - x), at)
        at = _onward(case, x, forward, at, w, gap)
    fooled = case.fooled(case.oracle.logits(at), rows, target)
    best, least = _kept(best, least, at, lp_norm(at - x, case.norm.p), fooled)
    best, least = _refined(case, rows, target, best, least)
    won = least <= case.eps[rows]
    if bool(won.any()):
        inside = project(best[won], x[won], case.eps[rows[won]], case.oracle.box, case.norm)
        reached = None if target is None else target[won]
        case.record(rows[won], inside, reached, None if target is None else torch.full_like(rows[won], place))


def _kept(best: Tensor, least: Tensor, at: Tensor, size: Tensor, fooled: Tensor) -> tuple[Tensor, Tensor]:
    better = fooled & (size < least)
    return torch.where(per_sample(better, at), at, best), torch.where(better, size, least)


def _plane(case: Case, at: Tensor, rows: Tensor, target: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, the normal of the tangent plane, and how much z_t - z_y is missing to the boundary."""
    y = case.y[rows]
    if target is not None:
        classes = target[:, None]
    else:
        every = torch.arange(case.classes, device=y.device).expand(len(y), -1)
        classes = every[every != y[:, None]].reshape(len(y), -1)
    logits, slopes = case.oracle.class_gradients(at, y, classes)
    gaps = logits.gather(1, y[:, None]) - logits.gather(1, classes)
    if classes.shape[1] > 1:
        size = torch.linalg.vector_norm(slopes.flatten(2), ord=case.norm.dual, dim=2)
        far = torch.where(size > 0, gaps.abs() / size.clamp(min=1e-30), torch.inf)
        pick = far.argmin(1, keepdim=True)
        slopes = slopes[torch.arange(len(y), device=y.device), pick[:, 0]][:, None]
        gaps = gaps.gather(1, pick)
    return logits, slopes[:, 0], gaps[:, 0]


def _onward(case: Case, x: Tensor, current: Tensor, seen: Tensor, w: Tensor, gap: Tensor) -> Tensor:
    """A mixture of the projections of the iterate and of the clean point onto the plane tangent at `seen`."""
    low, high = case.oracle.box
    flat = w.flatten(1)

    def onto_plane(point: Tensor) -> Tensor:
        missing = gap - (flat * (point - seen).flatten(1)).sum(1)
        beyond = missing < 0  # on the far side: come back to the plane from there
        normal = torch.where(beyond[:, None], -flat, flat)
        room = (low - point).flatten(1), (high - point).flatten(1)
        return nearest(normal, missing.abs(), *room, case.norm).reshape(point.shape)

    step, clean = onto_plane(current), onto_plane(x)
    sizes = lp_norm(step, case.norm.p), lp_norm(clean, case.norm.p)
    share = per_sample((sizes[0] / (sizes[0] + sizes[1]).clamp(min=1e-30)).clamp(max=BIAS), x)
    mixed = (1 - share) * (current + OVERSHOOT * step) + share * (x + OVERSHOOT * clean)
    return torch.nan_to_num(mixed).clamp(low, high)


def _refined(case: Case, rows: Tensor, target: Tensor | None, best: Tensor, least: Tensor) -> tuple[Tensor, Tensor]:
    """Bisection on the segment between the clean sample and what was found."""
    x = case.x[rows]
    inner, outer = torch.zeros_like(least), torch.ones_like(least)
    for _ in range(REFINEMENTS):
        middle = (inner + outer) / 2
        at = x + per_sample(middle, x) * (best - x)
        fooled = case.fooled(case.oracle.logits(at), rows, target)
        inner, outer = torch.where(fooled, inner, middle), torch.where(fooled, middle, outer)
    found = torch.isfinite(least)
    point = torch.where(per_sample(found, x), x + per_sample(outer, x) * (best - x), best)
    return point, torch.where(found, lp_norm(point - x, case.norm.p), least)
