"""How a reconstruction compares with the truth and with the nulls: the only part of the audit that sees the data."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from vestige.audit.inputs import Audited
from vestige.audit.job import Tensors
from vestige.audit.search import Search, search
from vestige.audit.target import Target
from vestige.audit.truth import Truth
from vestige.core.descent import Checkpoint
from vestige.core.margins import Loss
from vestige.core.outcome import OnStep
from vestige.core.residual import Stationarity, Subgradient, stationarity
from vestige.core.rng import child
from vestige.data.dataset import DataSet
from vestige.nets.architecture import parse_architecture
from vestige.nets.groups import Group
from vestige.nets.layers import Activation
from vestige.reconstruct.result import Reconstruction
from vestige.reconstruct.scoring.score import ReconstructionScore, score_reconstruction
from vestige.reconstruct.scoring.similarity import Comparison
from vestige.reconstruct.scoring.untrained import untrained_like
from vestige.report.verdict import ROWS

RATE = 1e-3  # false positive rate at which a sample counts as recovered
LARGEST_CHECK = 500  # samples up to which the truth's own stationarity is computed
CLEARER = 4  # times less that another activation must leave unexplained: ReLU leaves 8 times what GELU does on digits
# Of the attack on an untrained network. On 20 digits its best similarities have a median of .22 and reach .40 at most
# after 300 steps from one start, .21 and .36 at the audit's own effort, which takes eight times as long.
NULL_RESTARTS, NULL_STEPS = 1, 300


def compare(
    target: Target,
    found: Reconstruction,
    truth: Truth,
    how: Search,
    *,
    on_step: OnStep | None,
    checkpoint: Checkpoint | None,
) -> ReconstructionScore:
    """Score what was found against the truth, and beside it what knows nothing of the training."""
    null = {"untrained network": _untrained(target, len(found.samples), how, on_step, checkpoint)}
    if (rows := _first_rows(target)) is not None:
        null[ROWS] = rows
    return score(target, found, truth, group=how.group, null={name: x for name, x in null.items() if len(x)})


def score(
    target: Audited,
    found: Reconstruction,
    truth: Truth,
    *,
    group: Group | None = None,
    null: Mapping[str, Tensor] | None = None,
) -> ReconstructionScore:
    """Score what was found against the truth, in model space."""
    return score_reconstruction(
        found,
        target.inputs(truth.train.x.to(found.samples)),
        null=null,
        held_out=None if truth.held_out is None else target.inputs(truth.held_out.x.to(found.samples)),
        space=target.space,
        false_positive_rate=RATE,
        group=group,
    )


def _untrained(target: Target, size: int, how: Search, on_step: OnStep | None, checkpoint: Checkpoint | None) -> Tensor:
    """The likeliest samples that the same attack draws, with less effort, from random weights of the same scales."""
    twin = untrained_like(target.model, generator=child(how.seed, "untrained"))
    steps = min(NULL_STEPS, how.steps or NULL_STEPS)
    found = search(
        replace(target, loaded=replace(target.loaded, model=twin)),
        Search(restarts=NULL_RESTARTS, steps=steps, solver=how.solver, group=how.group),
        generator=child(how.seed, "untrained", "attack"),
        on_step=on_step,
        checkpoint=checkpoint,
    )
    drawn = found.samples[:size]
    return drawn[torch.isfinite(drawn).flatten(1).all(1)]


def _first_rows(target: Target) -> Tensor | None:
    """First-layer weights as if they were samples: some training images can be seen in them without any attack."""
    size = torch.Size(target.input_shape).numel()
    weight = next((p for p in target.model.parameters() if p.ndim == 2), None)
    return weight.detach().reshape(-1, *target.input_shape) if weight is not None and weight.shape[1] == size else None


def kept_tensors(
    target: Audited, found: Reconstruction, truth: Truth | None, score: ReconstructionScore | None
) -> Tensors:
    """What samples.safetensors holds, the samples in data space."""
    kept = {"samples": target.shown_space.to_data(found.samples), "singular_values": found.singular_values}
    if truth is None or score is None:
        return kept
    shown = target.shaped(truth.train.x)
    kept |= {"truth": shown, "false_rate": score.false_rate, "true_rate": score.true_rate}
    return kept if truth.held_out is None else {**kept, "unseen": _nearest_unseen(target, truth, truth.held_out)}


def _nearest_unseen(target: Audited, truth: Truth, held_out: DataSet) -> Tensor:
    """The unseen sample that comes nearest to each true one, in data space."""
    comparison = Comparison(target.inputs(truth.train.x.double()), target.space)
    nearest = comparison.similarity(target.inputs(held_out.x.double())).argmax(1)
    return target.shaped(held_out.x)[nearest]


def at_truth(target: Target, truth: Truth) -> tuple[tuple[Stationarity, ...], tuple[str, ...]]:
    """How nearly the true samples satisfy the equation that the attack solves: plain, then with the best gates.

    Returns:
        The measurements, and the reason where there are none.
    """
    if len(truth.train) > LARGEST_CHECK or target.loss in (Loss.MSE, Loss.HUBER):
        return (), ()
    x = target.inputs(truth.train.x).to(next(target.model.parameters()))
    check = partial(stationarity, target.model, x, truth.train.y, loss=target.loss, weight_decay=target.decay)
    try:
        plain = check()
    except ValueError as error:
        return (), (f"The stationarity of the true samples was not computed: {error}",)
    try:
        best = check(subgradient=Subgradient.CLARKE)
    except ValueError:  # no chain of linear layers and ReLUs
        return (plain,), plain.warnings
    other = _other_activation(target, x, truth.train.y, best) if target.assumed else ()
    return (plain, best), (*other, *best.warnings)


def _other_activation(target: Target, x: Tensor, y: Tensor, found: Stationarity) -> tuple[str, ...]:
    """The activation with which these samples explain the weights far better than with the ReLU that was assumed."""
    kind, widths, *options = target.loaded.architecture.split(":")
    left = {}
    for activation in (one for one in Activation if one is not Activation.RELU):
        text = ":".join((kind, widths, activation, *options))
        model = parse_architecture(text).to(x)
        model.load_state_dict(target.model.state_dict())
        left[text] = float(stationarity(model.eval(), x, y, loss=target.loss, weight_decay=target.decay).residual)
    text = min(left, key=lambda name: left[name], default="")
    if not text or not left[text] < float(found.residual) / CLEARER:
        return ()
    return (
        f"ReLU was assumed, and leaves {float(found.residual):.3g} of the weights unexplained at these samples; with "
        f"--arch {text} only {left[text]:.2g} is left: was that the activation?",
    )
