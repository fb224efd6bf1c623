"""Samples most of whose entries are at an end of their range, as the background of a digit is: corners of a polytope.

Weight decay leaves the first layer in the span of the samples, x = B z, and with a known range they lie in

    { z :  low <= B z <= high },                                                                           (1)

a polytope of r dimensions. In general position r faces meet at a corner. At a sample with a background many more do,
and in none of its directions does it hang on a few of them: such corners are looked for. Nothing about labels, loss or
later layers takes part.

A linear program leads to a corner, and its objective is made anew from each corner: towards it, and towards entries at
the ends, by the slope of sum_j log(p_j + e) over places p_j in the range. Programs share (1), so that all are solved at
once by Douglas-Rachford splitting, to which an orthonormal B makes either step a product.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vestige.core.descent import Checkpoint
from vestige.core.outcome import OnStep, Step
from vestige.core.rng import spawn
from vestige.reconstruct.weights.chain import Chain, forgot_start
from vestige.reconstruct.weights.grams import weighted_grams
from vestige.reconstruct.weights.joint import later_residuals
from vestige.reconstruct.weights.neurons import one_of_each
from vestige.reconstruct.weights.two_layer.columns import apart
from vestige.reconstruct.weights.two_layer.verification import LENGTHS
from vestige.reconstruct.weights.zeros.samples import multipliers_of

ENTRIES = 2.0  # different ones that take part, for each dimension, without which corners cannot be told apart
MOST = 20_000  # entries: an image of 3 x 80 x 80
ACTIVE = 1e-3  # of the largest row of B: smaller ones are of entries that are the same in all samples
STARTS = 200  # of a round
ROUNDS = 60  # at most
QUIET, NONE = 5, 2  # rounds without a new sample after which the search ends, and where there never was one
MOVES, STEPS = 6, 200  # corners from one start, and steps of the program to each
LONGER = 0.1  # objective along a sample, whose length may be free, beside that to its ends
LAST = 500  # steps of the last one, in double precision
TOWARDS_ENDS = 0.7  # what the slope towards the ends counts beside the corner before, both of norm 1 and orthogonal
PLACE = 0.1  # e above
PUSH, SMALL_PUSH = 0.5, 0.1  # step along the objective, in units of the range, and that of the last program
RELAXED = 1.6  # step of the splitting
NEAR, AT_END = 2e-2, 2e-3  # distance to an end, in units of the range, from which an entry may be there, and is
OUTSIDE = 5e-3  # and how far outside of the range it may be
FACES = 1.5  # entries at an end for each dimension; corners that are no samples have up to 1.3
RIDGE = 1e-9  # of an orthonormal basis
DROPPED = 3  # entries without which it must still be a corner
HELD = 0.75  # typical entries that must hold it then in its weakest direction; other corners have mostly less than .3
SURE = 0.95  # confidence of a sample
ALIVE = 1e-2  # of the longest row of the first layer: shorter ones start nothing
SAME = 0.98  # cosine from which two corners are one


@dataclass(frozen=True)
class Polytope:
    """(1) over the entries that are not the same in all samples.

    Attributes:
        basis: orthonormal columns.
        low: of each entry.
        high: of each entry.
        different: positions of entries of which none is a copy of another.
        natural: y natural are the span coordinates of a point basis y.
    """

    basis: Float[Tensor, "d r"]
    low: Float[Tensor, " d"]
    high: Float[Tensor, " d"]
    different: Int[Tensor, " k"]
    natural: Float[Tensor, "r r"]

    def places(self, y: Float[Tensor, "m r"]) -> Float[Tensor, "m d"]:
        """Where the entries of points are in their range, 0 to 1 inside."""
        return (y @ self.basis.T - self.low) / (self.high - self.low)

    def to_end(self, y: Float[Tensor, "m r"]) -> Float[Tensor, "m d"]:
        """Distance of the entries to the nearer end, in units of the range; negative outside."""
        p = self.places(y)
        return torch.minimum(p, 1 - p)

    def faces(self, y: Float[Tensor, "m r"], within: float) -> Float[Tensor, " m"]:
        """How many different entries are so near an end, for each dimension."""
        return (self.to_end(y)[:, self.different] < within).sum(1) / y.shape[1]

    def single(self) -> "Polytope":
        """The same in single precision."""
        low, high = self.low.float(), self.high.float()
        return Polytope(self.basis.float(), low, high, self.different, self.natural.float())

    def program(
        self, y: Float[Tensor, "m r"], objective: Float[Tensor, "m r"], steps: int, push: float
    ) -> Float[Tensor, "m r"]:
        """max objective . y, near enough, from given points."""
        shift = push * (self.high - self.low).mean() * F.normalize(objective, dim=1)
        x = (y @ self.basis.T).clamp(self.low, self.high)
        off = torch.zeros_like(x)
        for _ in range(steps):
            y = (x - off) @ self.basis + shift
            off += torch.lerp(x, y @ self.basis.T, RELAXED)
            x = off.clamp(self.low, self.high)
            off -= x
        return y

    def corners(self, y: Float[Tensor, "m r"]) -> Float[Tensor, "m r"]:
        """A corner from each point."""
        for _ in range(MOVES):
            p = self.places(y).clamp(0, 1)
            ends, towards = (1 / (1 - p + PLACE) - 1 / (p + PLACE)) @ self.basis, F.normalize(y, dim=1)
            ends = ends - (ends * towards).sum(1, keepdim=True) * towards
            y = self.program(y, towards + TOWARDS_ENDS * F.normalize(ends, dim=1), STEPS, PUSH)
        return y

    def sharpened(self, y: Float[Tensor, "m r"]) -> Float[Tensor, "m r"]:
        """Points moved to where the entries near an end are nearest to it in the mean."""
        side = torch.where(self.places(y) < 0.5, -1.0, 1.0) * (self.to_end(y) < NEAR)
        to_ends = F.normalize(side.to(y) @ self.basis, dim=1)
        return self.program(y, to_ends + LONGER * F.normalize(y, dim=1), LAST, SMALL_PUSH)

    def held(self, y: Float[Tensor, "m r"]) -> Float[Tensor, " m"]:
        """Entries at an end, in units of a typical one, in the weakest direction, without the DROPPED first of them.

        Where 0 is a corner too, a sample may be longer or shorter: its own direction does not count, nor do entries
        at the other end, which end it.
        """
        at_end = self.to_end(y)[:, self.different] < AT_END
        held = self._held(at_end, torch.zeros_like(y))
        if not self.has_zero:
            return held
        at_zero = at_end & ((self.places(y) < 0.5) == (self.low.abs() < self.high.abs()))[:, self.different]
        return torch.maximum(held, self._held(at_zero, y))

    def _held(self, at_end: Bool[Tensor, "m k"], free: Float[Tensor, "m r"]) -> Float[Tensor, " m"]:
        """d times the smallest eigenvalue of sum_j h_j b_j b_j^T, h_j 1 for entries at an end, and 1 where it is free.

        Entries of the highest leverage are dropped first.

        Args:
            at_end: which of the different entries are.
            free: a direction that nothing must hold; 0 for none.
        """
        even, change = torch.linalg.qr(self.basis[self.different])
        free, h = F.normalize(free @ change.T, dim=1), at_end.to(even)
        for _ in range(DROPPED):
            gram = _grams(even, h, free) + RIDGE * torch.eye(even.shape[1]).to(even)
            leverage = (torch.linalg.solve(gram, even.T) * even.T).sum(1)  # 1 for one that nothing can stand in for
            h.scatter_(1, (h * leverage).argmax(1, keepdim=True), 0.0)
        return len(even) * torch.linalg.eigvalsh(_grams(even, h, free))[:, 0]

    @property
    def has_zero(self) -> bool:
        """Whether 0 is a point at which all entries are at an end, as for images between 0 and 1."""
        return bool((torch.minimum(self.low.abs(), self.high.abs()) < AT_END * (self.high - self.low)).all())

    def samples_near(self, y: Float[Tensor, "m r"], shortest: float) -> Float[Tensor, "k r"]:
        """Those of given corners, sharpened, that are a sample's; 0 may be one at which all entries are at an end."""
        y = y[(self.faces(y, NEAR) > FACES) & (y.norm(dim=1) > shortest)]
        y = y[apart(_alike(y, y))]
        y = self.sharpened(y)
        y = y[(self.faces(y, AT_END) > FACES) & (self.to_end(y) > -OUTSIDE).all(1)]
        return y[self.held(y) > HELD] if len(y) else y


def _grams(rows: Float[Tensor, "d r"], weight: Float[Tensor, "m d"], free: Float[Tensor, "m r"]) -> Tensor:
    """sum_j w_j b_j b_j^T, and 1 in a direction that is free."""
    return weighted_grams(rows, weight) + free[:, :, None] * free[:, None, :]


def _alike(a: Float[Tensor, "m r"], b: Float[Tensor, "k r"]) -> Bool[Tensor, "m k"]:
    return F.normalize(a, dim=1) @ F.normalize(b, dim=1).T > SAME


def polytope(basis: Float[Tensor, "D r"], box: tuple[Tensor, Tensor]) -> Polytope | None:
    """(1) for given ends; None where few entries take part for the number of dimensions, or too many for the time."""
    size = basis.norm(dim=1)
    active = size > ACTIVE * size.max()
    if not ENTRIES * basis.shape[1] <= active.sum() <= MOST:
        return None
    orthonormal, factor = torch.linalg.qr(basis[active].double())
    low, high = (end.to(orthonormal)[active] for end in box)
    different = one_of_each(orthonormal)
    if len(different) < ENTRIES * basis.shape[1]:
        return None
    return Polytope(orthonormal, low, high, different, torch.linalg.inv(factor).T)


def solve_by_corners(
    chain: Chain,
    box: tuple[Tensor, Tensor],
    *,
    sample_norm: float,
    generator: torch.Generator,
    candidates: Float[Tensor, "m r"] | None = None,
    known: Float[Tensor, "k r"] | None = None,
    on_step: OnStep | None = None,
    checkpoint: Checkpoint | None = None,
) -> Float[Tensor, "found r"]:
    """Samples in span coordinates that are corners of what span and range leave.

    None are looked for where the first layer remembers its start, so that samples are not in its span.

    Args:
        chain: of any depth.
        box: lowest and highest sample in model space.
        sample_norm: rough l_2 norm of a sample.
        generator: source of the starts.
        candidates: inputs to start from before differences of neurons.
        known: samples found before, which come first.
        on_step: called after every round with the share of samples that is still missing.
        checkpoint: where the state is saved, and read from if there is one.
    """
    if known is None:
        known = chain.weights[0].new_zeros(0, chain.basis.shape[1])
    given = polytope(chain.basis, box) if chain.clear and chain.rank > 1 and forgot_start(chain) else None
    if given is None:
        return known
    single, to_points = given.single(), torch.linalg.inv(given.natural)
    state = (None if checkpoint is None else checkpoint.load()) or {}
    start: Tensor = known.double() @ to_points
    found = state.get("found", start).to(given.basis)
    done, quiet = (int(state.get(name, torch.tensor(0))) for name in ("done", "quiet"))
    rows = chain.weights[0].double() @ to_points
    parts = () if candidates is None else (candidates.double() @ to_points).split(STARTS)
    while done < ROUNDS and quiet < (QUIET if len(found) else NONE) and len(found) < chain.rank:
        draw = spawn(generator, "corners", str(done))
        near = parts[done] if done < len(parts) else _between(rows, found, draw)
        corners = single.corners((sample_norm * F.normalize(near, dim=1)).float()).double()
        new = given.samples_near(corners[~_alike(corners, found).any(1)], sample_norm / LENGTHS)
        new = new[~_alike(new, found).any(1)]
        new = new[apart(_alike(new, new))]
        found = torch.cat([found, new])
        quiet, done = 0 if len(new) or done < len(parts) else quiet + 1, done + 1
        if checkpoint is not None:
            checkpoint.save({"found": found, "done": torch.tensor(done), "quiet": torch.tensor(quiet)})
        if on_step is not None:
            note = f"corners: {len(found)} of {chain.rank} samples"
            on_step(Step(done, 0, 1 - len(found) / chain.rank, note))
    return (found @ given.natural).to(known)


def accounted(chain: Chain, z: Float[Tensor, "k r"]) -> tuple[Tensor, dict[str, float]]:
    """Multipliers of samples, and the relative squared residual of every layer, of the first by the best columns."""
    target, x = chain.first_augmented().double(), chain.augmented(z).double()
    left = target - (target @ torch.linalg.pinv(x)) @ x
    multipliers = multipliers_of(chain, z)
    first = float(left.square().sum() / target.square().sum())
    return multipliers, {"layer 1": first} | later_residuals(chain, z, multipliers)


def _between(rows: Float[Tensor, "h r"], known: Float[Tensor, "k r"], draw: torch.Generator) -> Float[Tensor, "m r"]:
    """Differences of two neurons, orthogonal to what is known."""
    axes, _ = torch.linalg.qr(known.T)
    rest = rows - rows @ axes @ axes.T
    size = rest.norm(dim=1)
    unit = F.normalize(rest[size > ALIVE * size.max()], dim=1)
    pair = torch.randint(len(unit), (2, STARTS), generator=draw).to(unit.device)
    return unit[pair[0]] - unit[pair[1]]
