"""Networks of few classes: columns near the candidates of a joint search, and then from what these leave.

Candidates lead to pairs of a column and an input (`projections`), the most exact columns to the factor of each neuron
(`two_layer.factors`), and factors to more exact columns. What is known by then restricts the inputs of all other
samples (`zeros.span`), from pass to pass to fewer dimensions, and candidates and plausible inputs are tried again
there; when passes bring no more, a joint search in what is left brings further candidates. In the end samples follow
from their columns as they do elsewhere.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vestige.core.descent import Checkpoint, Within
from vestige.core.outcome import OnStep, Step
from vestige.core.rng import spawn
from vestige.reconstruct.weights.chain import Chain
from vestige.reconstruct.weights.joint import Joint, restored_joints, tensors_of
from vestige.reconstruct.weights.paired.projections import Pairs, pairs_near
from vestige.reconstruct.weights.paired.signals import output_multipliers, sent_back, signal_space
from vestige.reconstruct.weights.two_layer.columns import (
    PARTS,
    Columns,
    ColumnSpace,
    distinct,
    gaps,
    join,
    measured,
    on_kinks,
)
from vestige.reconstruct.weights.two_layer.factors import neuron_factors, sharpened, with_factors
from vestige.reconstruct.weights.two_layer.posterior_mean import near
from vestige.reconstruct.weights.zeros.layer import FirstLayer, first_layer
from vestige.reconstruct.weights.zeros.samples import likely_samples
from vestige.reconstruct.weights.zeros.span import span_of_others, unspanned

STARTS, EACH = 400, 10  # of a pass at most, and for each sample
PASSES, QUIET = 10, 2  # at most, and without a new column after which the search ends
SEARCHES = 2  # joint searches for the samples of other columns
SPARE = 45  # different neurons beyond two a sample: with 17, vectors of nobody met the equations as well as columns
KEPT = 400  # columns from one pass to the next, the most exact
SAME = 0.9999  # cosine from which two columns are one
NEAR = 0.005  # of a column's mean |s|: entries nearer to 0 or V^T l are exact
FOUND, SURE = 0.65, 0.85  # share of exact entries of a sample's column, and of one that restricts the others' inputs
BEYOND, FEW = 0.25, 12  # exact entries beyond the unknowns of a column: share of the neurons, and how many at least
MET = 0.9  # share of neurons at which a pair must be one; false ones reach .8
ROOM = 0.7  # equations that it must meet beyond its unknowns, in units of the samples
ENOUGH = 0.4  # share of the columns that must be known; of fewer, samples are told by gates alone
APART = 0.03  # of a unit column that no combination of better ones may come nearer to
WRONG = 0.03  # share of the exact gates that the sample to expect may have otherwise; seen: .03 and more for false ones
AGREES = 0.95  # share of the exact gates from which a candidate is worth to be near to; of 79 samples 44 are recovered
#   (34 near no candidate), and 53 by SSIM (48 near a candidate always)
CLEAR = 0.1  # of a typical pre-activation, from which a gate is
FIRST = ((0.02, 0.05, 0.02),) * 2 + ((0.02, 0.03, 0.01), (0.01, 0.02, 0.005)) + ((0.01, 0.01, 0.002),) * 3
LATER = ((0.01, 0.01, 0.002),) * 2  # tolerance of exact entries, widths of the weights for factors and for columns


@dataclass(frozen=True)
class Paired:
    """Samples in span coordinates, output multipliers, how sure they are, and the joint searches on the way."""

    z: Float[Tensor, "k r"]
    multipliers: Float[Tensor, "k out"]
    confidence: Float[Tensor, " k"]
    joints: tuple[Joint, ...]


Others = Callable[[Float[Tensor, "k n"], int, Checkpoint | None], Joint]


@dataclass(frozen=True)
class Found:
    """Columns on the way: the most exact of every pass, kinks left out, and those of pairs that are met on kinks too.

    Attributes:
        columns: sharpened ones, true and false.
        met: columns of pairs.
        factors: of the neurons.
    """

    columns: Columns
    met: Columns
    factors: Float[Tensor, " h"]


@dataclass(frozen=True)
class Progress:
    """Where the passes are: columns, passes done, those without a new column, and joint searches since the start."""

    found: Found
    done: int = 0
    quiet: int = 0
    joints: tuple[Joint, ...] = ()

    def tensors(self) -> dict[str, Tensor]:
        """State for a checkpoint."""
        kinds = {"columns": self.found.columns, "met": self.found.met}
        parts = {f"{kind}.{name}": getattr(columns, name) for kind, columns in kinds.items() for name in PARTS}
        parts |= tensors_of(self.joints)
        counts = {"done": self.done, "quiet": self.quiet, "searches": len(self.joints)}
        parts |= {name: torch.tensor(count) for name, count in counts.items()} | {"factors": self.found.factors}
        return {name: part.contiguous() for name, part in parts.items()}

    @staticmethod
    def restored(state: Mapping[str, Tensor]) -> "Progress":
        """Inverse of `tensors`."""
        columns, met = (Columns(*(state[f"{kind}.{name}"] for name in PARTS)) for kind in ("columns", "met"))
        joints = restored_joints(state, int(state["searches"]))
        found = Found(columns, met, state["factors"])
        return Progress(found, int(state["done"]), int(state["quiet"]), (*joints,))


def solve_paired(
    chain: Chain,
    z: Float[Tensor, "m r"],
    *,
    sample_norm: float,
    metric: Float[Tensor, "r r"] | None,
    generator: torch.Generator,
    others: Others | None = None,
    on_step: OnStep | None = None,
    checkpoint: Checkpoint | None = None,
) -> Paired | None:
    """Samples of the columns found; None where the network sends back too many signals, or too few columns are found.

    Args:
        chain: of two layers or more.
        z: candidates of a joint search.
        sample_norm: rough l_2 norm of a sample.
        metric: rows by which standard normal v become plausible samples of expected norm 1; None: isotropic.
        generator: source of the starts.
        others: a joint search for the samples of other columns than those given, once no pass finds more.
        on_step: called after every pass with the share of samples that is still missing.
        checkpoint: where the state is saved, and read from if there is one.
    """
    layer = first_layer(chain)
    space = signal_space(chain, layer, SPARE)
    if space is None or not len(z):
        return None
    search = _Search(chain, layer, space, sample_norm, metric)
    state = (None if checkpoint is None else checkpoint.load()) or {}
    state = {name: part.to(layer.columns.device) for name, part in state.items()}
    at = Progress.restored(state) if "factors" in state else Progress(search.first(search.starts(z)))
    known = search.known(at.found)
    while 0 < len(known) < len(layer.values):
        if at.quiet < QUIET and at.done < PASSES * (len(at.joints) + 1):
            further, before = search.after_pass(at, search.starts(z, at.joints), generator), known
            known = search.known(further.found)
            if len(known) > len(before):
                at = replace(further, quiet=0)
            else:  # a pass that brings no column is not taken
                at, known = replace(further, found=at.found), before
        elif others is not None and (more := search.after_search(at, known, others, checkpoint)) is not None:
            at = more
        else:
            break
        if on_step is not None:
            note = f"columns with inputs: {len(known)} of {len(layer.values)} samples"
            on_step(Step(at.done, PASSES * (len(at.joints) + 1), 1 - len(known) / len(layer.values), note))
        if checkpoint is not None:
            checkpoint.save(at.tensors())
    return search.samples(known, search.starts(z, at.joints), at.joints)


@dataclass(frozen=True)
class _Search:
    chain: Chain
    layer: FirstLayer
    space: ColumnSpace
    sample_norm: float
    metric: Float[Tensor, "r r"] | None

    def starts(self, z: Float[Tensor, "m r"], joints: Sequence[Joint] = ()) -> Float[Tensor, "all r"]:
        """Candidates of the usual length."""
        return self.sample_norm * F.normalize(torch.cat([z, *(joint.z.flatten(0, 1) for joint in joints)]), dim=1)

    def first(self, z: Float[Tensor, "m r"]) -> Found:
        """From candidates alone, and factors of 1."""
        pairs = self._pairs(self.space, z, self.layer.columns[:0], reflect=False)
        columns = measured(pairs.s, pairs.full)
        columns = columns[distinct(columns, SAME)]
        none = columns[torch.zeros(0, dtype=torch.long, device=z.device)]
        return self._refined(Found(columns, none, torch.ones(len(self.space.first)).to(self.space.first)), FIRST)

    def after_pass(self, at: Progress, z: Float[Tensor, "m r"], generator: torch.Generator) -> Progress:
        """From candidates, then from plausible inputs, then both with reflections."""
        z = self.plausible(spawn(generator, "pairs", str(at.done))) if at.done % 2 else z
        found = self.further(at.found, z, reflect=at.done % 4 > 1)
        return replace(at, found=found, done=at.done + 1, quiet=at.quiet + 1)

    def after_search(
        self, at: Progress, known: Columns, others: Others, checkpoint: Checkpoint | None
    ) -> Progress | None:
        """With a joint search for the others; None after the last one, and where too few columns are known or sure."""
        if len(at.joints) >= SEARCHES or not self.are_enough(known):
            return None
        sure = self.known(at.found, SURE)
        if not 0 < len(sure) < self.chain.basis.shape[1]:  # no direction is left to the others
            return None
        part = None if checkpoint is None else Within(checkpoint, "others", at.tensors())
        joint = others(self.layer.coordinates(sure.s), len(at.joints), part)
        return replace(at, joints=(*at.joints, joint), quiet=0)

    def are_enough(self, columns: Columns) -> bool:
        """Whether samples may be told."""
        return len(columns) >= ENOUGH * len(self.layer.values)

    def further(self, found: Found, z: Float[Tensor, "m r"], *, reflect: bool) -> Found:
        """From starts, within what the known columns leave of inputs."""
        known = self.layer.coordinates(self.known(found, SURE).s)
        space = with_factors(self.space, found.factors)
        pairs = self._pairs(space, z, known, reflect=reflect)
        columns = measured(pairs.s, pairs.full)
        right = (pairs.met >= MET) & (self._spare(pairs.met, len(known)) >= ROOM)
        met = join([found.met, columns[right]])
        new = sharpened(space, columns[distinct(columns, SAME)], LATER[0][2])
        return self._refined(Found(join([found.columns, new]), met[distinct(met, SAME)], found.factors), LATER)

    def known(self, found: Found, least: float = FOUND) -> Columns:
        """Columns of samples: exact enough, no combination of better ones, and with an input of the same gates."""
        exact = self._sorted(found.columns, NEAR, max(least, self._least))
        every = join([exact, self._sorted(found.met, NEAR, 0.0)])
        every = every[self._independent(every)]
        return every[self._consistent(every)]

    def samples(self, columns: Columns, candidates: Tensor, joints: tuple[Joint, ...]) -> Paired | None:
        """The sample to expect from each column, near a candidate that has its gates, with its multipliers."""
        if not self.are_enough(columns):
            return None
        share, which = self._agreement(columns, candidates).max(1)
        alone, close = self._expected(columns), self._expected(columns, candidates[which])
        z = torch.where((share >= AGREES)[:, None], close[0], alone[0])
        similar = torch.where(share >= AGREES, close[1], alone[1])
        like = self.chain.weights[0]
        multipliers = output_multipliers(self.chain, self.space, z, columns.s, columns.full)
        return Paired(z.to(like), multipliers.to(like), near(similar).to(like), joints)

    def plausible(self, draw: torch.Generator) -> Float[Tensor, "m r"]:
        """Inputs of the usual length."""
        r, like = self.chain.basis.shape[1], self.chain.weights[0]
        v = torch.randn(min(STARTS, EACH * len(self.layer.values)), r, generator=draw, dtype=like.dtype).to(like.device)
        return self.sample_norm * (v / r**0.5 if self.metric is None else F.normalize(v @ self.metric, dim=1))

    def _pairs(self, space: ColumnSpace, z: Tensor, known: Float[Tensor, "k n"], *, reflect: bool) -> Pairs:
        """Pairs near starts, a batch at a time."""
        span = span_of_others(self.layer, known)
        inputs = F.normalize(self.layer.slopes, dim=1) @ span
        parts = []
        for part in z.split(STARTS):
            y = self.chain.augmented(part).double() @ self.layer.right.T
            back = sent_back(self.chain, part)
            top = (back - back.mean(1, keepdim=True) if self.chain.out > 1 else back)[:, :, self.space.alive].double()
            full = top.gather(1, top.norm(dim=2).argmax(1)[:, None, None].expand(-1, 1, top.shape[2]))[:, 0]
            parts.append(pairs_near(space, inputs, y @ span @ inputs.T, full, reflect=reflect))
        return Pairs(*(torch.cat([getattr(p, name) for p in parts]) for name in ("s", "full", "u", "met")))

    def _refined(self, found: Found, turns: tuple[tuple[float, float, float], ...]) -> Found:
        """Factors and columns in turn."""
        columns, factors = found.columns, found.factors
        for tolerance, width, least in turns:
            space = with_factors(self.space, factors)
            sure = self._sorted(columns, tolerance, max(FOUND, self._least))
            if not len(sure):
                break
            factors = factors * neuron_factors(space, sure[self._independent(sure)], width)
            columns = sharpened(with_factors(self.space, factors), columns, least)
        columns = columns[distinct(columns, SAME, merit=self._exact(columns, NEAR))[:KEPT]]
        return replace(found, columns=columns, factors=factors)

    def _exact(self, columns: Columns, tolerance: float) -> Float[Tensor, " m"]:
        """Share of the different neurons at which a column is 0 or V^T l."""
        return (gaps(columns.s, columns.full) < tolerance).to(columns.s) @ self.space.weight / self.space.weight.sum()

    def _sorted(self, columns: Columns, tolerance: float, least: float) -> Columns:
        """Those exact enough, the most exact first."""
        exact = self._exact(columns, tolerance)
        order = exact.argsort(descending=True, stable=True)
        return columns[order[exact[order] >= least]]

    def _independent(self, columns: Columns) -> Int[Tensor, " k"]:
        """Positions of columns that those before them do not nearly span."""
        return unspanned(self.layer.coordinates(columns.s), APART)

    @property
    def _least(self) -> float:
        """Share of exact entries that no vector has by accident."""
        unknown = len(self.layer.values) + self.space.output.shape[1] - 1
        return (unknown + max(FEW, BEYOND * self.layer.directions)) / self.layer.directions

    def _spare(self, met: Float[Tensor, " m"], known: int) -> Float[Tensor, " m"]:
        """Equations met beyond the unknowns of a pair, in units of the samples."""
        n = len(self.layer.values)
        return (met * self.layer.directions - (2 * n - known)) / n

    def _gates(self, columns: Columns) -> Float[Tensor, "m h"]:
        """1 where a column is exactly V^T l, -1 where it is exactly 0."""
        size = columns.s.abs().mean(1, keepdim=True)
        off, opened = columns.s.abs() < NEAR * size, (columns.s - columns.full).abs() < NEAR * size
        return torch.where(off, -1.0, torch.where(opened, 1.0, 0.0)).to(columns.s)

    def _expected(self, columns: Columns, rough: Tensor | None = None) -> tuple[Tensor, Tensor]:
        known = self.layer.coordinates(columns.s)
        told = {"gates": self._gates(columns), "kinks": on_kinks(columns), "rough": rough}
        return likely_samples(self.chain, self.layer, known, self.sample_norm, self.metric, **told)

    def _consistent(self, columns: Columns) -> Bool[Tensor, " m"]:
        """Whether the sample to expect has the gates of its column."""
        if not len(columns):
            return columns.exact > 0
        u, gates = self._preactivations(self._expected(columns)[0]), self._gates(columns)
        wrong = (gates * u < -CLEAR).to(u) @ self.space.weight
        return wrong <= WRONG * (gates.abs() @ self.space.weight)

    def _agreement(self, columns: Columns, z: Float[Tensor, "m r"]) -> Float[Tensor, "k m"]:
        """Share of the exact gates of each column that each input has."""
        weight = self._gates(columns) * self.space.weight
        return (1 + weight @ self._preactivations(z).sign().T / weight.abs().sum(1, keepdim=True)) / 2

    def _preactivations(self, z: Float[Tensor, "m r"]) -> Float[Tensor, "m h"]:
        """Over the norm of each neuron's weights, in units of their typical size for the input."""
        u = self.chain.augmented(z).double() @ self.layer.right.T @ F.normalize(self.layer.slopes, dim=1).T
        return u / u.abs().median(1, keepdim=True).values
