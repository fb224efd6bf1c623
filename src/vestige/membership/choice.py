"""Which layers speak, and how much each counts, learned without knowing a single member.

Some of the reference is set aside, and a logistic regression tells it from everything else, candidates and the rest of
the reference together, by the layers' scores. It treats those others alike, so that p-values from the rest of the
reference stay valid whatever it learned (arXiv 2208.06685).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from vestige.core.rng import spawn
from vestige.membership.pool import Pool
from vestige.membership.taps import Layer

SET_ASIDE, FEWEST = 1 / 3, 50  # share of the reference that chooses, and how many that must be


@dataclass(frozen=True)
class Choice:
    """Scores of the pool, what layers count for in them, and the reference samples that had no part in the choice."""

    scores: Float[Tensor, " pool"]
    weights: dict[str, float]
    calibrating: Int[Tensor, " m"]


def default_layers(found: dict[str, Layer], layers: Iterable[str] | str, *, several: bool) -> list[Layer]:
    """The layers that were asked for, or those that usually tell most, the first dense one first.

    Args:
        found: of `read_layers`.
        layers: names, or "auto".
        several: whether there is a reference that can weigh them.

    Raises:
        ValueError: none, frozen or unknown layers.
    """
    if layers != "auto":
        wanted = [layers] if isinstance(layers, str) else list(layers)
        if not wanted or set(wanted) - set(found):
            raise ValueError(f"layers={wanted} given; trainable layers are {list(found)}. Frozen ones learned nothing.")
        return [found[name] for name in wanted]
    of_kind = {
        kind: [each for each in found.values() if each.kind == kind] for kind in ("dense", "convolution", "head")
    }
    usual = [*(of_kind["dense"] or of_kind["convolution"][-1:]), *of_kind["head"]] or list(found.values())[:1]
    if not usual:
        raise ValueError("the model has no trainable weights; frozen ones learned nothing. Set requires_grad.")
    return usual if several else usual[:1]


def choose(scores: dict[str, Float[Tensor, " pool"]], pool: Pool, generator: torch.Generator | None) -> Choice:
    """Combine the layers' scores; without a reference they are added.

    Args:
        scores: of the whole pool, by layer.
        pool: says which of them are the reference.
        generator: deals the reference out.
    """
    count = len(pool.x) - pool.candidates
    aside, names = int(SET_ASIDE * count), list(scores)
    unseen = torch.randperm(count, generator=spawn(generator, "reference")) + pool.candidates
    if len(names) == 1 or count == 0:
        return Choice(torch.stack(list(scores.values())).sum(0), dict.fromkeys(names, 1.0), unseen.sort().values)
    if aside < FEWEST:
        return Choice(scores[names[0]], {names[0]: 1.0}, unseen.sort().values)
    every = torch.stack(list(scores.values()), 1)
    every = every / every[unseen[:aside]].std(0).clamp(min=1e-300)
    other = torch.ones(len(every), dtype=torch.bool).index_fill(0, unseen[:aside], False)
    counts = _nonnegative(every, other)
    return Choice(every @ counts, dict(zip(names, counts.tolist(), strict=True)), unseen[aside:].sort().values)


def _nonnegative(every: Tensor, other: Tensor) -> Tensor:
    """Logistic regression without the layers that get a negative weight: training adds gradients, it takes none off."""
    kept = list(range(every.shape[1]))
    judge = LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000)
    while True:
        found = judge.fit(every[:, kept].numpy(force=True), other.numpy()).coef_[0]
        if found.min() >= 0 or len(kept) == 1:
            break
        kept.pop(found.argmin())
    weights = torch.zeros(every.shape[1]).to(every)
    weights[kept] = torch.from_numpy(found).to(every) if found.max() > 0 else 1.0
    return weights
