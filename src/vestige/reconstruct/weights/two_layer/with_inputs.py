"""More columns where samples are many for the neurons, found together with their inputs.

Known columns leave fewer dimensions for the inputs of the others (`zeros.span`), and with fewer unknowns the neurons
say more: pairs of a column and pre-activations that belong together (`paired.projections`) near the candidates of a
joint search lead to columns that the candidates' gates alone are too wrong for. Of 500 CIFAR-10 images 167 columns
become 198 in this way.
"""

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
from vestige.reconstruct.weights.two_layer.factors import neuron_factors, refined_columns, sharpened, with_factors
from vestige.reconstruct.weights.two_layer.relaxation import predicted
from vestige.reconstruct.weights.zeros.layer import FirstLayer, first_layer
from vestige.reconstruct.weights.zeros.span import span_of_others

SAMPLES = 200  # from which on columns are looked for: among 60, pairs of nobody meet most equations
TURNS = 4  # of pairs, at a minute and a half each
STEPS = 350  # of reflections
BEST = 250  # pairs that are sharpened, those met at most neurons
MET = 0.5  # share of neurons at which a pair must be one; of 500 CIFAR-10 images those of samples reach .8
ROOM = 1.1  # different neurons for each unknown of a pair, without which pairs of nobody meet all equations
ONE = 0.98  # cosine from which two of them are one
WIDTH, LEAST = 0.02, 0.02  # of the weights, for factors and for columns


def more_columns(
    chain: Chain,
    space: ColumnSpace,
    columns: Columns,
    z: Float[Tensor, "m r"],
    label: Int[Tensor, " m"],
    *,
    on_step: OnStep | None = None,
) -> Columns:
    """The columns made more exact, and those found with their inputs; as they are where samples are few.

    Args:
        chain: of two layers, trained with cross-entropy.
        space: its column space.
        columns: known ones.
        z: candidates in span coordinates.
        label: their classes.
        on_step: called after every turn with the share of samples that is still missing.
    """
    if chain.rank < SAMPLES:
        return columns
    layer = first_layer(chain)
    columns, factors = refined_columns(space, columns)
    competitors, q, _ = predicted(chain, space, z, label)
    full, y = competitors.full(q, label), chain.augmented(z).double() @ layer.right.T
    for turn in range(TURNS):
        unknown = 2 * chain.rank - len(columns) + space.output.shape[1]
        if layer.directions < ROOM * unknown:
            break
        now = with_factors(space, factors)
        pairs = _pairs(layer, now, columns, y, full)
        best = pairs.met.argsort(descending=True)[: min(BEST, int((pairs.met >= MET).sum()))]
        if not len(best):
            break
        new = measured(pairs.s[best].double(), pairs.full[best].double())
        new = sharpened(now, new[distinct(new, ONE, merit=pairs.met[best])], LEAST)
        both = join([columns, new[accepted(new, space)]])
        both = both[distinct(both)[: chain.rank]]
        found, columns = len(both) - len(columns), both
        if on_step is not None:
            note = f"columns with inputs: {len(columns)} of {chain.rank} samples"
            on_step(Step(turn + 1, TURNS, 1 - len(columns) / chain.rank, note))
        if found <= 0:
            break
        factors = factors * neuron_factors(now, columns, WIDTH)
    return columns


def _pairs(layer: FirstLayer, space: ColumnSpace, columns: Columns, y: Tensor, full: Tensor) -> Pairs:
    """Pairs near candidates, in single precision."""
    span = span_of_others(layer, layer.coordinates(columns.s))
    inputs = F.normalize(layer.slopes, dim=1) @ span
    parts = space.first.float(), space.output.float(), space.alive, space.weight.float()
    u = (y @ span @ inputs.T).float()
    return pairs_near(ColumnSpace(*parts), inputs.float(), u, full.float(), reflect=True, steps=STEPS)
