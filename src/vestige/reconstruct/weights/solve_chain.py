"""A ReLU MLP with a first layer in the span of the samples: by zeros, by corners, by searches, in that order."""

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vestige.core.descent import Checkpoint, Within
from vestige.core.outcome import Outcome
from vestige.core.rng import spawn
from vestige.reconstruct.image_prior import has_spectrum, image_metric, is_photograph
from vestige.reconstruct.weights.chain import Chain
from vestige.reconstruct.weights.corners import SURE, accounted, solve_by_corners
from vestige.reconstruct.weights.directions import directions_of
from vestige.reconstruct.weights.joint import Joint, layer_weights
from vestige.reconstruct.weights.paired.solver import solve_paired
from vestige.reconstruct.weights.paired.together import solve_together
from vestige.reconstruct.weights.pool import Pool, pool_of_joints, pool_of_samples
from vestige.reconstruct.weights.problem import Problem
from vestige.reconstruct.weights.remaining import search_for_others
from vestige.reconstruct.weights.search_settings import CANDIDATES, RESTARTS, STEPS, SearchSettings
from vestige.reconstruct.weights.two_layer.many_samples import has_many_samples
from vestige.reconstruct.weights.two_layer.solver import solve_two_layer
from vestige.reconstruct.weights.zeros.samples import multipliers_of
from vestige.reconstruct.weights.zeros.solver import ENOUGH, ByZeros, is_sparse, solve_by_zeros

VERIFIED = 0.25  # share of the samples of a two-layer network that the zeros must verify
BACKED = 0.5  # share of the columns of more than FEW samples that a second layer must confirm
AVERAGED = 3  # searches with many samples per neuron: five bring 189 of 500 above a cosine of .8, three 177, one 120
FEW = 50  # samples up to which a search is so cheap that six restarts and more candidates are taken


def solve_chain(problem: Problem, chain: Chain) -> Pool:
    """By the zeros of the columns; else by corners of what span and range leave, and by searches."""
    spread, box = problem.spread_and_box(chain)
    settings = SearchSettings(
        sample_norm=spread * math.prod(problem.shape) ** 0.5,
        layer_weights=layer_weights(chain, problem.weight_decay),
        zero_sum=problem.zero_sum,
        labeled=problem.zero_sum,
        metric=image_metric(chain.basis, problem.shape) if is_photograph(problem.shape) else None,
        box=box,
        steps=problem.steps or STEPS,
        generator=problem.generator,
        on_step=problem.recorder,
    )
    count = problem.n_candidates or (3 if chain.rank <= FEW else 2) * chain.rank
    by_zeros = _by_zeros(problem, chain, settings)
    if by_zeros is not None:
        solved = by_zeros.z @ chain.basis.T, by_zeros.multipliers, by_zeros.confidence, by_zeros.verified
        return pool_of_samples(solved, by_zeros.residual, by_zeros.starts, by_zeros.outcome, problem.n_candidates)
    corners = _corners(problem, chain, settings)
    if len(corners) >= ENOUGH * chain.rank:
        multipliers, residual = accounted(chain, corners)
        confidence = torch.full_like(corners[:, 0], SURE)
        solved = corners @ chain.basis.T, multipliers, confidence, confidence > 1
        pool = pool_of_samples(solved, residual, 0, Outcome.CONVERGED, problem.n_candidates)
        return replace(pool, by_range=len(corners))
    pool = _by_search(problem, chain, settings, count)
    if not len(corners):
        return pool
    corners = _corners(problem, chain, settings, known=corners, candidates=pool.finite.x @ chain.basis)
    multipliers = multipliers_of(chain, corners)
    return pool.preferring(corners @ chain.basis.T, multipliers, torch.full_like(corners[:, 0], SURE))


def _corners(problem: Problem, chain: Chain, settings: SearchSettings, **near: Tensor) -> Tensor:
    """Samples that their range tells; again near candidates, where a search brought some."""
    if settings.box is None:
        return chain.weights[0].new_zeros(0, chain.basis.shape[1])
    return solve_by_corners(
        chain,
        settings.box,
        sample_norm=settings.sample_norm,
        generator=problem.generator,
        on_step=problem.recorder,
        checkpoint=_part(problem.checkpoint, "corners near" if near else "corners"),
        **near,
    )


def _by_search(problem: Problem, chain: Chain, settings: SearchSettings, count: int) -> Pool:
    """Two layers sample by sample, more of them by a joint search, and columns with their inputs."""
    if len(chain.weights) == 2:
        few = chain.rank <= FEW
        restarts = problem.restarts or (6 if few else AVERAGED if has_many_samples(chain) else 1)
        part = _part(problem.checkpoint, "columns")
        end = solve_two_layer(chain, settings, candidates=count, restarts=restarts, checkpoint=part)
        pool = pool_of_joints(end.joints, chain.basis, problem.n_candidates)
        solved = end.z @ chain.basis.T, end.multipliers, end.confidence, end.verified
        pool = replace(pool, solved=solved, evaluations=end.steps, outcome=end.outcome)
        return _with_pairs(problem, chain, settings, pool, torch.cat([joint.z.flatten(0, 1) for joint in end.joints]))
    return _deep(problem, chain, settings, count)


def _deep(problem: Problem, chain: Chain, settings: SearchSettings, count: int) -> Pool:
    """By a joint search, and from its candidates by columns with their inputs where these can be told."""
    joint = settings.search(
        chain,
        candidates=count,
        restarts=problem.restarts or RESTARTS,
        directions=directions_of(chain),
        generator=spawn(problem.generator, "joint"),
        checkpoint=_part(problem.checkpoint, "joint"),
    )
    pool = pool_of_joints([joint], chain.basis, problem.n_candidates)
    return _with_pairs(problem, chain, settings, pool, joint.z.flatten(0, 1))


def _with_pairs(problem: Problem, chain: Chain, settings: SearchSettings, pool: Pool, z: Tensor) -> Pool:
    """The samples of columns that are found with their inputs, or of all at once, beside those of the pool."""
    # A reference moves the target away from the weights that decide the gates.
    if problem.reference is not None or pool.outcome is Outcome.NOT_FINITE:
        return pool

    def others(known: Tensor, number: int, checkpoint: Checkpoint | None) -> Joint:
        return search_for_others(
            chain,
            settings,
            known,
            candidates=max(CANDIDATES, 2 * (chain.rank - len(known))),
            restarts=problem.restarts or RESTARTS,
            generator=spawn(problem.generator, "others", str(number)),
            checkpoint=checkpoint,
        )

    told: dict[str, Any] = {"sample_norm": settings.sample_norm, "metric": settings.metric}
    told |= {"generator": problem.generator, "on_step": problem.recorder}
    end = solve_paired(chain, z, others=others, checkpoint=_part(problem.checkpoint, "pairs"), **told)
    if end is not None:
        pool = pool.with_joints(end.joints, chain.basis)
    if end is None or len(end.z) < chain.rank:  # of the few samples of a small network some columns are no sample's
        end = solve_together(chain, checkpoint=_part(problem.checkpoint, "together"), **told) or end
    if end is None:
        return pool
    return pool.beside(end.z @ chain.basis.T, end.multipliers, end.confidence)


def _by_zeros(problem: Problem, chain: Chain, settings: SearchSettings) -> ByZeros | None:
    """None where too few columns are found: those may be class means, and samples do not follow from them."""
    # A reference moves the target away from the weights that decide the gates.
    if problem.reference is not None or not is_sparse(chain):
        return None

    def search(known: Tensor, draw: torch.Generator, checkpoint: Checkpoint | None) -> Tensor:
        return settings.search(
            chain,
            candidates=max(CANDIDATES, 2 * (chain.rank - known.shape[1])),
            restarts=1,
            known=known.to(chain.weights[0]) if known.shape[1] else None,
            generator=draw,
            note=f"{known.shape[1]} of {chain.rank} samples known",
            checkpoint=checkpoint,
        ).z.flatten(0, 1)

    end = solve_by_zeros(
        chain,
        sample_norm=settings.sample_norm,
        metric=image_metric(chain.basis, problem.shape) if has_spectrum(problem.shape) else None,
        box=settings.box,
        generator=problem.generator,
        search=search if len(chain.weights) == 2 and chain.rank > FEW else None,
        on_step=problem.recorder,
        checkpoint=_part(problem.checkpoint, "zeros"),
    )
    return end if _enough(end, chain) else None


def _enough(end: ByZeros, chain: Chain) -> bool:
    """Whether samples follow from the columns found: nearly all of deep networks, and in two layers no mixtures.

    There a second layer confirms half of many columns; of few none may be missing, since the searches for them bring
    sharper samples than all columns but one, and a quarter must be verified.
    """
    if len(chain.weights) > 2:
        return len(end.z) >= ENOUGH * chain.rank
    if chain.rank > FEW:
        return end.confirmed >= BACKED * chain.rank
    return len(end.z) == chain.rank and int(end.verified.sum()) >= VERIFIED * chain.rank


def _part(checkpoint: Checkpoint | None, name: str) -> Checkpoint | None:
    """The checkpoint of one stage, beside what the others left: it may take minutes to find again."""
    if checkpoint is None:
        return None
    others = {key: part for key, part in (checkpoint.load() or {}).items() if not key.startswith(f"{name}/")}
    return Within(checkpoint, name, others)
