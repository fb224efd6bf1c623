"""Training data of networks that are invariant to a group, up to the group (arXiv 2411.16458).

An invariant network gives all members of an orbit the same gradient: what can be read is each sample's orbit. The usual
attack drifts to inputs that the group leaves alone (`symmetry`). Where the network is an average of
an MLP over views, F(x) = mean_t f(view_t(x)), its weights say far more: for f they are those of a network trained on
every view of every sample, all views of a sample with the same multipliers. Candidates are then sought together with
their orbits, in coordinates of the inputs whose views the first layer spans; and a set's elements one by one, with the
check of `two_layer.columns`, to be put together by their multipliers.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

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
from vestige.reconstruct.options import check_counts
from vestige.reconstruct.result import Reconstruction
from vestige.reconstruct.weights.assemble import assemble
from vestige.reconstruct.weights.chain import Chain, span_chain
from vestige.reconstruct.weights.from_weights import reconstruct_from_weights, search_input_space
from vestige.reconstruct.weights.joint import layer_weights, search
from vestige.reconstruct.weights.pool import Pool, pool_of_joints
from vestige.reconstruct.weights.problem import Problem, Recorder, check_model, check_training
from vestige.reconstruct.weights.search_settings import CANDIDATES, STEPS
from vestige.reconstruct.weights.symmetry import Symmetry

SOURCE = (paper("2411.16458"),)
INIT_SCALE = 1.0  # of the search in input space: as large as the data
RESTARTS = 3
UP_TO = "The network is invariant to {}: each sample stands for its orbit, no member of which is the true one."


def reconstruct_invariant(
    model: nn.Module,
    input_shape: Sequence[int],
    group: Group,
    *,
    n_candidates: int | None = None,
    loss: Loss | str = Loss.CROSS_ENTROPY,
    weight_decay: float | int | None = None,
    space: InputSpace | None = None,
    restarts: int | None = None,
    steps: int | None = None,
    conventional: bool = False,
    init_scale: float | int = INIT_SCALE,
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
        init_scale: of the search in input space: standard deviation of the start, in units of the data's.
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
    shape = tuple(int(size) for size in input_shape)
    group.check(shape)
    for name, value in (("init_scale", init_scale), ("most_symmetric", most_symmetric), ("rest_rate", rest_rate)):
        if not (math.isfinite(value) and value > 0) or (name == "most_symmetric" and value > 1):
            raise ValueError(f"{name}={value} given; it must be positive and finite, most_symmetric at most 1.")
    check_counts(n_candidates=n_candidates, restarts=restarts, steps=steps)
    check_training(model, weight_decay)
    options: dict[str, Any] = {
        "model": model, "shape": shape, "n_candidates": n_candidates, "loss": Loss(loss), "weight_decay": weight_decay,
        "space": space, "restarts": restarts, "steps": steps,
    }  # fmt: skip
    symmetry = Symmetry(group, float(most_symmetric), float(rest_rate))
    own = owned(
        checkpoint, **options, symmetry=symmetry, conventional=conventional, init_scale=init_scale, generator=generator
    )
    problem = Problem(
        **options,
        outputs=check_model(model, shape),
        generator=spawn(generator, "invariant"),
        recorder=Recorder(on_step),
        checkpoint=own,
    )
    with evaluating(model):
        check_invariant(model, shape, group)
        found = _solve(problem, symmetry, conventional, float(init_scale))
    notes = (*found.warnings, UP_TO.format(group))
    return replace(found, warnings=notes, source=tuple(dict.fromkeys((*SOURCE, *found.source))))


def _solve(problem: Problem, symmetry: Symmetry, conventional: bool, init_scale: float) -> Reconstruction:
    model = problem.model
    if isinstance(model, InvariantNetwork) and not conventional:
        chain = span_chain(model.base, None, next(model.parameters()).dtype)
        if chain is not None and isinstance(model.group, Permutations):
            return _by_elements(model.base, model.group, problem)
        if chain is not None:
            return _by_views(model, chain, symmetry.group, problem)
    source = spawn(problem.generator, "input space")
    pool = search_input_space(problem, source, restarts=RESTARTS, init_scale=init_scale, symmetry=symmetry)
    return _grouped(pool, None, symmetry.group, problem)


def _by_views(net: InvariantNetwork, chain: Chain, group: Group, problem: Problem) -> Reconstruction:
    """Candidates with their orbits, all restarts at once, grouped modulo the group."""
    lift = lift_of(net, chain, problem.shape)
    spread, box = problem.spread_and_box(chain)
    count = -(-chain.rank // lift.count) if chain.clear else max(1, CANDIDATES // 3)
    joint = search(
        chain,
        candidates=problem.n_candidates or 3 * count,
        restarts=problem.restarts or RESTARTS,
        steps=problem.steps or STEPS,
        sample_norm=spread * math.prod(problem.shape) ** 0.5,
        layer_weights=layer_weights(chain, problem.weight_decay),
        zero_sum=problem.zero_sum,
        labeled=problem.zero_sum,
        metric=image_metric(lift.inputs, problem.shape) if is_photograph(problem.shape) else None,
        lift=lift,
        box=box,
        generator=spawn(problem.generator, "views"),
        on_step=problem.recorder,
        note="candidates and their orbits",
        checkpoint=problem.checkpoint,
    )
    pool = pool_of_joints([joint], lift.inputs, problem.n_candidates)
    return _grouped(pool, replace(chain, rank=count), group, problem)


def _grouped(pool: Pool, chain: Chain | None, group: Group, problem: Problem) -> Reconstruction:
    """`assemble` after every candidate was moved to the member of its orbit that the others of its kind have."""
    order = pool.multipliers.double().norm(dim=1).argsort(descending=True)
    moved = align_orbits(pool.x[order].reshape(-1, *problem.shape), group=group).flatten(1)
    x = torch.empty_like(pool.x).index_copy_(0, order, moved)
    return assemble(replace(pool, x=x), problem.shape, problem.outputs, chain, tuple(problem.recorder.kept))


def _by_elements(base: nn.Module, group: Permutations, problem: Problem) -> Reconstruction:
    """For f the elements of all sets are samples of their own; those of one set share their multipliers."""
    space = problem.space
    if space is not None:  # one mean and one scale for every element
        parts = [torch.as_tensor(part) for part in (space.mean, space.std)]
        mean, std = (p[0] if p.ndim == len(problem.shape) else p for p in parts)
        space = InputSpace(space.low, space.high, mean, std)
    found = reconstruct_from_weights(
        base,
        problem.shape[1:],
        n_candidates=problem.n_candidates,
        loss=problem.loss,
        weight_decay=problem.weight_decay,
        space=space,
        restarts=problem.restarts,
        steps=problem.steps,
        generator=spawn(problem.generator, "elements"),
        on_step=problem.recorder,
        checkpoint=problem.checkpoint,
    )
    return sets_of(found, group.count)
