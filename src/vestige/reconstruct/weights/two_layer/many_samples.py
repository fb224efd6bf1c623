"""Columns where samples are many for the neurons, so that the gates of candidates are too wrong to find them from.

Candidates first pass a linear program that corrects their gates (`two_layer.relaxation`), and what it
explains best is fitted. A column that is nearly right gives an input (`two_layer.posterior_mean`), whose gates are
better than those of the candidate, and the input a column again.

Before all that, independent searches are averaged: where half of a candidate is error, errors of two searches have a
cosine of about .4 and those of a sample and its estimate none.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from vestige.reconstruct.weights.chain import Chain
from vestige.reconstruct.weights.two_layer.columns import (
    MANY,
    Columns,
    ColumnSpace,
    accepted,
    apart,
    column_lengths,
    distinct,
    fit_columns,
    join,
)
from vestige.reconstruct.weights.two_layer.in_turn import clear_gates, nearest, samples_of
from vestige.reconstruct.weights.two_layer.posterior_mean import CLOSE, input_from_gates
from vestige.reconstruct.weights.two_layer.relaxation import opened, relaxed_columns
from vestige.reconstruct.weights.zeros.layer import first_layer

RELAXED = 700  # candidates that are relaxed, the most promising
SCREENED = 300  # and fitted, those that the relaxation explains best: at 500 samples a second each
SAME = 0.9  # cosine from which two averages count as one candidate
ALTERNATIONS = 45  # between gates and column: 95 verified, where 30 verify 80 and 20 verify 32
CYCLES = 2  # times that columns which are not verified yet give inputs, and those columns again: 80; a third finds 85


def has_many_samples(chain: Chain) -> bool:
    """Whether the samples are many for the neurons; never where so many can not be told apart."""
    return len(chain.weights) == 2 and chain.clear and chain.rank > MANY * len(chain.weights[0])


def agreed(
    z: Float[Tensor, "restarts m r"], label: Int[Tensor, "restarts m"]
) -> tuple[Float[Tensor, "k r"], Int[Tensor, " k"]]:
    """Candidates averaged over searches: of norm 1, those first on which the searches agree best, near copies dropped.

    Each candidate is averaged with the most similar one of its class in every other search. Of three searches for 500
    CIFAR-10 images each comes above a cosine of .8 with 110 to 128 samples, their averages with 177; the first 200
    averages hold 102 samples.
    """
    unit = F.normalize(z, dim=2)
    order = z.flatten(0, 1).norm(dim=1).argsort(descending=True)  # alone, a search is believed where it is longest
    every, of = unit.flatten(0, 1)[order], label.flatten()[order]
    mean, agreement = torch.zeros_like(every), every.new_zeros(len(every))
    for candidates, classes in zip(unit, label, strict=True):
        cosine = (every @ candidates.T).masked_fill(of[:, None] != classes, -1.0)
        nearest = cosine.max(1)
        agreement += nearest.values
        mean += torch.where(nearest.values[:, None] > -1, candidates[nearest.indices], 0.0)
    best = agreement.argsort(descending=True, stable=True)
    mean, of = F.normalize(mean[best], dim=1), of[best]
    kept = apart(mean @ mean.T >= SAME)
    return mean[kept], of[kept]


def fit_many_columns(
    chain: Chain,
    space: ColumnSpace,
    z: Float[Tensor, "m r"],
    label: Int[Tensor, " m"],
    sample_norm: float,
    metric: Float[Tensor, "r r"] | None,
    *,
    generator: torch.Generator,
) -> Columns:
    """Columns near candidates of a network trained with cross-entropy.

    Args:
        chain: of two layers.
        space: its column space.
        z: candidates in span coordinates, the most promising first.
        label: their classes.
        sample_norm: rough l_2 norm of a sample.
        metric: rows by which standard normal v become plausible samples; None: isotropic.
        generator: start of the power iterations.
    """
    columns = latest = _relaxed(chain, space, z[:RELAXED], label[:RELAXED], generator)
    for _ in range(CYCLES):
        missed = latest[~accepted(latest, space)]
        if not len(missed):
            break
        missed = missed[missed.fits.argsort(descending=True)[: SCREENED // 2]]
        moved, near = _moved_to_gates(chain, space, missed, z, sample_norm, metric)
        latest = _relaxed(chain, space, moved, label[near], generator)
        columns = join([columns, latest])
    return columns


def _relaxed(chain: Chain, space: ColumnSpace, z: Tensor, label: Tensor, generator: torch.Generator) -> Columns:
    """Columns of the candidates that the linear program explains best."""
    columns = relaxed_columns(chain, space, z, label)
    columns = columns[torch.arange(min(len(columns), SCREENED), device=z.device)]
    columns = fit_columns(space, space.at_all(opened(columns)), generator=generator, rounds=ALTERNATIONS)
    columns = columns[distinct(columns)]  # several candidates lead to the same one, whose gates are mostly right
    return fit_columns(space, space.at_all(opened(columns)), generator=generator, rounds=ALTERNATIONS)


def _moved_to_gates(
    chain: Chain,
    space: ColumnSpace,
    columns: Columns,
    z: Float[Tensor, "m r"],
    sample_norm: float,
    metric: Float[Tensor, "r r"] | None,
) -> tuple[Float[Tensor, "k r"], Int[Tensor, " k"]]:
    """For each column the candidate that agrees best with its gates, moved to them, and which it is."""
    weight, bias, gates = chain.weights[0], chain.biases[0], space.at_all(clear_gates(columns))
    z = sample_norm * F.normalize(z, dim=1)
    near = nearest(chain, gates, z)
    moved, _ = input_from_gates(weight, bias, gates, z[near], metric, chain.brightness, trust=CLOSE)
    return moved.to(weight), near


def samples_of_some(
    chain: Chain,
    space: ColumnSpace,
    columns: Columns,
    z: Float[Tensor, "m r"],
    sample_norm: float,
    metric: Float[Tensor, "r r"] | None,
) -> tuple[Float[Tensor, "k r"], Float[Tensor, "k out"], Float[Tensor, " k"]]:
    """Samples, multipliers and how similar the samples should be, where most columns are unknown.

    Args:
        chain: of two layers.
        space: its column space.
        columns: known ones.
        z: candidates in span coordinates, of norm `sample_norm`.
        sample_norm: rough l_2 norm of a sample.
        metric: rows by which standard normal v become plausible samples of expected norm 1; None: isotropic.
    """
    like = chain.weights[0]
    likely, similar = samples_of(chain, first_layer(chain), space, columns, z, sample_norm, metric)
    x, s, full = (part.to(like) for part in (chain.augmented(likely), columns.s, columns.full))
    first = chain.first_augmented()[space.alive]
    scale = column_lengths(s, x, first)
    last = chain.weights[1][:, space.alive]
    return likely.to(like), torch.linalg.lstsq(last.T, (full * scale[:, None]).T).solution.T, similar.to(like)
