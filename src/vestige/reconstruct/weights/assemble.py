"""From everything a search returned to what an auditor reads first: verified samples, then groups that agree."""

import torch

from vestige.core.cite import paper
from vestige.core.outcome import Outcome, Step
from vestige.reconstruct.result import Reconstruction
from vestige.reconstruct.weights.belief import Grounds, explained, fall_of
from vestige.reconstruct.weights.chain import Chain
from vestige.reconstruct.weights.clusters import is_collapse
from vestige.reconstruct.weights.pool import Pool
from vestige.reconstruct.weights.ranking import CUT, SAME, Ranking, rank_candidates
from vestige.reconstruct.weights.two_layer.many_samples import has_many_samples

SAME_OF_MANY, CUT_OF_MANY = 0.8, 0.2  # where samples are many for the neurons, searches agree on one no better
ALONE = 1e-9  # cut that groups nothing
OFFERED = 2  # samples shown, in units of how many can be told apart; once as many where they are many for the neurons
LIKELY = 0.5  # confidence from which a group is shown beside verified samples where samples are many for the neurons
SOURCE = (paper("2206.07758"), paper("2305.03350"), paper("2307.01827"))


def assemble(
    pool: Pool, shape: tuple[int, ...], outputs: int, chain: Chain | None, history: tuple[Step, ...]
) -> Reconstruction:
    """Rank, group, weigh and warn; candidates that became NaN or infinite are no candidates."""
    pool = pool.finite
    solved = pool.solved or (pool.x[:0], pool.multipliers[:0], pool.residual[:0], pool.residual[:0] > 0)
    order = (solved[2] + solved[3].to(solved[2])).argsort(descending=True)
    many = chain is not None and has_many_samples(chain)
    same, cut = (SAME, ALONE) if pool.whole else (SAME_OF_MANY, CUT_OF_MANY) if many else (SAME, CUT)
    best_first, sure = (solved[0][order], solved[1][order], solved[2][order]), solved[3][order]
    ranking = rank_candidates(pool.x, pool.multipliers, pool.restart, best_first, same=same, cut=cut)
    by_range = order >= len(order) - pool.by_range
    sure, by_range = (torch.cat([part, part.new_zeros(len(ranking.samples) - len(part))]) for part in (sure, by_range))
    grounds = _grounds(pool, max(2, outputs), chain)
    believed = grounds.tempered(ranking, sure, by_range)
    doubt = "" if (by_range & (believed.confidence > 0)).any() else grounds.doubt
    if not pool.whole:
        believed = believed.first(_offered(believed, len(order), chain, many)).likeliest_first()
    return Reconstruction(
        **believed.fields(shape),
        candidates=pool.x.reshape(-1, *shape),
        candidate_cotangents=pool.multipliers,
        restart=pool.restart,
        residual=pool.residual,
        residual_per_layer=pool.residual_per_layer,
        history=history,
        singular_values=pool.x.new_zeros(0) if chain is None else chain.singular_values,
        identifiable=0 if chain is None else chain.rank,
        directions=grounds.directions,
        collapse=grounds.collapse,
        doubt=doubt,
        gradient_evaluations=pool.evaluations,
        outcome=pool.outcome,
        warnings=_warnings(pool, chain, grounds.collapse, doubt),
        source=SOURCE,
    )


def _grounds(pool: Pool, classes: int, chain: Chain | None) -> Grounds:
    return Grounds(
        explained=explained(pool.residual_per_layer),
        samples=0 if chain is None else chain.rank,
        directions=0 if chain is None else chain.directions,
        classes=classes,
        fall=0.0 if chain is None else fall_of(chain.singular_values, chain.rank),
        collapse=is_collapse(pool.x, classes),
    )


def _offered(ranking: Ranking, solved: int, chain: Chain | None, many: bool) -> int | None:
    """How many samples to show: more than twice as many as can be told apart would only raise the bar of chance."""
    if many and solved:
        return solved + int((ranking.confidence[solved:] >= LIKELY).sum())
    if chain is None or not chain.clear:
        return None
    return (1 if many else OFFERED) * chain.rank


def _warnings(pool: Pool, chain: Chain | None, collapse: bool, doubt: str) -> tuple[str, ...]:
    said = []
    if chain is None:
        said.append(
            "Not a ReLU MLP with a trained first layer (another kind of network, or this layer is frozen): the search "
            "ran in input space, where far fewer samples are found; no sample is verified."
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
            "The candidates collapse to about one per class: each may show the mean of its class, not a single sample."
        )
    elif doubt:
        said.append(f"Single samples cannot be told: {doubt}.")
    if pool.outcome is Outcome.NOT_FINITE:
        said.append("A search became NaN or infinite; what was finite last is kept.")
    return tuple(said)
