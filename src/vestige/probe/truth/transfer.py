"""How a truth probe does on topics that it was not fitted on; a topic is centered by its own mean, without labels."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.metrics import roc_auc_score
from torch import Tensor

from vestige.core.cite import Paper
from vestige.core.rng import child
from vestige.probe.truth.cooccurrence import SOURCE
from vestige.probe.truth.folds import FOLDS, held_out_auc
from vestige.probe.truth.probes import ProbeKind, TruthProbe


@dataclass(frozen=True, eq=False)
class ProbeTransfer:
    """How a probe does within a topic and on others.

    Attributes:
        topics: in order of their names.
        auc: of a probe fitted on one topic (row) and tested on another (column); on the diagonal cross-validated by
            groups.
        left_out: of a probe fitted on all topics but this one; NaN where there is one topic only.
        shuffled: the diagonal with labels shuffled: what chance reaches.
        warnings: what a reader must know.
        source: the paper.
    """

    topics: tuple[str, ...]
    auc: Float[Tensor, "topics topics"]
    left_out: Float[Tensor, " topics"]
    shuffled: Float[Tensor, " topics"]
    warnings: tuple[str, ...]
    source: tuple[Paper, ...] = field(default=SOURCE, repr=False)


def probe_transfer(
    x: Float[Tensor, "n d"],
    y: Int[Tensor, " n"],
    topics: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
    kind: ProbeKind | str = ProbeKind.MASS_MEAN,
    regularization: float = 1.0,
) -> ProbeTransfer:
    """Fit a probe on each topic and test it on all, on each topic's own mean.

    Args:
        x: activations.
        y: 1 for true.
        topics: of each statement.
        groups: statements of one group, such as one subject, never stand on both sides of a split; None for each alone.
        kind: "mass_mean" or "logistic".
        regularization: as `TruthProbe`.

    Raises:
        ValueError: other numbers of topics or groups than of statements, a topic of one class or of fewer than 10
            statements, or "ccs", which needs pairs.

    >>> x, y = torch.tensor([[1.0, 0.0]] * 6 + [[-1.0, 0.1]] * 6), torch.tensor([1] * 6 + [0] * 6)
    >>> two = probe_transfer(torch.cat([x, x + 9]), torch.cat([y, y]), ["a"] * 12 + ["b"] * 12)
    >>> two.auc.tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    chosen = ProbeKind(kind)
    if chosen is ProbeKind.CCS:
        raise ValueError("ccs given; it needs pairs of opposite statements. Fit TruthProbe('ccs') on each topic.")
    names = tuple(sorted(set(topics)))
    parts = _parts(x, y, topics, groups, names)
    probe = TruthProbe(str(chosen), regularization=regularization)
    auc = torch.zeros(len(names), len(names), dtype=torch.float64)
    left_out, shuffled = (torch.full((len(names),), torch.nan, dtype=torch.float64) for _ in range(2))
    for i, part in enumerate(parts):
        found = probe.fit(part.x, part.y)
        for j, other in enumerate(parts):
            auc[i, j] = roc_auc_score(other.y, found.decision_function(other.x, mean=0.0))
        auc[i, i] = held_out_auc(probe, part.x, part.y, part.groups)
        order = torch.randperm(len(part.y), generator=child(i, "shuffled")).numpy()
        shuffled[i] = held_out_auc(probe, part.x, part.y[order], part.groups)
        rest = [p for j, p in enumerate(parts) if j != i]
        if rest:
            found = probe.fit(np.concatenate([p.x for p in rest]), np.concatenate([p.y for p in rest]))
            left_out[i] = roc_auc_score(part.y, found.decision_function(part.x, mean=0.0))
    alone = groups is None
    notes = ("Each statement is its own group: statements about one subject may stand on both sides.",) if alone else ()
    return ProbeTransfer(names, auc, left_out, shuffled, notes)


@dataclass(frozen=True)
class _Part:
    x: np.ndarray
    y: np.ndarray
    groups: np.ndarray


def _parts(
    x: Tensor, y: Tensor, topics: Sequence[str], groups: Sequence[str] | None, names: Sequence[str]
) -> list[_Part]:
    groups = [str(i) for i in range(len(x))] if groups is None else groups
    if not len(x) == len(y) == len(topics) == len(groups):
        raise ValueError(
            f"{len(x)} activations, {len(y)} labels, {len(topics)} topics and {len(groups)} groups given; one of each "
            "for every statement is needed."
        )
    found = []
    for name in names:
        kept = torch.tensor([topic == name for topic in topics])
        rows, labels = x[kept].numpy(force=True).astype(np.float64), y[kept].numpy(force=True)
        inner = np.array([g for g, k in zip(groups, kept.tolist(), strict=True) if k])
        if len(np.unique(labels)) != 2 or len(rows) < 2 * FOLDS or len(set(inner)) < FOLDS:
            raise ValueError(
                f"topic {name!r} has {len(rows)} statements in {len(set(inner))} groups, of {len(np.unique(labels))} "
                f"class; {2 * FOLDS} statements in {FOLDS} groups, true and false ones, are needed."
            )
        found.append(_Part(rows - rows.mean(0), labels, inner))
    return found
