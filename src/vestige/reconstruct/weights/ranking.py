"""Candidates as ranked samples: verified ones first, then groups of those that agree."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vestige.reconstruct.weights.clusters import cluster_candidates

SAME = 0.95  # cosine from which a candidate counts as the verified sample again
SAID = "confidence", "support", "spread", "cotangents", "verified"  # of each sample
CUT = 0.1  # mean cosine distance within a group: wider ones blend samples that share a class


@dataclass(frozen=True, eq=False, kw_only=True)
class Ranking:
    """Samples, most credible first, with what supports them; `cluster` is the sample of each candidate, -1 for none."""

    samples: Float[Tensor, "k d"]
    confidence: Float[Tensor, " k"]
    support: Int[Tensor, " k"]
    spread: Float[Tensor, " k"]
    cotangents: Float[Tensor, "k out"]
    verified: Bool[Tensor, " k"]
    cluster: Int[Tensor, " c"]

    def first(self, count: int | None) -> "Ranking":
        """The same, cut after so many samples; None for all."""
        cluster = torch.where(self.cluster < len(self.samples[:count]), self.cluster, -1)
        return self._of(slice(count), cluster)

    def likeliest_first(self) -> "Ranking":
        """Verified ones, then by confidence."""
        order = (self.confidence + 2 * self.verified).argsort(descending=True, stable=True)
        place = torch.cat([order.argsort(), order.new_tensor([-1])])  # the last one is that of cluster -1
        return self._of(order, place[self.cluster])

    def _of(self, which: slice | Tensor, cluster: Tensor) -> "Ranking":
        return Ranking(samples=self.samples[which], **{k: getattr(self, k)[which] for k in SAID}, cluster=cluster)

    def fields(self, shape: tuple[int, ...]) -> dict[str, Tensor]:
        """Its part of a `Reconstruction`, for inputs of this shape."""
        return {
            **{name: getattr(self, name) for name in SAID},
            "samples": self.samples.reshape(-1, *shape),
            "label": labels_of(self.cotangents),
            "cluster": self.cluster,
        }


def rank_candidates(
    x: Float[Tensor, "c d"],
    multipliers: Float[Tensor, "c out"],
    restart: Int[Tensor, " c"],
    verified: tuple[Tensor, Tensor, Tensor],
    *,
    same: float = SAME,
    cut: float = CUT,
) -> Ranking:
    """Count candidates near a verified sample as its support, and group the others.

    Args:
        x: candidates, flattened.
        multipliers: of each candidate.
        restart: which search each came from.
        verified: samples, multipliers and confidence, best first.
        same: cosine from which a candidate counts as the verified sample again.
        cut: largest mean cosine distance within a group.
    """
    sure, sure_l, sure_p = verified
    repeats = F.normalize(x, dim=1) @ F.normalize(sure, dim=1).T
    near = repeats >= same
    taken = near.any(1)
    cluster = torch.full((len(x),), -1, device=x.device)
    if len(sure):
        cluster[taken] = repeats[taken].argmax(1)
    samples, confidence, cotangents = [sure], [sure_p], [sure_l]
    support, spread = [_support(near, restart)], [_spread(near, repeats)]
    free = (~taken).nonzero().flatten()
    if len(free):
        size = multipliers[free].double().norm(dim=1)  # a diverged search is finite and may have no norm in float32
        groups = cluster_candidates(x[free], restart[free], size, cut=cut)
        samples.append(groups.representative)
        confidence.append(groups.confidence.to(sure_p))
        support.append(groups.support)
        spread.append(groups.spread.to(x))
        cotangents.append(torch.stack([multipliers[free[m]].mean(0) for m in groups.members]))
        for k, members in enumerate(groups.members):
            cluster[free[members]] = len(sure) + k
    ranked = torch.cat(samples)
    return Ranking(
        samples=ranked,
        confidence=torch.cat(confidence),
        support=torch.cat(support),
        spread=torch.cat(spread),
        cotangents=torch.cat(cotangents),
        verified=torch.arange(len(ranked), device=x.device) < len(sure),
        cluster=cluster,
    )


def labels_of(cotangents: Float[Tensor, "k out"]) -> Int[Tensor, " k"]:
    """Output with the largest multiplier; 0 or 1 by its sign for one output."""
    return (cotangents[:, 0] > 0).long() if cotangents.shape[1] == 1 else cotangents.argmax(1)


def _support(near: Bool[Tensor, "c k"], restart: Tensor) -> Tensor:
    found = [restart[n].unique().numel() for n in near.T]
    return torch.tensor(found, dtype=torch.long, device=restart.device).clamp(min=1)


def _spread(near: Bool[Tensor, "c k"], repeats: Tensor) -> Tensor:
    means = [1 - repeats[n, k].mean() if n.any() else repeats.new_zeros(()) for k, n in enumerate(near.T)]
    return torch.stack(means) if means else repeats.new_zeros(0)
