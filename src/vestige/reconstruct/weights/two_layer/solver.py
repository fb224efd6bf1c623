"""Two-layer ReLU networks: joint search and single-sample columns in turn, until no new sample is found.

The joint search brings rough candidates; their columns are sharpened and verified one by one; what is verified is
taken out of the equation (the residual is read orthogonally to it), which leaves a smaller problem of the same kind for
the next round. At the end the samples follow from their columns by linear least squares: given all s_i, equation (1)
of `two_layer.columns` is linear in the x_i.

Where samples are many for the neurons, candidates take the longer way of `two_layer.many_samples`; and where the
columns of most samples stay unknown, a sample follows from its own gates.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vestige.core.descent import Checkpoint, Within
from vestige.core.outcome import Outcome
from vestige.core.rng import spawn
from vestige.reconstruct.weights.chain import Chain
from vestige.reconstruct.weights.joint import Joint, gradient_sums, restored_joints, search, tensors_of
from vestige.reconstruct.weights.remaining import Remaining
from vestige.reconstruct.weights.search_settings import SearchSettings
from vestige.reconstruct.weights.two_layer.columns import (
    EXACT,
    PARTS,
    Columns,
    ColumnSpace,
    accepted,
    column_space,
    distinct,
    fit_columns,
    join,
)
from vestige.reconstruct.weights.two_layer.many_samples import (
    agreed,
    fit_many_columns,
    has_many_samples,
    samples_of_some,
)
from vestige.reconstruct.weights.two_layer.posterior_mean import near
from vestige.reconstruct.weights.two_layer.verification import genuine
from vestige.reconstruct.weights.two_layer.with_inputs import more_columns
from vestige.reconstruct.weights.zeros.layer import first_layer

MAX_ROUNDS = 12
ROUNDS_OF_MANY = 2  # where a round takes ten minutes
AGREEMENT = 0.75  # share of gates at which a sample must agree with its column; a wrong one agrees at about half
SUPPORTED = 0.85  # share of gates at which a candidate agrees with a true column; false ones reach it rarely
BLURRED = 0.05  # share of gates by which a candidate agrees better than a blurred sample; a good one loses .01 to it
QUIET_ROUNDS = 2  # rounds without a new sample after which the search ends
LAST_SHARPNESS = (20.0, 300.0)
COLUMNS = 400  # candidates of a round whose columns are fitted, the longest
KNOWN = 0.8  # share of the samples whose columns must be known for least squares to tell the samples


@dataclass
class Rounds:
    """Progress of the rounds: verified columns, their space, and the joint searches that led to them."""

    space: ColumnSpace
    columns: Columns | None = None
    joints: list[Joint] = field(default_factory=list)
    quiet: int = 0

    @property
    def found(self) -> int:
        return 0 if self.columns is None else len(self.columns)

    def tensors(self) -> dict[str, Tensor]:
        """State for a checkpoint."""
        state = {"quiet": torch.tensor(self.quiet), "rounds": torch.tensor(len(self.joints))}
        state |= tensors_of(self.joints) | {"output": self.space.output}
        if self.columns is not None:
            state |= {name: getattr(self.columns, name) for name in PARTS}
        return {name: tensor.contiguous() for name, tensor in state.items()}

    @staticmethod
    def restored(state: Mapping[str, Tensor], space: ColumnSpace) -> "Rounds":
        """Inverse of `tensors`; the space knows no factors yet."""
        columns = Columns(*(state[name] for name in PARTS)) if "s" in state else None
        space = replace(space, output=state["output"])
        return Rounds(space, columns, restored_joints(state, int(state["rounds"])), int(state["quiet"]))


@dataclass(frozen=True)
class TwoLayer:
    """Samples with their columns in span coordinates, multipliers, how sure they are, and all joint searches."""

    z: Float[Tensor, "k r"]
    multipliers: Float[Tensor, "k out"]
    confidence: Float[Tensor, " k"]
    verified: Bool[Tensor, " k"]
    joints: list[Joint]
    steps: int
    outcome: Outcome


def solve_two_layer(
    chain: Chain,
    settings: SearchSettings,
    *,
    candidates: int,
    restarts: int,
    checkpoint: Checkpoint | None = None,
) -> TwoLayer:
    """Rounds of joint search and columns, then the samples by least squares.

    Args:
        chain: of two layers.
        settings: of the joint searches.
        candidates: in the first round; later ones take twice what is still missing.
        restarts: joint searches at once in the first round; among many samples in every round, and averaged.
        checkpoint: where the state is saved, and read from if there is one.

    Returns:
        Samples with columns of their own; everything else is in `joints`.
    """
    state = None if checkpoint is None else checkpoint.load()
    place = chain.weights[0].device
    space = column_space(chain, zero_sum=settings.zero_sum)
    rounds = Rounds(space)
    if state is not None:
        rounds = Rounds.restored({name: part.to(place) for name, part in state.items()}, space)
    most = ROUNDS_OF_MANY if has_many_samples(chain) else MAX_ROUNDS
    while len(rounds.joints) < most and rounds.quiet < QUIET_ROUNDS and rounds.found < chain.rank:
        part = None if checkpoint is None else Within(checkpoint, f"round {len(rounds.joints)}", rounds.tensors())
        _round(chain, settings, rounds, candidates, restarts, part)
        if checkpoint is not None:
            checkpoint.save(rounds.tensors())
    steps = sum(joint.steps * len(joint.z) for joint in rounds.joints)
    outcome = Outcome.CONVERGED if rounds.found >= chain.rank else Outcome.STAGNATED
    if any(joint.outcome is Outcome.NOT_FINITE for joint in rounds.joints):
        outcome = Outcome.NOT_FINITE
    like = chain.weights[0]
    if rounds.columns is None:
        none = like.new_zeros(0, chain.basis.shape[1]), like.new_zeros(0, chain.out), like.new_zeros(0)
        return TwoLayer(*none, none[-1] > 0, rounds.joints, steps, outcome)
    if _are_few_of_many(chain, settings, rounds):
        z = torch.cat([_averages(joint, settings.sample_norm)[0] for joint in rounds.joints])
        known = chain, rounds.space, rounds.columns
        z, multipliers, similar = samples_of_some(*known, z, settings.sample_norm, settings.metric)
        keep = agreement(chain, space, rounds.columns, z).diagonal() >= AGREEMENT
        sure = genuine(chain, space, rounds.columns, z, sample_norm=settings.sample_norm, box=settings.box)[keep]
        return TwoLayer(z[keep], multipliers[keep], near(similar)[keep], sure, rounds.joints, steps, outcome)
    z, multipliers, confidence, spent = _verified(chain, space, settings, rounds, checkpoint)
    return TwoLayer(z, multipliers, confidence, confidence > 0, rounds.joints, steps + spent, outcome)


def _are_few_of_many(chain: Chain, settings: SearchSettings, rounds: Rounds) -> bool:
    """Whether the columns of most of many samples are unknown."""
    return settings.labeled and chain.out > 2 and has_many_samples(chain) and rounds.found < KNOWN * chain.rank


def _verified(
    chain: Chain, space: ColumnSpace, settings: SearchSettings, rounds: Rounds, checkpoint: Checkpoint | None
) -> tuple[Tensor, Tensor, Tensor, int]:
    """Samples whose columns are their own, multipliers, confidence, and the work of it.

    False columns spoil least squares for the true ones: where not all pass, those that a candidate agrees with are
    solved for once more without the others.
    """
    assert rounds.columns is not None
    columns, spent, parts = rounds.columns, 0, []
    for name in ("rest", "rest again"):
        tried = replace(rounds, columns=columns)
        part = None if checkpoint is None else Within(checkpoint, name, rounds.tensors())
        rest, work = _rest(chain, space, settings, tried, part)
        z, multipliers, keep = _samples(chain, space, columns, rest, settings.sample_norm)
        z = _or_candidates(chain, space, tried, z, agreement(chain, space, columns, z).diagonal())
        keep &= genuine(chain, space, columns, z, sample_norm=settings.sample_norm, box=settings.box)
        parts.append((z[keep], multipliers[keep], columns[keep]))
        spent += work
        candidates = torch.cat([joint.z.flatten(0, 1) for joint in rounds.joints])
        supported = keep | (agreement(chain, space, columns, candidates).amax(1) >= SUPPORTED)
        if keep.all() or supported.all() or not supported.any():
            break
        columns = columns[supported]
    z, multipliers = (torch.cat([part[k] for part in parts]) for k in (0, 1))
    columns = join([part[2] for part in parts])
    best = distinct(columns)
    # A column that fits exactly is no accident; what is left open is how well the sample follows from it.
    confidence = (0.9 + 0.1 * columns.exact[best]).clamp(max=1.0).to(z)
    return z[best], multipliers[best], confidence, spent


def agreement(chain: Chain, space: ColumnSpace, columns: Columns, z: Float[Tensor, "m r"]) -> Float[Tensor, "k m"]:
    """Share of the clear gates of each column that each input opens and closes as the column says."""
    u = (z @ chain.weights[0].T + chain.biases[0])[:, space.alive].to(columns.s)
    size = columns.s.abs().mean(1, keepdim=True)
    off = columns.s.abs() < EXACT * size
    on = ((columns.s - columns.full).abs() < 2 * EXACT * size) & ~off
    agrees = off.to(u) @ (u < 0).to(u).T + on.to(u) @ (u > 0).to(u).T
    return agrees / (off | on).sum(1, keepdim=True).clamp(min=1)


def _round(
    chain: Chain,
    settings: SearchSettings,
    rounds: Rounds,
    candidates: int,
    restarts: int,
    checkpoint: Checkpoint | None,
) -> None:
    space, first, many, number = rounds.space, not rounds.joints, has_many_samples(chain), len(rounds.joints)
    rest = None if first or not many else _remaining(chain, space, settings, rounds)
    search_for = partial(settings.search, chain) if rest is None else partial(rest.search, settings)
    joint = search_for(
        candidates=candidates if first else max(20, 2 * (chain.rank - rounds.found)),
        restarts=restarts if first or many else 1,
        informed=number % 2 == 0 or many,  # the other rounds look where labels and metric do not
        known=None if rounds.columns is None else space.orthonormal(rounds.columns.s).to(chain.weights[0]),
        generator=spawn(settings.generator, "round", str(number)),
        note=f"round {number + 1}: {rounds.found} of at most {chain.rank} samples verified",
        checkpoint=checkpoint,
    )
    rounds.joints.append(joint)
    if joint.outcome is Outcome.NOT_FINITE:
        rounds.quiet += 1
        return
    fitted = _fitted(chain, space, joint, settings, spawn(settings.generator, "columns", str(number)))
    before = rounds.found
    both = fitted if rounds.columns is None else join([rounds.columns, fitted])
    both = both[accepted(both, space)]
    rounds.columns = both[distinct(both)[: chain.rank]] if len(both) else None
    if rounds.columns is not None and _are_few_of_many(chain, settings, rounds):
        z, label = _averages(joint, settings.sample_norm)
        known, told = (chain, space, rounds.columns), (z, label, settings.sample_norm, settings.metric)
        draws = spawn(settings.generator, "more columns", str(number))
        rounds.columns, rounds.space = more_columns(*known, *told, generator=draws, on_step=settings.on_step)
    rounds.quiet = 0 if rounds.found > before else rounds.quiet + 1


def _remaining(chain: Chain, space: ColumnSpace, settings: SearchSettings, rounds: Rounds) -> Remaining | None:
    """Where the samples are that are not known yet; None where they can be anywhere, or but in one place."""
    if rounds.columns is None or rounds.found >= chain.basis.shape[1]:
        return None
    layer = first_layer(chain)
    return Remaining.of(chain, layer, layer.coordinates(rounds.columns.s), settings.sample_norm, settings.metric)


def _fitted(
    chain: Chain, space: ColumnSpace, joint: Joint, settings: SearchSettings, generator: torch.Generator
) -> Columns:
    """Columns near the candidates of a round."""
    if not has_many_samples(chain):
        z = joint.z.flatten(0, 1)
        z = z[z.norm(dim=1).argsort(descending=True)[:COLUMNS]]
        return fit_columns(space, z @ chain.weights[0].T + chain.biases[0], generator=generator)
    z, label = _averages(joint, settings.sample_norm)
    if settings.labeled and chain.out > 2:
        return fit_many_columns(chain, space, z, label, settings.sample_norm, settings.metric, generator=generator)
    return fit_columns(space, z[:COLUMNS] @ chain.weights[0].T + chain.biases[0], generator=generator)


def _averages(joint: Joint, sample_norm: float) -> tuple[Tensor, Tensor]:
    """Candidates of the usual length, averaged over the searches of a round, and their classes."""
    several = joint.multipliers.shape[-1] > 1
    z, label = agreed(joint.z, joint.multipliers.argmax(2) if several else (joint.multipliers[..., 0] > 0).long())
    return sample_norm * z, label


def _rest(
    chain: Chain, space: ColumnSpace, settings: SearchSettings, rounds: Rounds, checkpoint: Checkpoint | None
) -> tuple[Tensor, int]:
    """What the samples that were not verified put into the first layer, [W b], from the best of two sharp searches."""
    assert rounds.columns is not None
    missing = chain.rank - rounds.found
    target = chain.first_augmented()
    if missing <= 0:
        return torch.zeros_like(target), 0
    joint = search(
        chain,
        candidates=max(20, 3 * missing),
        restarts=2,
        steps=settings.steps,
        sample_norm=settings.sample_norm,
        layer_weights=[1.0, 0.0],
        zero_sum=settings.zero_sum,
        labeled=settings.labeled,
        sharpness=LAST_SHARPNESS,
        known=space.orthonormal(rounds.columns.s).to(chain.weights[0]),
        generator=spawn(settings.generator, "rest"),
        on_step=settings.on_step,
        note=f"the {missing} samples not verified",
        checkpoint=checkpoint,
    )
    best = int(joint.residual[:, 0].argmin())
    with torch.no_grad():
        weight, bias = gradient_sums(chain, joint.z[best], joint.multipliers[best], LAST_SHARPNESS[1])[0]
    parts = [weight, bias[:, None]] if chain.has_bias[0] else [weight]
    return torch.cat(parts, 1), joint.steps * 2


def _or_candidates(chain: Chain, space: ColumnSpace, rounds: Rounds, z: Tensor, agrees: Tensor) -> Tensor:
    """Each sample, or the candidate that agrees far better with its column: unknown columns blur least squares."""
    assert rounds.columns is not None
    candidates = torch.cat([joint.z.flatten(0, 1) for joint in rounds.joints])
    best = agreement(chain, space, rounds.columns, candidates).max(1)
    return torch.where((best.values > agrees + BLURRED)[:, None], candidates[best.indices], z)


def _samples(
    chain: Chain, space: ColumnSpace, columns: Columns, rest: Tensor, sample_norm: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Solve S X = [W b] - rest; a bias gives the scale (its coordinate is 1), otherwise the usual norm does."""
    x = torch.linalg.lstsq(columns.s.T, (chain.first_augmented() - rest).double()[space.alive]).solution
    if chain.has_bias[0]:
        scale = x[:, -1:]
        x = x[:, :-1]
    else:
        scale = x.norm(dim=1, keepdim=True) / sample_norm
    keep = (scale.abs() > 1e-12).flatten() & torch.isfinite(x).all(1)
    z = x / torch.where(scale.abs() > 1e-12, scale, 1.0)
    multipliers = torch.linalg.lstsq(chain.weights[1].double().T[space.alive], (columns.full * scale).T).solution.T
    return z.to(chain.weights[0]), multipliers.to(chain.weights[0]), keep
