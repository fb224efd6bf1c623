"""Training data of networks that are invariant to a group, up to the group (arXiv 2411.16458).

An invariant network gives all members of an orbit the same gradient: what can be read is each sample's orbit. The usual
attack drifts to inputs that the group leaves alone (`symmetry`). Where the network is an average of
an MLP over views, F(x) = mean_t f(view_t(x)), its weights say far more: for f they are those of a network trained on
every view of every sample, all views of a sample with the same multipliers. Candidates are then sought together with
their orbits, in coordinates of the inputs whose views the first layer spans; and a set's elements one by one, with the
check of `two_layer.columns`, to be put together by their multipliers.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import nn

from vestige.core.cite import paper
from vestige.core.descent import Checkpoint
from vestige.core.margins import Loss
from vestige.core.modes import evaluating
from vestige.core.outcome import OnStep
from vestige.core.rng import spawn
from vestige.core.space import InputSpace
from vestige.nets.groups import Group, Permutations
from vestige.nets.invariant import InvariantNetwork
from vestige.nets.orbits import align_orbits, check_invariant
from vestige.reconstruct.fingerprint import owned
from vestige.reconstruct.image_prior import image_metric, is_photograph
from vestige.reconstruct.invariant.sets import sets_of
from vestige.reconstruct.invariant.views import lift_of
from vestige.reconstruct.result import Reconstruction
from vestige.reconstruct.weights.any_model import search_any
from vestige.reconstruct.weights.assemble import Pool, assemble
from vestige.reconstruct.weights.chain import Chain, span_chain
from vestige.reconstruct.weights.from_weights import (
    STEPS,
    Recorder,
    check_model,
    known_loss,
    reconstruct_from_weights,
    spread_and_box,
)
from vestige.reconstruct.weights.joint import layer_weights, search
from vestige.reconstruct.weights.symmetry import Symmetry

SOURCE = (paper("2411.16458"),)
START = 1.0  # of the search in input space: as large as the data
RESTARTS = 3
CANDIDATES = 40  # of a restart where the first layer does not count the samples
UP_TO = "The network is invariant to {}: each sample stands for its orbit, no member of which is the true one."


@dataclass(frozen=True)
class _Task:
    """What every way of solving it needs."""

    shape: tuple[int, ...]
    outputs: int
    loss: Loss
    weight_decay: float | None
    space: InputSpace | None
    n_candidates: int | None
    restarts: int | None
    steps: int | None
    generator: torch.Generator
    recorder: Recorder
    checkpoint: Checkpoint | None


def reconstruct_invariant(
    model: nn.Module,
    input_shape: tuple[int, ...] | list[int],
    group: Group,
    *,
    n_candidates: int | None = None,
    loss: Loss | str = Loss.CROSS_ENTROPY,
    weight_decay: float | int | None = None,
    space: InputSpace | None = None,
    restarts: int | None = None,
    steps: int | None = None,
    conventional: bool = False,
    start: float | int = START,
    most_symmetric: float | int = 1.0,
    rest_rate: float | int = 1.0,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
    checkpoint: Checkpoint | None = None,
) -> Reconstruction:
    """Solve theta = sum_i l_i . grad_theta F(theta; x_i) for the orbits of the x_i.

    Args:
        model: a trained network, invariant to `group`; evaluation mode is used, and it is left untouched. An
            `InvariantNetwork` over a ReLU MLP is solved through its views, any other module by a search in input space.
        input_shape: shape of one input, without the batch.
        group: what the network is invariant to.
        n_candidates: of a restart; None for three times the number of samples that the first layer tells apart.
        loss: it was trained with.
        weight_decay: it was trained with, if known.
        space: range of valid inputs and normalization, by a mean that the group leaves alone.
        restarts: independent starts; None for 3.
        steps: Adam steps of one search; None for 1500.
        conventional: search in input space whatever the network, as attacks that know no group do.
        start: of the search in input space: entries of the start, in units of the data's standard deviation.
        most_symmetric: of the same: symmetric energy in (0, 1] from which a candidate is penalized.
        rest_rate: of the same: step size of x - P_G x in units of that of P_G x.
        generator: source of the starts.
        on_step: called with a Step at every step.
        checkpoint: as in `reconstruct_from_weights`: a killed run goes on to the same end.

    Returns:
        Samples ranked by confidence, one of each orbit, with all candidates behind them, aligned modulo the group.

    Raises:
        ValueError: a group that does not act on the input shape, a network that is not invariant to it, options out of
            range, and what `reconstruct_from_weights` refuses.
    """
    shape = tuple(int(s) for s in input_shape)
    group.check(shape)
    for name, value in (("start", start), ("most_symmetric", most_symmetric), ("rest_rate", rest_rate)):
        if not (math.isfinite(value) and value > 0) or (name == "most_symmetric" and value > 1):
            raise ValueError(f"{name}={value} given; it must be positive and finite, most_symmetric at most 1.")
    for name, value in (("n_candidates", n_candidates), ("restarts", restarts), ("steps", steps)):
        if value is not None and value < 1:
            raise ValueError(f"{name}={value} given; it must be at least 1.")
    outputs = check_model(model, shape)
    with evaluating(model):
        check_invariant(model, shape, group)
        decay = None if weight_decay is None else float(weight_decay)
        known, source, recorder = known_loss(loss), spawn(generator, "invariant"), Recorder(on_step)
        own = owned(
            checkpoint, model=model, input_shape=shape, group=group, n_candidates=n_candidates, loss=known,
            weight_decay=decay, space=space, restarts=restarts, steps=steps, conventional=conventional,
            start=float(start), most_symmetric=float(most_symmetric), rest_rate=float(rest_rate), generator=generator,
        )  # fmt: skip
        task = _Task(
            shape, outputs, known, decay, space, n_candidates, restarts, steps, source, recorder, own
        )  # fmt: skip
        chain = None
        if isinstance(model, InvariantNetwork) and not conventional:
            chain = span_chain(model.base, None, next(model.parameters()).dtype)
        if chain is None or not isinstance(model, InvariantNetwork):
            found = _in_input_space(model, task, float(start), Symmetry(group, float(most_symmetric), float(rest_rate)))
        elif isinstance(model.group, Permutations):
            found = _by_elements(model.base, model.group, task)
        else:
            found = _by_views(model, chain, group, task)
    notes = (*found.warnings, UP_TO.format(group))
    return replace(found, warnings=notes, source=tuple(dict.fromkeys((*SOURCE, *found.source))))


def _by_views(net: InvariantNetwork, chain: Chain, group: Group, task: _Task) -> Reconstruction:
    """Candidates with their orbits, all restarts at once, grouped modulo the group."""
    lift = lift_of(net, chain, task.shape)
    spread, box = spread_and_box(net, task.shape, task.space, chain)
    count = -(-chain.rank // lift.count) if chain.clear else max(1, CANDIDATES // 3)
    zero_sum = task.loss is Loss.CROSS_ENTROPY
    joint = search(
        chain,
        candidates=task.n_candidates or 3 * count,
        restarts=task.restarts or RESTARTS,
        steps=task.steps or STEPS,
        sample_norm=spread * math.prod(task.shape) ** 0.5,
        layer_weights=layer_weights(chain, task.weight_decay),
        zero_sum=zero_sum,
        labelled=zero_sum,
        metric=image_metric(lift.inputs, task.shape) if is_photograph(task.shape) else None,
        lift=lift,
        box=box,
        generator=spawn(task.generator, "views"),
        on_step=task.recorder,
        note="candidates and their orbits",
        checkpoint=task.checkpoint,
    )
    x, names = (joint.z @ lift.inputs.T).flatten(0, 1), [f"layer {k + 1}" for k in range(len(chain.weights))]
    restart = torch.arange(len(joint.z), device=x.device).repeat_interleave(joint.z.shape[1])
    pool = Pool(
        x=x,
        multipliers=joint.multipliers.flatten(0, 1),
        restart=restart,
        residual=joint.residual.mean(1),
        residual_per_layer=dict(zip(names, joint.residual[int(joint.residual.mean(1).argmin())].tolist(), strict=True)),
        verified=None,
        evaluations=joint.steps * len(joint.z),
        outcome=joint.outcome,
        requested=task.n_candidates,
    )
    return _grouped(pool, replace(chain, rank=count), group, task)


def _in_input_space(model: nn.Module, task: _Task, start: float, symmetry: Symmetry) -> Reconstruction:
    spread, box = spread_and_box(model, task.shape, task.space, None)
    end = search_any(
        model,
        task.shape,
        candidates=task.n_candidates or CANDIDATES,
        restarts=task.restarts or RESTARTS,
        steps=task.steps or STEPS,
        pixel_scale=spread,
        zero_sum=task.loss is Loss.CROSS_ENTROPY,
        reference=None,
        forgets=bool(task.weight_decay),
        box=None if box is None else (box[0].reshape(task.shape), box[1].reshape(task.shape)),
        generator=spawn(task.generator, "input space"),
        on_step=task.recorder,
        checkpoint=task.checkpoint,
        start=start,
        symmetry=symmetry,
    )
    total = torch.stack(list(end.residual.values())).mean(0)
    best = int(total.argmin())
    pool = Pool(
        x=end.x.flatten(0, 1).flatten(1),
        multipliers=end.multipliers.flatten(0, 1),
        restart=torch.arange(len(end.x), device=end.x.device).repeat_interleave(end.x.shape[1]),
        residual=total,
        residual_per_layer={name: float(value[best]) for name, value in end.residual.items()},
        verified=None,
        evaluations=end.steps,
        outcome=end.outcome,
        requested=task.n_candidates,
    )
    return _grouped(pool, None, symmetry.group, task)


def _grouped(pool: Pool, chain: Chain | None, group: Group, task: _Task) -> Reconstruction:
    """`assemble` after every candidate was moved to the member of its orbit that the others of its kind have."""
    order = pool.multipliers.double().norm(dim=1).argsort(descending=True)
    moved = align_orbits(pool.x[order].reshape(-1, *task.shape), group=group).flatten(1)
    x = torch.empty_like(pool.x).index_copy_(0, order, moved)
    return assemble(replace(pool, x=x), task.shape, task.outputs, chain, tuple(task.recorder.kept))


def _by_elements(base: nn.Module, group: Permutations, task: _Task) -> Reconstruction:
    """For f the elements of all sets are samples of their own; those of one set share their multipliers."""
    space = task.space
    if space is not None:  # one mean and one scale for every element
        parts = [torch.as_tensor(part) for part in (space.mean, space.std)]
        mean, std = (p[0] if p.ndim == len(task.shape) else p for p in parts)
        space = InputSpace(space.low, space.high, mean, std)
    found = reconstruct_from_weights(
        base,
        task.shape[1:],
        n_candidates=task.n_candidates,
        loss=task.loss,
        weight_decay=task.weight_decay,
        space=space,
        restarts=task.restarts,
        steps=task.steps,
        generator=spawn(task.generator, "elements"),
        on_step=task.recorder,
        checkpoint=task.checkpoint,
    )
    return sets_of(found, group.count)
