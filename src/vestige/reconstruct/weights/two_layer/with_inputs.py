"""More columns where samples are many for the neurons, found together with their inputs.

Known columns leave fewer dimensions for the inputs of the others (`zeros.span`), and with fewer unknowns the neurons
say more: pairs of a column and pre-activations that belong together (`paired.projections`) near the candidates of a
joint search lead to columns that the candidates' gates alone are too wrong for. Of 500 CIFAR-10 images 167 columns
become 198 in this way.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from vestige.core.outcome import OnStep, Step
from vestige.reconstruct.weights.chain import Chain
from vestige.reconstruct.weights.paired.projections import Pairs, pairs_near
from vestige.reconstruct.weights.two_layer.columns import (
    Columns,
    ColumnSpace,
    accepted,
    distinct,
    join,
    measured,
)
from vestige.reconstruct.weights.two_layer.factors import refined_columns, sharpened, with_factors
from vestige.reconstruct.weights.two_layer.in_turn import LEAST, columns_again, samples_of
from vestige.reconstruct.weights.two_layer.relaxation import predicted
from vestige.reconstruct.weights.zeros.layer import FirstLayer, first_layer
from vestige.reconstruct.weights.zeros.span import span_of_others

SAMPLES = 200  # from which on columns are looked for: among 60, pairs of nobody meet most equations
TURNS = 4  # of pairs, at a minute and a half each
GAIN = 0.01  # of the samples: a turn that brings no more is the last
STEPS = 350  # of reflections
BEST = 250  # pairs that are sharpened, those met at most neurons
MET = 0.5  # share of neurons at which a pair must be one; of 500 CIFAR-10 images those of samples reach .8
ROOM = 1.05  # different neurons for each unknown of a pair, without which pairs of nobody meet all equations
ONE = 0.98  # cosine from which two of them are one


def more_columns(
    chain: Chain,
    space: ColumnSpace,
    columns: Columns,
    z: Float[Tensor, "m r"],
    label: Int[Tensor, " m"],
    sample_norm: float,
    metric: Float[Tensor, "r r"] | None,
    *,
    generator: torch.Generator,
    on_step: OnStep | None = None,
) -> tuple[Columns, ColumnSpace]:
    """The columns made more exact, those found with their inputs where samples are not few, and the factors' space.

    Args:
        chain: of two layers, trained with cross-entropy.
        space: its column space.
        columns: known ones.
        z: candidates in span coordinates, of norm `sample_norm`.
        label: their classes.
        sample_norm: rough l_2 norm of a sample.
        metric: rows by which standard normal v become plausible samples of expected norm 1; None: isotropic.
        generator: start of the power iterations.
        on_step: called after every turn with the share of samples that is still missing.
    """
    layer = first_layer(chain)
    columns, factors = refined_columns(space, columns)

    def in_turn(columns: Columns, space: ColumnSpace) -> tuple[Columns, ColumnSpace]:
        samples, _ = samples_of(chain, layer, space, columns, z, sample_norm, metric)
        return columns_again(chain, space, columns, samples, generator=generator)

    columns, space = in_turn(columns, with_factors(space, factors))
    if chain.rank < SAMPLES:
        return columns, space
    competitors, q, _ = predicted(chain, space, z, label)
    full, y = competitors.full(q, label), chain.augmented(z).double() @ layer.right.T
    for turn in range(TURNS):
        unknown = 2 * chain.rank - len(columns) + space.output.shape[1]
        if layer.directions < ROOM * unknown:
            break
        new = _from_pairs(_pairs(layer, space, columns, y, full), space)
        both = join([columns, new[accepted(new, space)]])
        both = both[distinct(both)[: chain.rank]]
        found = len(both) - len(columns)
        columns, space = in_turn(both, space) if found else (columns, space)
        if on_step is not None:
            note = f"columns with inputs: {len(columns)} of {chain.rank} samples"
            on_step(Step(turn + 1, TURNS, 1 - len(columns) / chain.rank, note))
        if found <= GAIN * chain.rank:
            break
    return columns, space


def _from_pairs(pairs: Pairs, space: ColumnSpace) -> Columns:
    """The columns of the best pairs, sharpened."""
    best = pairs.met.argsort(descending=True)[: min(BEST, int((pairs.met >= MET).sum()))]
    new = measured(pairs.s[best].double(), pairs.full[best].double())
    return sharpened(space, new[distinct(new, ONE, merit=pairs.met[best])], LEAST) if len(best) else new


def _pairs(layer: FirstLayer, space: ColumnSpace, columns: Columns, y: Tensor, full: Tensor) -> Pairs:
    """Pairs near candidates, in single precision."""
    span = span_of_others(layer, layer.coordinates(columns.s))
    inputs = F.normalize(layer.slopes, dim=1) @ span
    parts = space.first.float(), space.output.float(), space.alive, space.weight.float()
    u = (y @ span @ inputs.T).float()
    return pairs_near(ColumnSpace(*parts), inputs.float(), u, full.float(), reflect=True, steps=STEPS)
