"""From everything a search returned to what an auditor reads first: verified samples, then groups that agree."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vestige.core.cite import paper
from vestige.core.outcome import Outcome, Step
from vestige.reconstruct.result import Reconstruction
from vestige.reconstruct.weights.chain import Chain
from vestige.reconstruct.weights.clusters import cluster_candidates, is_collapse
from vestige.reconstruct.weights.two_layer.many_samples import crowded

SAME = 0.95  # cosine from which a candidate counts as the verified sample again
CUT = 0.1  # mean cosine distance within a group: wider ones blend samples that share a class
CROWDED_SAME, CROWDED_CUT = 0.8, 0.2  # where samples are many for the neurons, searches agree on one no better
OFFERED = 2  # samples shown, in units of how many can be told apart; of a crowd, once as many
LIKELY = 0.5  # confidence from which a group is shown beside verified samples of a crowd
SOURCE = (paper("2206.07758"), paper("2305.03350"), paper("2307.01827"))


@dataclass(frozen=True)
class Pool:
    """Everything a search returned, in model space and flattened; `verified` holds samples, multipliers, confidence."""

    x: Float[Tensor, "c d"]
    multipliers: Float[Tensor, "c out"]
    restart: Int[Tensor, " c"]
    residual: Float[Tensor, " restarts"]
    residual_per_layer: dict[str, float]
    verified: tuple[Tensor, Tensor, Tensor] | None
    evaluations: int
    outcome: Outcome
    requested: int | None


def assemble(
    pool: Pool, shape: tuple[int, ...], outputs: int, chain: Chain | None, history: tuple[Step, ...]
) -> Reconstruction:
    """Rank, group and warn."""
    verified = pool.verified or (pool.x[:0], pool.multipliers[:0], pool.residual[:0])
    order = verified[2].argsort(descending=True)
    sure, sure_l, sure_p = (v[order] for v in verified)
    crowd = chain is not None and crowded(chain)
    same, cut = (CROWDED_SAME, CROWDED_CUT) if crowd else (SAME, CUT)
    repeats = _cosine(pool.x, sure)
    near = repeats >= same
    taken = near.any(1)
    cluster = torch.full((len(pool.x),), -1, device=pool.x.device)
    if len(sure):
        cluster[taken] = repeats[taken].argmax(1)
    free = (~taken).nonzero().flatten()
    size = pool.multipliers.double().norm(dim=1)  # a search that diverged is finite and may have no norm in float32
    groups = cluster_candidates(pool.x[free], pool.restart[free], size[free], cut=cut) if len(free) else None
    samples, confidence = [sure], [sure_p]
    support, spread, cotangents = [_support(near, pool.restart)], [_spread(near, repeats)], [sure_l]
    if groups is not None:
        samples.append(groups.representative)
        confidence.append(groups.confidence.to(sure_p))
        support.append(groups.support)
        spread.append(groups.spread)
        cotangents.append(torch.stack([pool.multipliers[free[m]].mean(0) for m in groups.members]))
        for k, members in enumerate(groups.members):
            cluster[free[members]] = len(sure) + k
    samples, confidence, cotangents = torch.cat(samples), torch.cat(confidence), torch.cat(cotangents)
    # More than twice as many as can be told apart would only raise the bar that chance sets.
    if crowd and len(sure):
        offered = slice(len(sure) + int((confidence[len(sure) :] >= LIKELY).sum()))
    else:
        offered = slice(None if chain is None or not chain.clear else (1 if crowd else OFFERED) * chain.rank)
    samples, cotangents = samples[offered], cotangents[offered]
    cluster = torch.where(cluster < len(samples), cluster, -1)
    return Reconstruction(
        samples=samples.reshape(-1, *shape),
        confidence=confidence[offered],
        support=torch.cat(support)[offered],
        spread=torch.cat(spread).to(sure_p)[offered],
        cotangents=cotangents,
        label=_labels(cotangents),
        verified=torch.arange(len(samples), device=pool.x.device) < len(sure),
        candidates=pool.x.reshape(-1, *shape),
        candidate_cotangents=pool.multipliers,
        restart=pool.restart,
        cluster=cluster,
        residual=pool.residual,
        residual_per_layer=pool.residual_per_layer,
        history=history,
        singular_values=pool.x.new_zeros(0) if chain is None else chain.singular_values,
        identifiable=0 if chain is None else chain.rank,
        collapse=(collapse := is_collapse(pool.x, max(2, outputs))),
        gradient_evaluations=pool.evaluations,
        outcome=pool.outcome,
        warnings=_warnings(pool, chain, collapse),
        source=SOURCE,
    )


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    return torch.nn.functional.normalize(a, dim=1) @ torch.nn.functional.normalize(b, dim=1).T


def _support(near: Bool[Tensor, "c k"], restart: Tensor) -> Tensor:
    found = [restart[n].unique().numel() for n in near.T]
    return torch.tensor(found, dtype=torch.long, device=restart.device).clamp(min=1)


def _spread(near: Bool[Tensor, "c k"], repeats: Tensor) -> Tensor:
    means = [1 - repeats[n, k].mean() if n.any() else repeats.new_zeros(()) for k, n in enumerate(near.T)]
    return torch.stack(means) if means else repeats.new_zeros(0)


def _labels(cotangents: Tensor) -> Tensor:
    return (cotangents[:, 0] > 0).long() if cotangents.shape[1] == 1 else cotangents.argmax(1)


def _warnings(pool: Pool, chain: Chain | None, collapse: bool) -> tuple[str, ...]:
    said = []
    if chain is None:
        said.append(
            "No ReLU MLP: the search ran in input space, where far fewer samples are found; no sample is verified."
        )
    elif not chain.clear:
        said.append(
            "The singular values of the first layer neither have a gap nor end in noise: more samples were trained on "
            f"than its {chain.rank} directions tell apart, or training left its initialization above them; single "
            "samples cannot be verified."
        )
    if chain is not None and pool.requested is not None and chain.clear and pool.requested > 4 * chain.rank:
        said.append(f"n_candidates={pool.requested} given; the first layer tells at most {chain.rank} samples apart.")
    if collapse:
        said.append(
            "The candidates collapse to about one per class: what is shown are class means, not single samples."
        )
    if pool.outcome is Outcome.NOT_FINITE:
        said.append("A search became NaN or infinite; its last finite state was kept.")
    return tuple(said)
