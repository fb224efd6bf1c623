"""The joint search: candidates and multipliers whose gradients sum to the weights, through softened gates.

Minimises, over candidates z (span coordinates) and output multipliers l,

    sum over layers  a_k |theta_k - sum_i grad_{theta_k} (l_i . f(z_i))|^2 / |theta_k|^2                       (1)

with the gate 1[u > 0] of the backward pass replaced by sigmoid(sharpness u), so that (1) has a gradient through the
activation pattern (2206.07758, section 5). Here the sharpness grows during the search, from gates that see far to gates
that are exact; one multiplier vector an output replaces labels, signs and margins, which covers every loss of
2307.01827 at once; all restarts run in one tensor; Adam with one cycle replaces 50,000 steps of gradient descent.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vestige.core.outcome import Outcome, Step
from vestige.reconstruct.chain import Chain

CHECK_EVERY = 50


class SoftGate(torch.autograd.Function):
    """Exact relu forwards; backwards, and in its own derivative, the gate is sigmoid(sharpness z)."""

    @staticmethod
    def forward(ctx, z: Tensor, sharpness: float) -> Tensor:
        ctx.save_for_backward(z)
        ctx.sharpness = sharpness
        return z.relu()

    @staticmethod
    def backward(ctx, *grads: Tensor):
        (z,) = ctx.saved_tensors
        return grads[0] * torch.sigmoid(ctx.sharpness * z), None


@dataclass(frozen=True)
class Joint:
    """End of a joint search.

    Attributes:
        z: candidates in span coordinates.
        multipliers: l of every candidate, zero-sum where the loss makes them so.
        residual: (1) layer by layer, relative and squared.
        steps: gradient evaluations spent.
        outcome: BUDGET_SPENT, or NOT_FINITE with the last finite state.
    """

    z: Float[Tensor, "restarts m r"]
    multipliers: Float[Tensor, "restarts m out"]
    residual: Float[Tensor, "restarts layers"]
    steps: int
    outcome: Outcome


def gradient_sums(
    chain: Chain, z: Float[Tensor, "*batch m r"], multipliers: Float[Tensor, "*batch m out"], sharpness: float
) -> list[tuple[Tensor, Tensor]]:
    """sum_i grad (l_i . f(z_i)) for every (weight, bias), in closed form: one product a layer."""
    activations, gates = [z], []
    for weight, bias in zip(chain.weights[:-1], chain.biases[:-1], strict=True):
        u = activations[-1] @ weight.T + bias
        gates.append(torch.sigmoid(sharpness * u))
        activations.append(SoftGate.apply(u, sharpness))
    delta, sums = multipliers, []
    for k in range(len(chain.weights) - 1, -1, -1):
        sums.append((delta.mT @ activations[k], delta.sum(-2)))
        if k:
            delta = (delta @ chain.weights[k]) * gates[k - 1]
    return sums[::-1]


def search(
    chain: Chain,
    *,
    candidates: int,
    restarts: int,
    steps: int,
    sample_norm: float,
    layer_weights: Sequence[float],
    zero_sum: bool,
    sharpness: tuple[float, float] = (20.0, 100.0),
    known: Float[Tensor, "h k"] | None = None,
    box: tuple[Tensor, Tensor] | None = None,
    start: tuple[Tensor, Tensor] | None = None,
    generator: torch.Generator,
    on_step: Callable[[Step], None] | None = None,
    note: str = "",
) -> Joint:
    """Minimise (1) from random starts.

    Args:
        chain: the network.
        candidates: how many a restart.
        restarts: how many at once.
        steps: of Adam.
        sample_norm: rough l_2 norm of a sample, for the start and the step size.
        layer_weights: a_k.
        zero_sum: whether the multipliers of a candidate sum to zero over the outputs.
        sharpness: at the first and at the last step, times the size of a typical pre-activation of 1.
        known: orthonormal columns already explained in the first layer: (1) is taken orthogonally to them.
        box: lowest and highest sample in model space, (d,) each; leaving it is penalised.
        start: z and multipliers to begin with instead of random ones.
        generator: source of the start.
        on_step: progress.
        note: what the progress says.

    Returns:
        The last state.
    """
    z, scale, raw = _start(chain, candidates, restarts, sample_norm, zero_sum, start, generator)
    unit = sample_norm / z.shape[-1] ** 0.5
    optimizer = torch.optim.Adam([{"params": [z], "lr": 0.06 * unit}, {"params": [raw], "lr": 0.02}], betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        [0.06 * unit, 0.02],
        total_steps=steps,
        pct_start=0.1,
        cycle_momentum=False,
        div_factor=10,
        final_div_factor=100,
    )
    good, outcome, done = (z.detach().clone(), raw.detach().clone()), Outcome.BUDGET_SPENT, 0
    low, high = sharpness
    for k in range(steps):
        alpha = low * (high / low) ** (k / steps)
        residual = _residual(chain, z, _multipliers(raw, scale, zero_sum), alpha, known)
        loss = (residual * residual.new_tensor(layer_weights)).sum()
        if box is not None:
            loss = loss + _outside(z, chain, box)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        done = k + 1
        if done % CHECK_EVERY == 0 or done == steps:
            value = float(loss.detach())
            if not (torch.isfinite(z).all() and torch.isfinite(raw).all() and value == value):
                outcome = Outcome.NOT_FINITE
                break
            good = (z.detach().clone(), raw.detach().clone())
        if on_step is not None:
            on_step(Step(done, steps, float(loss.detach()), note))
    with torch.no_grad():
        multipliers = _multipliers(good[1], scale, zero_sum)
        residual = _residual(chain, good[0], multipliers, high, known)
    return Joint(good[0], multipliers, residual, done, outcome)


def layer_weights(chain: Chain, weight_decay: float | None) -> list[float]:
    """a_k: 1 where training has forgotten the initialisation, less where a deeper layer still carries it.

    At a stationary point of a homogeneous network every layer has the same squared norm (2206.07758's code starts
    only the first layer small, so that without weight decay the others keep most of their initialisation).
    """
    norms = [
        float(w.square().sum() + b.square().sum())
        for w, b in zip(chain.target_weights, chain.target_biases, strict=True)
    ]
    if weight_decay:
        return [1.0] * len(norms)
    return [1.0] + [min(1.0, norms[0] / norm) ** 2 for norm in norms[1:]]


def _start(chain, candidates, restarts, sample_norm, zero_sum, start, generator):
    r = chain.basis.shape[1]
    like = chain.weights[0]
    if start is None:
        z = torch.randn(restarts, candidates, r, generator=generator, dtype=like.dtype) * (0.4 * sample_norm / r**0.5)
        raw = torch.randn(restarts, candidates, chain.out, generator=generator, dtype=like.dtype)
        z, raw = z.to(like.device), raw.to(like.device)
        # One scale for all, from norms: the sums begin at a third of what they must reach.
        first = gradient_sums(chain, z, _multipliers(raw, 1.0, zero_sum), 20.0)[0][0]
        scale = float(chain.target_weights[0].norm() / first.flatten(1).norm(dim=1).mean())
    else:
        z, scale = start[0].clone(), float(start[1].abs().mean().clamp_min(1e-30))
        raw = start[1] / scale
    return z.requires_grad_(), scale, raw.requires_grad_()


def _multipliers(raw: Tensor, scale: float, zero_sum: bool) -> Tensor:
    return scale * (raw - raw.mean(-1, keepdim=True) if zero_sum and raw.shape[-1] > 1 else raw)


def _residual(chain: Chain, z: Tensor, multipliers: Tensor, sharpness: float, known: Tensor | None) -> Tensor:
    values = []
    for k, (weight, bias) in enumerate(gradient_sums(chain, z, multipliers, sharpness)):
        gap_w, gap_b = chain.target_weights[k] - weight, chain.target_biases[k] - bias
        if k == 0 and known is not None:
            gap_w = gap_w - known @ (known.T @ gap_w)
            gap_b = gap_b - (gap_b @ known) @ known.T
        square, norm = gap_w.square().sum((-2, -1)), chain.target_weights[k].square().sum()
        if chain.has_bias[k]:
            square, norm = square + gap_b.square().sum(-1), norm + chain.target_biases[k].square().sum()
        values.append(square / norm)
    return torch.stack(values, -1)


def _outside(z: Tensor, chain: Chain, box: tuple[Tensor, Tensor]) -> Tensor:
    """Mean squared distance from the box, summed over candidates."""
    x = z @ chain.basis.T
    return ((x - box[1]).relu().square() + (box[0] - x).relu().square()).mean(-1).sum()
