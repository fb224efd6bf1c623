"""Which layers speak, and how much each counts, learned without knowing a single member.

Some of the reference is set aside, and a logistic regression tells it from everything else, candidates and the rest of
the reference together, by the layers' scores, and once more by what the outputs say too. Whether outputs count is
decided by how many of the others pass the threshold that few of those set aside pass: they tell members from others
where the network fits members alone, and hide them where easy samples are fitted as well. All this treats the others
alike, so that p-values from the rest of the reference stay valid whatever was learned (arXiv 2208.06685).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from vestige.core.rng import spawn
from vestige.membership.coefficients import EXACT
from vestige.membership.outputs import OWN_LOSS, SHIFTS
from vestige.membership.pool import Pool
from vestige.membership.taps import Layer

SET_ASIDE, FEWEST = 1 / 3, 50  # share of the reference that chooses, and how many that must be
ROUNDING = 1e-9
RARE = 0.02  # false positives at which choices are compared; fewer are too few of a hundred samples


@dataclass(frozen=True)
class Choice:
    """Scores of the pool, what layers count for in them, and the reference samples that had no part in the choice."""

    scores: Float[Tensor, " pool"]
    weights: dict[str, float]
    calibrating: Int[Tensor, " m"]


def default_layers(found: dict[str, Layer], layers: Iterable[str] | str, *, several: bool, samples: int) -> list[Layer]:
    """The layers that were asked for, or those that usually tell most: dense ones, then the last convolution.

    A convolution's rows are many and are made anew for each product, so that large pools are spared it.

    Args:
        found: of `read_layers`.
        layers: names, or "auto".
        several: whether there is a reference that can weigh them; else the first alone is taken.
        samples: of the pool.

    Raises:
        ValueError: none, frozen or unknown layers.
    """
    if layers != "auto":
        wanted = [layers] if isinstance(layers, str) else list(layers)
        if not wanted or set(wanted) - set(found):
            raise ValueError(f"layers={wanted} given; trainable layers are {list(found)}. Frozen ones learned nothing.")
        return [found[name] for name in wanted]
    usual = [each for kind in ("dense", "head") for each in found.values() if each.kind == kind]
    if samples <= EXACT or not usual:
        usual += [each for each in found.values() if each.kind == "convolution"][-1:]
    usual = usual or list(found.values())[:1]
    if not usual:
        raise ValueError("the model has no trainable weights; frozen ones learned nothing. Set requires_grad.")
    return usual if several else usual[:1]


def choose(scores: dict[str, Float[Tensor, " pool"]], pool: Pool, generator: torch.Generator | None) -> Choice:
    """Combine the layers' scores; without a reference they are added, each in its own standard deviations.

    Args:
        scores: of the whole pool, by layer, and then what the outputs say (`output_scores`).
        pool: says which of them are the reference.
        generator: deals the reference out.
    """
    aside, names = int(SET_ASIDE * pool.unseen), list(scores)
    unseen = torch.randperm(pool.unseen, generator=spawn(generator, "reference")) + pool.candidates
    if len(names) == 1 or (pool.unseen and aside < FEWEST):
        return Choice(scores[names[0]], {names[0]: 1.0}, unseen.sort().values)
    chosen, rest = unseen[:aside], unseen[aside:].sort().values
    every = _standard(torch.stack(list(scores.values()), 1), chosen if pool.unseen else slice(None))
    if not pool.unseen:
        return Choice(every.sum(1), dict.fromkeys(names, 1.0), rest)
    other = torch.ones(len(every), dtype=torch.bool).index_fill(0, chosen, False)
    of_layers = len(set(names) - {OWN_LOSS, SHIFTS})
    counts = [_nonnegative(every, other, columns) for columns in sorted({of_layers, len(names)})]
    best = max(counts, key=lambda each: _passing(every @ each, other))
    return Choice(every @ best, dict(zip(names, best.tolist(), strict=True)), rest)


def _standard(every: Tensor, of: Tensor | slice) -> Tensor:
    """In standard deviations of some of the rows; a column without any there says nothing."""
    mean, spread = every[of].mean(0), every[of].std(0, correction=0)
    constant = spread <= ROUNDING * every.abs().amax(0)
    return torch.where(constant, 0.0, (every - mean) / spread)


def _passing(scores: Tensor, other: Tensor) -> int:
    return int((scores[other] > scores[~other].quantile(1 - RARE)).sum())


def _nonnegative(every: Tensor, other: Tensor, columns: int) -> Tensor:
    """Logistic regression on the first columns, less those that get a negative weight.

    Training adds gradients and lowers losses; it takes none off.
    """
    kept = list(range(columns))
    judge = LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000)
    while True:
        found = judge.fit(every[:, kept].numpy(force=True), other.numpy()).coef_[0]
        if found.min() >= 0 or len(kept) == 1:
            break
        kept.pop(found.argmin())
    weights = torch.zeros(every.shape[1]).to(every)
    weights[kept] = torch.from_numpy(found).to(every) if found.max() > 0 else 1.0
    return weights
