"""Whether a column and the input shown with it are one training sample's, and not a mixture's.

A column that fits the equations of `two_layer.columns` may belong to a sum or difference of samples, to a class mean,
or to nothing, where equations are few. What a sample's column must have beyond that follows from its gates,
g_ij = 1[w_j . x~_i > 0] with x~ = [x 1]:

- *one hyperplane*: the sample itself separates the neurons that it opens from those that it leaves off, in the space
  of their weights, and gates strictly between 0 and 1 belong to neurons on it, w_j . x~ = 0. A mixture has such gates
  wherever its samples disagree, which is no hyperplane; a difference has gates outside [0, 1] besides;
- *more equations than chance meets*: of the 2^m ways to label m points in p dimensions a hyperplane through 0 makes
  2 sum_{k < p} C(m - 1, k) (Cover 1965). With e of m gates wrong, labels that have nothing to do with a sample pass
  with probability at most

      2^(1 - m) sum_{k < p} C(m - 1, k)  sum_{i <= e} C(m, i),                                                 (1)

  where m counts neurons of different directions: copies are one point. Where a network has collapsed to few
  directions, everything passes and nothing is shown;
- *kinks that it sits on*: gates leave room. An average of a class opens the same neurons as its samples where these
  are much alike, and so does an input that other samples blur. But training ends with a sixth of the neurons, or more,
  on the hyperplane of each sample, and those pin it: an input that is off by a tenth of a typical pre-activation is on
  k of K of them with probability at most

      sum_{i >= k} C(K, i) q^i (1 - q)^(K - i),                                                                (2)

  q being the share of neurons that an input is so near to by accident. A column without neurons between open and off
  is nobody's.
"""

import math

import torch
from jaxtyping import Bool, Float
from scipy.stats import binom
from torch import Tensor

from vestige.reconstruct.weights.chain import Chain
from vestige.reconstruct.weights.two_layer.columns import EXACT, Columns, ColumnSpace

CHANCE = 1e-6  # largest (1) and (2); a search looks at hundreds of columns
AGREES = 0.9  # share of the clear gates that the sample must have; seen: .82 to 1 for true samples
BETWEEN = 0.5  # share of the gates between 0 and 1 whose neurons have the sample on their hyperplane
NEAR = 0.05  # of the typical pre-activation: nearer to 0 is on the hyperplane
ACCIDENT = 0.05  # q; for a normal pre-activation .027, its median size being typical
OUTSIDE = 0.1  # share of gates that may be outside [0, 1]
LENGTHS = 4.0  # a sample is at most so many times longer or shorter than usual
OPEN, PARTIAL, FAINT = 0.1, (0.15, 0.75), 0.2  # gates within OPEN of 1 are open; V^T l below FAINT says nothing


def genuine(
    chain: Chain,
    space: ColumnSpace,
    columns: Columns,
    z: Float[Tensor, "k r"],
    *,
    sample_norm: float,
    box: tuple[Tensor, Tensor] | None,
) -> Bool[Tensor, " k"]:
    """Which columns are those of the inputs shown with them.

    Args:
        chain: of two layers.
        space: its column space.
        columns: found.
        z: the input of each, in span coordinates.
        sample_norm: rough l_2 norm of a sample.
        box: lowest and highest sample in model space, if known.
    """
    if chain.rank <= max(2, chain.out):  # as many as classes: class means are another solution
        return torch.zeros(len(z), dtype=torch.bool, device=z.device)
    weight = space.weight
    size = (chain.weights[0].square().sum(1) + chain.biases[0].square()).sqrt()
    u = ((z @ chain.weights[0].T + chain.biases[0]) / size)[:, space.alive].to(columns.s)
    off, opened, between, outside = _gates(columns)
    clear = off | opened
    wrong = (off & (u >= 0)) | (opened & (u <= 0))
    typical = torch.where(clear, u.abs(), torch.nan).nanmedian(1, keepdim=True).values
    count, misfits = clear.to(weight) @ weight, wrong.to(weight) @ weight
    kinks = between.to(weight) @ weight
    on_plane = (between & (u.abs() < NEAR * typical)).to(weight) @ weight
    kept = (misfits <= (1 - AGREES) * count) & (on_plane >= BETWEEN * kinks)
    kept &= outside.to(weight) @ weight <= OUTSIDE * weight.sum()
    p = z.shape[1] + chain.has_bias[0]
    numbers = torch.stack([count, misfits, kinks, on_plane], 1).tolist()
    unlikely = [max(chance(int(m), p, math.ceil(e)), on_kinks(math.ceil(K), int(k))) for m, e, K, k in numbers]
    return kept & (torch.tensor(unlikely).to(z.device) <= CHANCE) & plausible(chain, z, sample_norm, box)


def chance(count: int, dimensions: int, misfits: int) -> float:
    """(1): how likely a hyperplane through 0 agrees with all but `misfits` of `count` random labels, at most.

    Args:
        count: m, of points in general position.
        dimensions: p.
        misfits: e.

    >>> chance(4, 2, 0), chance(4, 4, 0), chance(0, 2, 0)
    (0.5, 1.0, 1.0)
    """
    if count <= dimensions or misfits >= count:
        return 1.0
    separable = binom.logcdf(dimensions - 1, count - 1, 0.5)
    changed = binom.logcdf(misfits, count, 0.5) + count * math.log(2)
    return min(1.0, round(math.exp(min(0.0, separable + changed)), 15))


def on_kinks(count: int, near: int) -> float:
    """(2): how likely an input is on the hyperplanes of at least `near` of `count` neurons by accident.

    >>> on_kinks(0, 0), on_kinks(1, 1) == ACCIDENT
    (1.0, True)
    """
    return float(binom.sf(near - 1, count, ACCIDENT))


def _gates(columns: Columns) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Neurons off, open, strictly between, and with a gate outside [0, 1]."""
    s, full = columns.s, columns.full
    size = s.abs().mean(1, keepdim=True)
    off = s.abs() < EXACT * size
    opened = ~off & ((s - full).abs() < OPEN * full.abs())
    gate = s / torch.where(full == 0, 1e-300, full)
    between = ~off & (gate > PARTIAL[0]) & (gate < PARTIAL[1]) & (full.abs() > FAINT * size)
    outside = ~off & ((gate < -PARTIAL[0]) | (gate > 1 + PARTIAL[0])) & (s.abs() > FAINT * size)
    return off, opened, between, outside


def plausible(chain: Chain, z: Tensor, sample_norm: float, box: tuple[Tensor, Tensor] | None) -> Bool[Tensor, " k"]:
    """Of a usual length, and within the range of inputs but for a tenth of its length."""
    length = z.norm(dim=1)
    usual = (length < LENGTHS * sample_norm) & (length > sample_norm / LENGTHS)
    if box is None:
        return usual
    x = z @ chain.basis.T
    return usual & ((x - x.clamp(*box)).norm(dim=1) <= OUTSIDE * length)
