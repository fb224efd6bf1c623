"""What the truth and the nulls say of a reconstruction: the only part of the audit that sees the data."""

from functools import partial

import torch
from torch import Tensor

from vestige.audit.target import Target
from vestige.audit.truth import Truth
from vestige.core.margins import Loss
from vestige.core.outcome import OnStep
from vestige.core.rng import child
from vestige.core.stationarity import Stationarity, Subgradient, stationarity
from vestige.nets.groups import Group
from vestige.reconstruct.invariant.from_invariant import reconstruct_invariant
from vestige.reconstruct.result import Reconstruction
from vestige.reconstruct.scoring.score import ReconstructionScore, score_reconstruction
from vestige.reconstruct.scoring.untrained import untrained_like
from vestige.reconstruct.weights.from_weights import reconstruct_from_weights

RATE = 1e-3  # false positive rate at which a sample counts as recovered
LARGEST_CHECK = 500  # samples up to which the truth's own stationarity is computed
# Of the attack on an untrained network. On 20 digits its best similarities have a median of .22 and reach .40 at most
# after 300 steps from one start, .21 and .36 at the audit's own effort, which takes eight times as long.
NULL_RESTARTS, NULL_STEPS = 1, 300


def compare(
    target: Target,
    found: Reconstruction,
    truth: Truth,
    *,
    seed: int,
    solver: str,
    on_step: OnStep,
    group: Group | None = None,
) -> ReconstructionScore:
    """Score what was found against the truth, and beside it what knows nothing of the training."""
    like = next(target.model.parameters())
    null = {"untrained network": _untrained(target, len(found.samples), seed, solver, on_step, group)}
    if (rows := _first_rows(target)) is not None:
        null["first-layer rows"] = rows
    return score_reconstruction(
        found,
        inputs(target, truth.train.x).to(like),
        null={name: samples for name, samples in null.items() if len(samples)},
        held_out=None if truth.held_out is None else inputs(target, truth.held_out.x).to(like),
        space=target.space,
        rate=RATE,
        group=group,
    )


def _untrained(target: Target, size: int, seed: int, solver: str, on_step: OnStep, group: Group | None) -> Tensor:
    """The likeliest samples that the same attack draws, with less effort, from random weights of the same scales."""
    twin, shape = untrained_like(target.model, generator=child(seed, "untrained")), target.input_shape
    common = {
        "loss": target.loss,
        "weight_decay": target.weight_decay,
        "space": target.space,
        "restarts": NULL_RESTARTS,
        "steps": NULL_STEPS,
        "generator": child(seed, "untrained", "attack"),
        "on_step": on_step,
    }
    if group is not None:
        found = reconstruct_invariant(twin, shape, group, **common, conventional=solver != "default")
    else:
        found = reconstruct_from_weights(twin, shape, **common, solver=solver)
    drawn = found.samples[:size]
    return drawn[torch.isfinite(drawn).flatten(1).all(1)]


def _first_rows(target: Target) -> Tensor | None:
    """First-layer weights as if they were samples: some training images can be seen in them without any attack."""
    size = torch.Size(target.input_shape).numel()
    weight = next((p for p in target.model.parameters() if p.ndim == 2), None)
    return weight.detach().reshape(-1, *target.input_shape) if weight is not None and weight.shape[1] == size else None


def inputs(target: Target, x: Tensor) -> Tensor:
    """Data as the model takes it."""
    if x[0].numel() != torch.Size(target.input_shape).numel():
        wanted, got = ("x".join(map(str, shape)) for shape in (target.input_shape, x.shape[1:]))
        raise ValueError(f"the data have samples of shape {got}, the model takes {wanted}; is it another data set?")
    x = x.reshape(len(x), *target.input_shape)
    return x if target.space is None else target.space.to_model(x)


def at_truth(target: Target, truth: Truth) -> tuple[tuple[Stationarity, ...], tuple[str, ...]]:
    """How nearly the true samples satisfy the equation that the attack solves: plain, then with the best gates."""
    if len(truth.train) > LARGEST_CHECK or target.loss in (Loss.MSE, Loss.HUBER):
        return (), ()
    x = inputs(target, truth.train.x).to(next(target.model.parameters()))
    check = partial(stationarity, target.model, x, truth.train.y, loss=target.loss, weight_decay=target.weight_decay)
    try:
        plain = check()
    except ValueError as error:
        return (), (f"The stationarity of the true samples was not computed: {error}",)
    try:
        best = check(subgradient=Subgradient.CLARKE)
    except ValueError:  # no chain of linear layers and ReLUs
        return (plain,), plain.warnings
    return (plain, best), best.warnings
