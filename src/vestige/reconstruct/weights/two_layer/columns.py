"""One sample at a time: its column in the first layer of a two-layer ReLU network, found and verified without data.

At a stationary point of f(x) = V relu(W x + b) the augmented first layer is a sum over the training samples,

    [W b]  =  sum_i  s_i [x_i 1]^T,     s_ij = g_ij (V^T l_i)_j,     g_ij in {0, 1}, or in [0, 1] on a kink,      (1)

with l_i the output multipliers (2206.07758 equation 3 and its multiclass and weight-decay forms, 2305.03350 and
2307.01827). The columns s_i span the column space of [W b], so that the column of one sample is a vector of that space
which agrees, neuron by neuron, with 0 or with a combination of the rows of V: h equations for n + C unknowns. Each
sample can therefore be found by itself, from a rough idea of its gates, by alternating between the gates and the
smallest singular vector of the equations that they select, reweighted so that neurons on a kink do not count. And it
is verified: a vector that was not a training sample's column fits about n of the h equations, a true one most of them.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vestige.reconstruct.weights.chain import Chain
from vestige.reconstruct.weights.neurons import at_all, distinct_neurons
from vestige.reconstruct.weights.two_layer.equations import FACTORED, Equations, improved

EXACT = 0.02  # of the column's mean |s|: below this an equation counts as met
MANY = 0.25  # samples a neuron from which gates of candidates are too wrong to find columns from
FITS = 0.95  # zeros and exact neurons together that are enough above MANY: at n = h / 2 spurious ones reached .93
EXACT_ROUNDS = 4  # last alternations, in double precision; the others are twice as fast in single precision
SETTLING = 3  # first alternations, each with a factor of its own
BETWEEN = (0.1, 0.9)  # gates of neurons on whose hyperplane the sample is
CLEAR = 0.3  # of the mean |V^T l|, below which an entry says nothing of its gate
REWEIGHTED = 30  # least squares for the multipliers of a column
PARTS = ("s", "full", "zeros", "exact")  # of `Columns`
MEMORY = 2**28  # bytes for the matrices of one batch of columns


@dataclass(frozen=True)
class ColumnSpace:
    """Bases of the two spaces that a column must agree with, over the neurons that training left alive.

    Attributes:
        first: (h, n) orthonormal basis of the column space of [W b].
        output: (h, q) basis of the rows of V, with the same neurons.
        alive: which neurons of the network these are: weight decay drives many to zero, where every column vanishes.
        weight: of each neuron, summing to the number of different ones (`distinct_neurons`).
    """

    first: Float[Tensor, "h n"]
    output: Float[Tensor, "h q"]
    alive: Bool[Tensor, " width"]
    weight: Float[Tensor, " h"]

    def at_all(self, values: Float[Tensor, "m h"]) -> Float[Tensor, "m width"]:
        """The same at all neurons, 0 at dead ones."""
        return at_all(values, self.alive)

    @property
    def batch(self) -> int:
        """Columns that are fitted at once."""
        return max(1, MEMORY // (8 * self.first.numel()))

    def orthonormal(self, s: Float[Tensor, "k h"]) -> Float[Tensor, "width k"]:
        """Orthonormal basis of what columns span, 0 at dead neurons."""
        return torch.linalg.qr(self.at_all(s).T)[0]


@dataclass(frozen=True)
class Columns:
    """Found columns, scaled to norm 1; the true scale comes with the sample.

    Attributes:
        s: the columns.
        full: V^T l for each: what s would be with every gate open.
        zeros: share of neurons at which s vanishes.
        exact: share of neurons at which s is 0 or `full`.
    """

    s: Float[Tensor, "m h"]
    full: Float[Tensor, "m h"]
    zeros: Float[Tensor, " m"]
    exact: Float[Tensor, " m"]

    @property
    def fits(self) -> Float[Tensor, " m"]:
        """Zeros and exact neurons together, so that zeros count twice."""
        return self.zeros + self.exact

    def __len__(self) -> int:
        return len(self.s)

    def __getitem__(self, index: Tensor) -> "Columns":
        return Columns(self.s[index], self.full[index], self.zeros[index], self.exact[index])


def join(parts: list[Columns]) -> Columns:
    """Several batches as one."""
    return Columns(*(torch.cat([getattr(p, name) for p in parts]) for name in PARTS))


def column_space(chain: Chain, *, zero_sum: bool) -> ColumnSpace:
    """The spaces of (1); `zero_sum` for losses whose output multipliers sum to zero (cross-entropy, class margins)."""
    first = chain.first_augmented().double()
    weight = distinct_neurons(first)
    alive = weight > 0
    left, _, _ = torch.linalg.svd(first[alive], full_matrices=False)
    rows = chain.weights[1].double().T[alive]
    if zero_sum and chain.out > 1:
        rows = rows - rows.mean(1, keepdim=True)
    output, size, _ = torch.linalg.svd(rows, full_matrices=False)
    output = output[:, size > 1e-6 * size[0]]
    return ColumnSpace(left[:, : chain.rank], output, alive, weight[alive])


def fit_columns(
    space: ColumnSpace, preactivations: Float[Tensor, "m h"], *, generator: torch.Generator, rounds: int = 30
) -> Columns:
    """Columns near the gates 1[preactivation > 0].

    Args:
        space: from `column_space`.
        preactivations: W x + b of rough candidates at all neurons; the fifth nearest to zero is not trusted at first.
        generator: start of the power iteration.
        rounds: alternations between gates and column.

    Returns:
        As many columns as candidates, several of which may be the same one.
    """
    parts = [_fit(space, z.double(), generator, rounds) for z in preactivations[:, space.alive].split(space.batch)]
    return join(parts)


def distinct(columns: Columns, overlap: float = 0.9, *, merit: Float[Tensor, " m"] | None = None) -> Int[Tensor, " k"]:
    """Indices of the best column of each group of near-parallel ones, most exact (or of highest merit) first."""
    order = (columns.exact if merit is None else merit).argsort(descending=True)
    return order[apart((columns.s[order] @ columns.s[order].T).abs() >= overlap)]


def apart(near: Bool[Tensor, "m m"]) -> Int[Tensor, " k"]:
    """Indices of those that are near none that was kept before them."""
    kept: list[int] = []
    for i in range(len(near)):
        if not near[i, kept].any():
            kept.append(i)
    return torch.tensor(kept, dtype=torch.long, device=near.device)


def accepted(columns: Columns, space: ColumnSpace) -> Tensor:
    """Which columns are a training sample's.

    A vector of the n-dimensional column space can be made to vanish at n - 1 of h different neurons whatever the
    network; a sample's column vanishes where its neurons are off, at a third to a half of them. Combinations of two
    samples of a class fall in between: nothing counts that fits half as well as the best. The bars are measured: for
    500 CIFAR-10 images at width 1000 no spurious column of some two hundred passed .36 or `FITS`, where true ones reach
    .40 and 1.1.
    """
    h, n = space.first.shape
    best = columns.zeros.max() if len(columns) else 0.0
    fits = columns.zeros > 0.2 + n / (3 * float(space.weight.sum()))
    if n > MANY * h:
        fits = fits | (columns.fits > FITS)
    return fits & (columns.zeros > 0.5 * best)


def _fit(space: ColumnSpace, z: Tensor, generator: torch.Generator, rounds: int) -> Columns:
    trusted = z.abs() >= z.abs().quantile(0.2, dim=1, keepdim=True)
    weight, gate = torch.where(trusted, 1.0, 0.05).to(z), z > 0
    c = torch.randn(len(z), space.first.shape[1], generator=generator, dtype=torch.float64).to(z.device)
    s = full = z
    factor, rough = None, (space.first.float(), space.output.float())
    for k in range(rounds):
        first, output = (space.first, space.output) if k >= rounds - EXACT_ROUNDS else rough
        weight, c = weight.to(first), c.to(first)
        equations = Equations.of(first, output, weight, gate)
        renewed = k < SETTLING or k % FACTORED == 0 or k == rounds - EXACT_ROUNDS
        c, factor = improved(equations, None if renewed else factor, c, steps=12 if k == 0 else 2)
        s, full = equations.entries(c)
        gate = are_open(s, full)
        distance = gaps(s, full)
        # From a wide, forgiving weighting to one that ignores what does not fit; open gates are met less exactly
        # because training stops before l does.
        width = 0.3 * 0.85**k
        floor = torch.where(gate, max(width, 0.03), max(width, 0.01))
        weight = (distance + floor) ** (-1.0 if k < rounds // 2 else -1.5)
        weight = weight / weight.mean(1, keepdim=True)
    return measured(s, full)


def with_multipliers(space: ColumnSpace, s: Float[Tensor, "m h"]) -> Columns:
    """Columns whose entries alone are known, with the V^T l that most of their open neurons agree on.

    Least squares over the neurons at which a column does not vanish, reweighted by 1 / distance: those on a kink are
    outliers.
    """
    size = s.abs().mean(1, keepdim=True)
    opened, full = s.abs() > EXACT * size, s
    b = space.output
    weight = opened.to(s) * space.weight
    for _ in range(REWEIGHTED):
        bb = b.T @ (b * weight[:, :, None]) + 1e-12 * torch.eye(b.shape[1]).to(b)
        full = torch.linalg.solve(bb, (weight * s) @ b) @ b.T
        weight = opened * space.weight / ((s - full).abs() / size + EXACT)
    return measured(s, full)


def column_lengths(
    s: Float[Tensor, "k h"], x: Float[Tensor, "k r1"], first: Float[Tensor, "h r1"]
) -> Float[Tensor, " k"]:
    """a of least squares for [W b] = sum_i a_i s_i x_i^T, columns and samples being known up to their length."""
    return torch.linalg.lstsq((s @ s.T) * (x @ x.T), ((s @ first) * x).sum(1)).solution


def measured(s: Float[Tensor, "m h"], full: Float[Tensor, "m h"]) -> Columns:
    """Columns of norm 1, with the shares of neurons at which they fit."""
    zeros = (s.abs() < EXACT * s.abs().mean(1, keepdim=True)).double().mean(1)
    exact = (gaps(s, full) < EXACT).double().mean(1)
    scale = s.norm(dim=1, keepdim=True)
    return Columns(s / scale, full / scale, zeros, exact)


def gaps(s: Tensor, full: Tensor) -> Tensor:
    """How far each entry is from 0 and from `full`, whichever is nearer, in units of the mean |s|."""
    return torch.minimum(s.abs(), (s - full).abs()) / s.abs().mean(1, keepdim=True)


def are_open(s: Tensor, full: Tensor) -> Tensor:
    """Which gates are open, by what is nearer."""
    return (s - full).abs() < s.abs()


def on_kinks(columns: Columns) -> Bool[Tensor, "m h"]:
    """Which neurons have the sample on their hyperplane: the gate is neither 0 nor 1."""
    gate = columns.s / columns.full
    clear = columns.full.abs() > CLEAR * columns.full.abs().mean(1, keepdim=True)
    return clear & (gate > BETWEEN[0]) & (gate < BETWEEN[1])
