"""Columns by zeros: rounds of starts, columns, checks and peeling, then the samples of the columns found.

Nothing about labels, loss, multipliers or later layers is assumed, so that any depth will do; if the second layer keeps
no memory of its start, starts pass through its row space first (`activations`). Starts need no data: random inputs,
with the spectrum of photographs where the samples are images. In two layers every other round starts from a joint
search for what is missing instead, and the second layer helps to find columns (`confirmed`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vestige.core.descent import Checkpoint, Within
from vestige.core.outcome import OnStep, Outcome, Step
from vestige.core.rng import spawn
from vestige.reconstruct.weights.chain import Chain, forgot_start
from vestige.reconstruct.weights.joint import later_residuals
from vestige.reconstruct.weights.two_layer.columns import FITS, ColumnSpace, column_space, with_multipliers
from vestige.reconstruct.weights.two_layer.posterior_mean import near
from vestige.reconstruct.weights.two_layer.verification import CHANCE, chance, genuine, plausible
from vestige.reconstruct.weights.zeros.activations import activation_space, near_activations
from vestige.reconstruct.weights.zeros.confirmed import confirmed_columns
from vestige.reconstruct.weights.zeros.halfspace import parting_inputs, separable
from vestige.reconstruct.weights.zeros.layer import FirstLayer, first_layer
from vestige.reconstruct.weights.zeros.samples import agreement, inputs_of, likely_samples, multipliers_of
from vestige.reconstruct.weights.zeros.span import independent, span_of_others
from vestige.reconstruct.weights.zeros.sparse import columns_of, trimmed_columns

STARTS = 50  # of a round; twice as many by trimming alone, or once less than a third is missing
ROUNDS, QUIET = 100, 5  # rounds at most, and without a new column after which the search ends
EVERY = 3  # where the second layer helps, every third round trims too: other samples are found that way
TURNS = 2  # from a column to the input that its zeros tell, and back
ROUGH = 0.05  # of a column's mean |s|: below this an entry may be a zero
SPARSE = 0.33  # share of zeros from which a vector may be a column; true ones have .38 to .55, mixtures up to .47
PARTED = 0.96  # share of neurons on the right side of one hyperplane; true columns have .97 and more
MOST = 0.25  # samples a neuron: at more, any vector vanishes at nearly as many neurons as a sample's column
ENOUGH = 0.9  # share of the columns that must be known; of fewer, as of class means, samples are fitted at will
LONGEST = 400  # candidates of a search that are looked at
AGREES = 0.9  # share of the gates that the sample shown must have


@dataclass(frozen=True)
class ByZeros:
    """Samples in span coordinates, output multipliers, how sure they are, and the relative squared residuals.

    `confirmed` counts the columns that the second of two layers confirms, and in deeper networks all.
    """

    z: Float[Tensor, "k r"]
    multipliers: Float[Tensor, "k out"]
    confidence: Float[Tensor, " k"]
    verified: Bool[Tensor, " k"]
    confirmed: int
    residual: dict[str, float]
    starts: int
    outcome: Outcome


Search = Callable[[Tensor, torch.Generator, Checkpoint | None], Tensor]


def is_sparse(chain: Chain) -> bool:
    """Whether columns stand out by their zeros: few samples a neuron, and a first layer that forgot its start."""
    return chain.clear and 2 <= chain.rank <= MOST * chain.directions and forgot_start(chain)


def solve_by_zeros(
    chain: Chain,
    *,
    sample_norm: float,
    metric: Float[Tensor, "r r"] | None,
    box: tuple[Tensor, Tensor] | None,
    generator: torch.Generator,
    search: Search | None = None,
    on_step: OnStep | None = None,
    checkpoint: Checkpoint | None = None,
) -> ByZeros:
    """Find columns until all samples are known or rounds bring nothing new.

    Args:
        chain: of any depth, whose first layer `is_sparse`.
        sample_norm: rough l_2 norm of a sample.
        metric: rows by which standard normal v become plausible samples of expected norm 1; None: isotropic.
        box: lowest and highest sample in model space, if known.
        generator: source of the starts.
        search: candidates for the samples that an orthonormal basis (width, k) of known columns leaves, in two layers.
        on_step: called after every round with the share of samples that is still missing.
        checkpoint: where the state is saved, and read from if there is one.
    """
    layer = first_layer(chain)
    space, n = activation_space(chain, layer), len(layer.values)
    second = column_space(chain, zero_sum=False) if len(chain.weights) == 2 else None
    state = (None if checkpoint is None else checkpoint.load()) or {}
    known = state.get("known", layer.columns.new_zeros(0, n)).to(layer.columns)
    done, quiet = (int(state.get(name, torch.tensor(0))) for name in ("done", "quiet"))
    while done < ROUNDS and quiet < QUIET and len(known) < n:
        draw = spawn(generator, "zeros", str(done))
        if second is None or search is None:
            found = _round(layer, space, known, _starts(chain, layer, known, sample_norm, metric, draw, done), done)
        elif done % 2 == 0:
            now = _state(known, done, quiet)
            part = None if checkpoint is None else Within(checkpoint, f"search {done}", now)
            z = search(second.orthonormal(known @ layer.columns.T), draw, part)
            y = chain.augmented(z[z.norm(dim=1).argsort(descending=True)[:LONGEST]].double()) @ layer.right.T
            found = _from_candidates(layer, second, known, y, draw)
        else:
            y = _starts(chain, layer, known, sample_norm, metric, draw, done)
            found = _from_starts(layer, second, known, y, draw)
        both = torch.cat([known, found])
        both = both[independent(layer, both)]
        done, quiet, known = done + 1, 0 if len(both) > len(known) else quiet + 1, both
        if on_step is not None:
            on_step(Step(done, 0, 1 - len(known) / n, f"columns by zeros: {len(known)} of {n} samples"))
        if checkpoint is not None:
            checkpoint.save(_state(known, done, quiet))
    return _end(chain, layer, second, known, sample_norm, metric, box, done)


def _state(known: Tensor, done: int, quiet: int) -> dict[str, Tensor]:
    return {"known": known, "done": torch.tensor(done), "quiet": torch.tensor(quiet)}


def _starts(
    chain: Chain,
    layer: FirstLayer,
    known: Tensor,
    sample_norm: float,
    metric: Tensor | None,
    draw: torch.Generator,
    number: int,
) -> Float[Tensor, "m n"]:
    """Plausible inputs, in coordinates of the layer; isotropic ones in every other round for the last columns."""
    r = chain.basis.shape[1]
    v = torch.randn(2 * STARTS, r, generator=draw, dtype=torch.float64).to(layer.right.device)
    look = None if number % 2 and _few_missing(layer, known) else metric
    z = sample_norm * (v / r**0.5 if look is None else v @ look.double())
    return chain.augmented(z) @ layer.right.T


def _few_missing(layer: FirstLayer, known: Tensor) -> bool:
    """Whether less than a third of the samples is missing: starts come from a small span then."""
    n = len(layer.values)
    return 3 * (n - len(known)) < n


def _round(layer: FirstLayer, space: Tensor | None, known: Tensor, y: Tensor, number: int) -> Float[Tensor, "k n"]:
    """Columns found from starts within the span of the samples not known yet, and checked."""
    parts = []
    span = span_of_others(layer, known)
    y = y @ span
    if space is not None:
        few = y if _few_missing(layer, known) else y[:STARTS]
        parts.append(columns_of(layer, near_activations(layer.slopes @ span, space, few) @ span.T))
    if space is None or number % EVERY == EVERY - 1:
        parts.append(_turned(layer, trimmed_columns(layer, y @ (layer.slopes @ span).T / _sizes(layer)), span))
    return _checked(layer, torch.cat(parts))


def _from_candidates(
    layer: FirstLayer, second: ColumnSpace, known: Tensor, y: Tensor, draw: torch.Generator
) -> Float[Tensor, "k n"]:
    """Columns of two layers near candidates: those that the second confirms, and that zeros tell near the first."""
    confirmed = confirmed_columns(layer, second, y @ layer.slopes.T, generator=draw)
    alone = _turned(layer, columns_of(layer, y[: 2 * STARTS]), span_of_others(layer, known))
    return _checked(layer, torch.cat([confirmed, alone]))


def _from_starts(
    layer: FirstLayer, second: ColumnSpace, known: Tensor, y: Tensor, draw: torch.Generator
) -> Float[Tensor, "k n"]:
    """The same from starts, within the span of the samples not known yet."""
    span = span_of_others(layer, known)
    u = y @ span @ span.T @ layer.slopes.T
    confirmed = confirmed_columns(layer, second, u, generator=draw)
    alone = _turned(layer, trimmed_columns(layer, u / _sizes(layer)), span)
    return _checked(layer, torch.cat([confirmed, alone]))


def _sizes(layer: FirstLayer) -> Float[Tensor, " h"]:
    return layer.slopes.norm(dim=1)


def _turned(layer: FirstLayer, c: Float[Tensor, "m n"], span: Tensor) -> Float[Tensor, "m n"]:
    """From columns to the inputs that their zeros tell, and back."""
    for _ in range(TURNS):
        c = columns_of(layer, parting_inputs(layer, layer.vanishes(c, ROUGH), span))
    return c


def _checked(layer: FirstLayer, c: Float[Tensor, "m n"]) -> Float[Tensor, "k n"]:
    """Those with the zeros of one sample: many, and parted by a hyperplane from the rest better than by chance.

    A sum of columns vanishes at too few neurons, where all its samples are off; differences fail at the hyperplane.
    """
    c = c[layer.zeros(c) > SPARSE]
    if not len(c):
        return c
    c = c[independent(layer, c)]
    right = separable(layer, layer.vanishes(c))
    count, n = layer.directions, len(layer.values)
    luck = [chance(count, n, math.ceil((1 - share) * count)) for share in right.clamp(max=1).tolist()]
    return c[(right >= PARTED) & (c.new_tensor(luck) <= CHANCE)]


def _end(
    chain: Chain,
    layer: FirstLayer,
    second: ColumnSpace | None,
    known: Tensor,
    sample_norm: float,
    metric: Tensor | None,
    box: tuple[Tensor, Tensor] | None,
    done: int,
) -> ByZeros:
    """Samples, multipliers and what they leave unexplained."""
    like, n = chain.weights[0], len(layer.values)
    complete = len(known) == n
    if complete:
        z, sure = _exact(chain, layer, known, sample_norm), known.new_ones(n)
    else:
        z, similar = likely_samples(chain, layer, known, sample_norm, metric)
        sure = near(similar)
    agrees = agreement(layer, known, chain.augmented(z) @ layer.right.T)
    z = z.to(like)
    multipliers = multipliers_of(chain, z)
    confidence = (agrees * sure).to(like)
    residual = _residual(chain, layer, known, z, multipliers)
    outcome = Outcome.CONVERGED if len(known) == n else Outcome.STAGNATED
    verified, confirmed = agrees >= AGREES, len(known)
    if second is None:
        verified &= plausible(chain, z, sample_norm, box)
    else:
        columns = with_multipliers(second, known @ layer.columns.T)
        verified &= genuine(chain, second, columns, z, sample_norm=sample_norm, box=box)
        confirmed = int((columns.fits > FITS).sum())
        if complete:
            confidence = torch.where(verified, confidence, confidence * verified.to(like).mean())
    return ByZeros(z, multipliers, confidence, verified, confirmed, residual, 2 * STARTS * done, outcome)


def _exact(chain: Chain, layer: FirstLayer, known: Tensor, sample_norm: float) -> Float[Tensor, "k r"]:
    """Samples where all columns are known: a bias gives the scale, its coordinate being 1, otherwise the usual norm."""
    augmented = inputs_of(layer, known) @ layer.right
    z = augmented[:, : chain.basis.shape[1]]
    scale = augmented[:, -1:] if layer.has_bias else z.norm(dim=1, keepdim=True) / sample_norm
    return z / torch.where(scale > 1e-12, scale, z.norm(dim=1, keepdim=True).clamp(min=1e-12) / sample_norm)


def _residual(chain: Chain, layer: FirstLayer, known: Tensor, z: Tensor, multipliers: Tensor) -> dict[str, float]:
    """Of the first layer by the columns, of later ones by the gradients of the samples with their multipliers."""
    left = torch.diag(layer.values)
    left = left - known.T @ torch.linalg.lstsq(known.T, left).solution if len(known) else left
    first = float(left.square().sum() / layer.values.square().sum())
    return {"layer 1": first} | later_residuals(chain, z, multipliers)
