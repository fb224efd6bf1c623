"""All samples of a small network at once, where its second layer sends back one signal, as with two classes.

With as many samples as the first layer has singular values, columns C and inputs Y, rows of coordinates as in
`zeros.layer`, give its weights where

    C^T Y  =  diag(values),                                                                               (1)

so that the inputs tell the columns. Neuron by neuron a sample's column and pre-activations belong together as in
`paired.projections`: n equations a neuron for the n^2 numbers of Y and one factor a neuron, where a sample alone has
one for its 2 n. Nearest points of all the equations are in closed form, and the nearest Y is a Gauss-Newton step whose
matrix is a Kronecker product. Alternating between them ends where some samples are right and others mixed, so that
populations of such ends are improved by noise and by samples of each other. Inputs that are nearly dependent meet any
equations with columns that cancel, and are kept out.

Populations know nothing of each other: what most of them find is a sample.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from vestige.core.descent import Checkpoint
from vestige.core.outcome import OnStep, Step
from vestige.core.rng import spawn
from vestige.reconstruct.weights.chain import Chain
from vestige.reconstruct.weights.neurons import one_of_each
from vestige.reconstruct.weights.paired.projections import nearest_points
from vestige.reconstruct.weights.paired.signals import output_multipliers, signal_space
from vestige.reconstruct.weights.paired.solver import Paired
from vestige.reconstruct.weights.two_layer.columns import ColumnSpace, apart
from vestige.reconstruct.weights.zeros.layer import FirstLayer, first_layer

POPULATIONS, MEMBERS = 4, 16
ROUNDS = 80
FIRST, STEPS = 150, 60  # alternations: at first, and after a change
MOMENTUM = 0.8  # of an alternation: its share of the change before it
INPUTS = 0.03  # what a squared distance of pre-activations counts beside one of columns
SPREAD = 0.4  # least singular value of the inputs, of norm 1 and isotropic where plausible; of 20 in 128 dimensions .6
REFIT, KEPT_APART = 3, 2  # alternations from one fit of V^T l, and from one look at the singular values, to the next
RIDGE = 1e-6  # of that fit: all gates may be closed
FACTORS, REACH = 1.0, 0.3  # ridge of the factors, in open gates of usual size, and how far from 1 they may be
NOISE = (0.3, 0.15, 0.07)  # length of a change of each sample
TAKEN = (4, 2)  # samples of another member at most
RENEWED, WORST = 15, 2  # rounds after which the worst members become copies of the best
# Samples: populations agree on fewer by chance; 20 take a minute, and more the cube of their number.
FEWEST, MOST = 10, 30
# How sure a sample is that so many others have; right were 20 of 58 of the best guess, 33 of 51, 36 of 41, 45 of 46.
BELIEF = (0.3, 0.65, 0.85, 0.95)
# Mean gap of a sample up to which a guess is one; of networks with samples 6e-5 to 6e-4, of drawn weights .4.
FITS = 2e-3
DEPENDENT = 1e-9  # smallest singular value over the largest, of what one neuron of each direction has of all
SAME = 0.9  # cosine from which two populations have found the same sample


def solve_together(
    chain: Chain,
    *,
    sample_norm: float,
    metric: Float[Tensor, "r r"] | None,
    generator: torch.Generator,
    on_step: OnStep | None = None,
    checkpoint: Checkpoint | None = None,
) -> Paired | None:
    """Samples in span coordinates, of the usual length, none of them sure.

    None for very few samples or many, for several signals, for fewer than two different neurons a sample, and where
    no guess meets its equations.

    Args:
        chain: of two layers or more.
        sample_norm: rough l_2 norm of a sample.
        metric: rows by which standard normal v become plausible samples of expected norm 1; None: isotropic.
        generator: source of the starts and changes.
        on_step: called after every round with the gap of the best guess.
        checkpoint: where the state is saved, and read from if there is one.
    """
    if not FEWEST <= chain.rank <= MOST:
        return None
    layer = first_layer(chain)
    space = signal_space(chain, layer, 0)
    if space is None or space.output.shape[1] > 1:
        return None
    given = equations(chain, layer, space, metric, sample_norm)
    if given is None:
        return None
    found = search_together(given, generator=spawn(generator, "together"), on_step=on_step, checkpoint=checkpoint)
    fit = found.gap.mean(1) < FITS
    if not fit.any():
        return None
    found = found[fit]
    which, others = agreed(given, found)
    y = found.y @ given.natural
    s = (layer.values[:, None] * torch.linalg.inv(y)).mT @ layer.columns.T
    full, _ = _sent_back(space.output[:, 0], s, y @ layer.slopes.T > 0, torch.ones_like(s[:, :1]))
    z = sample_norm * F.normalize((found.y @ given.span).flatten(0, 1)[which], dim=1)
    like, (s, full) = chain.weights[0], (part.flatten(0, 1)[which] for part in (s, full))
    multipliers = output_multipliers(chain, space, z, s, full)
    return Paired(z.to(like), multipliers.to(like), torch.tensor(BELIEF).to(like)[others], ())


@dataclass(frozen=True)
class Equations:
    """(1) over one neuron of each direction, in coordinates in which both bases are orthonormal.

    Attributes:
        columns: basis of the columns.
        inputs: basis of the pre-activations over the norm of each neuron's weights.
        coupling: columns are  (coupling Y^-1)^T.
        signal: the row of V, of norm 1.
        even: Y even are the inputs in coordinates in which plausible ones are isotropic.
        natural: Y natural are those of `FirstLayer`.
        span: Y span are multiples of them in span coordinates.
    """

    columns: Float[Tensor, "h n"]
    inputs: Float[Tensor, "h n"]
    coupling: Float[Tensor, "n n"]
    signal: Float[Tensor, " h"]
    even: Float[Tensor, "n n"]
    natural: Float[Tensor, "n n"]
    span: Float[Tensor, "n r"]

    def columns_of(self, y: Float[Tensor, "m n n"]) -> Float[Tensor, "m n n"]:
        """Columns of norm 1 that (1) gives for inputs."""
        return F.normalize((self.coupling @ torch.linalg.inv(y)).mT, dim=2)

    def nearer(self, y: Float[Tensor, "m n n"], s: Float[Tensor, "m n h"], u: Float[Tensor, "m n h"]) -> Tensor:
        """Inputs of norm 1 whose columns and pre-activations are nearer to given ones: one Gauss-Newton step.

        With Z = Y^-T a change E of Y changes the columns by  -Z E^T C:  the matrix of the step is
        (C C^T) x (Z^T Z) + INPUTS, with columns and Z over the columns' lengths.
        """
        inverse = torch.linalg.inv(y)
        columns = (self.coupling @ inverse).mT
        length = columns.norm(dim=2, keepdim=True)
        z, off = inverse.mT / length, s @ self.columns - columns / length
        slope = INPUTS * (u @ self.inputs - y) - columns @ off.mT @ z
        (a, p), (b, q) = torch.linalg.eigh(columns @ columns.mT), torch.linalg.eigh(z.mT @ z)
        change = p @ ((p.mT @ slope @ q) / (a[:, :, None] * b[:, None] + INPUTS)) @ q.mT
        return F.normalize(y + change, dim=2)

    def apart(self, y: Float[Tensor, "m n n"]) -> Float[Tensor, "m n n"]:
        """Inputs of norm 1 with no direction that hardly any of them has."""
        left, values, right = torch.linalg.svd(F.normalize(y @ self.even, dim=2))
        return self.from_even(left * values.clamp(min=SPREAD)[:, None] @ right)

    def from_even(self, even: Float[Tensor, "m n n"]) -> Float[Tensor, "m n n"]:
        """Inverse of Y even, of norm 1."""
        return F.normalize(torch.linalg.solve(self.even, even, left=False), dim=2)


@dataclass(frozen=True)
class Guesses:
    """Guesses at all inputs, and how far each is from meeting its equations."""

    y: Float[Tensor, "m n n"]
    gap: Float[Tensor, "m n"]

    def __getitem__(self, index: Tensor) -> "Guesses":
        return Guesses(self.y[index], self.gap[index])

    def where_better(self, other: "Guesses") -> "Guesses":
        """With those of another in the place of worse ones."""
        better = other.gap.sum(1) < self.gap.sum(1)
        y = torch.where(better[:, None, None], other.y, self.y)
        return Guesses(y, torch.where(better[:, None], other.gap, self.gap))


def equations(
    chain: Chain,
    layer: FirstLayer,
    space: ColumnSpace,
    metric: Float[Tensor, "r r"] | None,
    sample_norm: float,
) -> Equations | None:
    """Of a network with as many samples as its first layer has singular values; None where few neurons tell that.

    Args:
        chain: the network.
        layer: its first layer.
        space: columns and signals over the same neurons.
        metric: rows by which standard normal v become plausible samples of expected norm 1; None: isotropic.
        sample_norm: rough l_2 norm of a sample.
    """
    one = one_of_each(layer.slopes)
    columns, of_columns = torch.linalg.qr(layer.columns[one])
    inputs, of_inputs = torch.linalg.qr(F.normalize(layer.slopes[one], dim=1))
    if min(torch.linalg.cond(of_columns, -2), torch.linalg.cond(of_inputs, -2)) < DEPENDENT:
        return None
    r = chain.basis.shape[1]
    plausible = torch.eye(r).to(columns) / r**0.5 if metric is None else metric.to(columns)
    points = torch.cat([sample_norm * plausible @ layer.right[:, :r].T, layer.right[:, r:].T])
    values, axes = torch.linalg.eigh(points.T @ points)
    natural = torch.linalg.inv(of_inputs).T
    return Equations(
        columns=columns,
        inputs=inputs,
        coupling=of_columns * layer.values @ of_inputs.T,
        signal=F.normalize(space.output[one, 0], dim=0),
        even=natural @ axes / values.sqrt(),
        natural=natural,
        span=natural @ layer.right[:, :r],
    )


def settled(given: Equations, y: Float[Tensor, "m n n"], steps: int) -> Guesses:
    """Inputs of norm 1 by alternation between the two sets, from given ones."""
    s, u = given.columns_of(y) @ given.columns.T, y @ given.inputs.T
    factors = torch.ones_like(s[:, :1])
    full, factors = _sent_back(given.signal, s, u > 0, factors)
    change, before = torch.zeros_like(y), None
    for k in range(steps):
        near_s, near_u, opened = nearest_points(s, u, full)
        gap = _gap(s - near_s, u - near_u).sum(1)
        momentum = 0.0 if before is None else MOMENTUM * (gap < before).to(y)[:, None, None]
        change, before = momentum * change + given.nearer(y, near_s, near_u) - y, gap
        y = F.normalize(y + change, dim=2)
        if k % KEPT_APART == KEPT_APART - 1:
            y = given.apart(y)
        s, u = given.columns_of(y) @ given.columns.T, y @ given.inputs.T
        if k % REFIT == 0 or k == steps - 1:
            full, factors = _sent_back(given.signal, s, opened, factors)
    near_s, near_u, _ = nearest_points(s, u, full)
    return Guesses(y, _gap(s - near_s, u - near_u))


def _gap(s: Float[Tensor, "m n h"], u: Float[Tensor, "m n h"]) -> Float[Tensor, "m n"]:
    return s.square().sum(2) + INPUTS * u.square().sum(2)


def _sent_back(
    signal: Float[Tensor, " h"], s: Float[Tensor, "m n h"], opened: Tensor, factors: Float[Tensor, "m 1 h"]
) -> tuple[Tensor, Tensor]:
    """V^T l of each sample, factors included, and the factor of each neuron, by least squares over open gates."""
    opened, expected = opened.to(s), signal * factors
    size = (opened * expected.square()).sum(2, keepdim=True) + RIDGE
    plain = (opened * s * expected).sum(2, keepdim=True) / size * signal
    ridge = FACTORS * plain.square().mean(1, keepdim=True)
    off = (opened * plain * (s - plain)).sum(1, keepdim=True)
    off = off / ((opened * plain.square()).sum(1, keepdim=True) + ridge)
    factors = 1 + off.clamp(-REACH, REACH)
    return plain * factors, factors


def search_together(
    given: Equations,
    *,
    generator: torch.Generator,
    on_step: OnStep | None = None,
    checkpoint: Checkpoint | None = None,
) -> Guesses:
    """The best guess of each population, the best first.

    Args:
        given: the equations.
        generator: source of the starts and changes; drawn from once, so that a resumed search goes the same way.
        on_step: called after every round with the gap of the best guess.
        checkpoint: where the state is saved, and read from if there is one.
    """
    seed = int(torch.randint(2**62, (), generator=generator))
    state = None if checkpoint is None else checkpoint.load()
    if state is None:
        at, done = settled(given, _starts(given, _draw(seed, 0)), FIRST), 0
    else:
        at, done = Guesses(*(state[name].to(given.columns) for name in ("y", "gap"))), int(state["done"])
    for number in range(done + 1, ROUNDS + 1):
        changed = _changed(given, at, _draw(seed, number))
        at = at.where_better(settled(given, changed, STEPS))
        if number % RENEWED == 0:
            at = _renewed(at)
        if checkpoint is not None:
            checkpoint.save({"y": at.y, "gap": at.gap, "done": torch.tensor(number)})
        if on_step is not None:
            on_step(Step(number, ROUNDS, float(at.gap.sum(1).min()), "all samples together"))
    best = at.gap.sum(1).reshape(POPULATIONS, MEMBERS).argmin(1)
    best = best + MEMBERS * torch.arange(POPULATIONS, device=best.device)
    return at[best[at.gap[best].sum(1).argsort()]]


def _draw(seed: int, number: int) -> torch.Generator:
    return torch.Generator().manual_seed((seed + number) % 2**63)


def _starts(given: Equations, draw: torch.Generator) -> Float[Tensor, "m n n"]:
    """Orthogonal inputs, where plausible ones are isotropic."""
    n = len(given.coupling)
    normal = torch.randn(POPULATIONS * MEMBERS, n, n, generator=draw, dtype=torch.float64).to(given.columns)
    return given.from_even(torch.linalg.qr(normal)[0])


def _changed(given: Equations, at: Guesses, draw: torch.Generator) -> Float[Tensor, "m n n"]:
    """Each guess with noise, or with samples of another one of its population in the place of those most like them."""
    m, n = at.gap.shape
    place = at.y.device
    kind = torch.randint(len(NOISE) + len(TAKEN), (m,), generator=draw).to(place)
    noise = torch.randn(m, n, n, generator=draw, dtype=torch.float64).to(at.y) @ torch.linalg.inv(given.natural)
    noise = noise / (noise.square().sum((1, 2), keepdim=True) / n).sqrt()
    length = at.y.new_tensor((*NOISE, *(0.0 for _ in TAKEN)))[kind]
    y = F.normalize(at.y + length[:, None, None] * noise, dim=2)
    most = torch.tensor((*(0 for _ in NOISE), *TAKEN), device=place)[kind]
    count = (torch.rand(m, generator=draw).to(place) * most).ceil()
    other = (torch.arange(m) // MEMBERS * MEMBERS + torch.randint(MEMBERS, (m,), generator=draw)).to(place)
    chance = 1 / at.gap[other].clamp(min=1e-9)
    which = torch.multinomial(chance.cpu(), max(TAKEN), generator=draw).to(place)
    for k in range(max(TAKEN)):
        taken = at.y[other, which[:, k]]
        like = (y @ taken[:, :, None])[:, :, 0].argmax(1)
        rows = (k < count).nonzero()[:, 0]
        y[rows, like[rows]] = taken[rows]
    return y


def _renewed(at: Guesses) -> Guesses:
    """With copies of the best guesses of each population in the place of its worst."""
    order = at.gap.sum(1).reshape(POPULATIONS, MEMBERS).argsort(1)
    order[:, MEMBERS - WORST :] = order[:, :WORST]
    order = (order + MEMBERS * torch.arange(POPULATIONS, device=order.device)[:, None]).flatten()
    return at[order]


def agreed(given: Equations, found: Guesses) -> tuple[Int[Tensor, " k"], Int[Tensor, " k"]]:
    """Positions of different samples among all populations, and how many others have each; most agreed on first.

    What no other population has is of the best one.
    """
    populations, n = found.gap.shape
    z = F.normalize(found.y @ given.span, dim=2).flatten(0, 1)
    same = z @ z.T > SAME
    others = same.unflatten(1, (populations, n)).any(2).sum(1) - 1
    order = others.argsort(descending=True, stable=True)
    order = order[(order < n) | (others[order] > 0)]
    which = order[apart(same[order][:, order])]
    return which, others[which]
