"""Which class is nearest? The order in which targets are tried (MALT, arXiv 2407.02240, section 3).

Networks are nearly linear on the scale of adversarial perturbations, so that the distance to the boundary with class c
is about

    score_c = (z_y - z_c) / |grad_x (z_c - z_y)|_q,      1/p + 1/q = 1,

and the smallest score is tried first. Naive targeting takes the largest logit.
"""

import torch
from torch import Tensor

from vestige.attack.classifier import Classifier, Inputs, Labels
from vestige.attack.problem import MALT, Case, check_counts, open_case
from vestige.attack.result import TargetRanking
from vestige.core.choices import ChoiceEnum
from vestige.core.cite import paper
from vestige.core.space import InputSpace
from vestige.core.threat import Norm, Threat

MEMORY = 2**26  # values of gradients held at once
ANY_RADIUS = 1e-9  # the order does not depend on it


class Order(ChoiceEnum):
    """How targets are ordered."""

    MALT = "malt"
    LOGIT = "logit"


@torch.inference_mode(False)
def rank_targets(
    model: Classifier,
    x: Inputs,
    y: Labels,
    *,
    norm: Norm | str | float | int = Norm.LINF,
    space: InputSpace | None = None,
    order: Order | str = Order.MALT,
    top_k: int = 100,
    n_targets: int = 9,
    batch_size: int = 256,
) -> TargetRanking:
    """Rank the classes of each sample by the first-order distance to their boundary with its label.

    Args:
        model: in evaluation mode; returns logits, see `vestige.attack.evaluate_robustness`.
        x: clean inputs in data space.
        y: true classes.
        norm: of distances; the gradient is measured in the dual norm.
        space: box and normalization of the inputs; None for [0, 1] and none.
        order: "malt", or "logit" for the largest logits.
        top_k: classes with the largest logits, which are differentiated; at most all but y.
        n_targets: classes returned; at most top_k.
        batch_size: samples of any pass through the model.

    Raises:
        ValueError: see `vestige.attack.problem`, or counts below 1.

    >>> linear = torch.nn.Linear(2, 3)
    >>> weight = torch.tensor([[0.0, 0.0], [1.0, 1.0], [8.0, 0.0]])
    >>> _ = linear.weight.data.copy_(weight), linear.bias.data.copy_(torch.tensor([0.0, -1.0, -2.0]))
    >>> found = rank_targets(linear.eval(), torch.zeros(1, 2), torch.tensor([0]))
    >>> found.classes.tolist(), found.scores.tolist()  # 2 / 8 before 1 / 2, though its logit is lower
    ([[2, 1]], [[0.25, 0.5]])
    """
    check_counts(top_k=top_k, n_targets=n_targets, batch_size=batch_size)
    case = open_case(model, x, y, Threat(ANY_RADIUS, norm, space), batch_size=batch_size)
    rows = torch.arange(len(case.x), device=case.x.device)
    classes, scores, logits = rank_classes(case, rows, Order(order), top_k, n_targets)
    return TargetRanking(classes, scores, logits, case.oracle.gradients, (paper(MALT),))


def rank_classes(case: Case, rows: Tensor, order: Order, top_k: int, n_targets: int) -> tuple[Tensor, Tensor, Tensor]:
    """Classes, best first, their scores, and the logits of the samples at `rows`."""
    width = min(top_k, case.classes - 1)
    kept = min(n_targets, width)
    per_chunk = max(1, min(case.oracle.batch_size, MEMORY // max(1, case.x[0].numel() * width)))
    chunks = [_rank_chunk(case, part, order, width, kept) for part in rows.split(per_chunk) if len(part)]
    if not chunks:
        nothing = case.x.new_zeros((0, kept))
        return nothing.long(), nothing, case.x.new_zeros((0, case.classes))
    classes, scores, logits = (torch.cat(parts) for parts in zip(*chunks, strict=True))
    return classes, scores, logits


def _rank_chunk(case: Case, rows: Tensor, order: Order, width: int, kept: int) -> tuple[Tensor, Tensor, Tensor]:
    x, y = case.x[rows], case.y[rows]
    logits = case.oracle.logits(x)
    others = logits.scatter(1, y[:, None], -torch.inf)
    near = others.topk(width if order is Order.MALT else kept, 1).indices
    gap = logits.gather(1, y[:, None]) - logits.gather(1, near)
    if order is Order.LOGIT:
        return near, gap, logits
    _, slopes = case.oracle.class_gradients(x, y, near)
    size = torch.linalg.vector_norm(slopes.flatten(2), ord=case.norm.dual, dim=2)
    scores = torch.where(size > 0, gap / size.clamp(min=1e-37), torch.inf)
    best = scores.sort(dim=1, stable=True)
    return near.gather(1, best.indices)[:, :kept], best.values[:, :kept], logits
