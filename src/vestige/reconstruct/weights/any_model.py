"""The joint search for modules that are no MLP chain: convolutions, other activations, anything differentiable.

The same objective as `joint`, in the space of the input itself and by automatic
differentiation: one backward pass for the sum of gradients, and one through it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vestige.core.descent import Checkpoint, Descent, Within, fit
from vestige.core.kkt import weighted_gradient
from vestige.core.outcome import OnStep, Outcome, Step
from vestige.core.rng import spawn
from vestige.core.soft_gate import SmoothedReLU, smoothed
from vestige.reconstruct.weights.joint import one_cycle
from vestige.reconstruct.weights.symmetry import Parts, Symmetry


@dataclass(frozen=True)
class AnyJoint:
    """End of a search: candidates in model space, multipliers, and the relative squared residual of every parameter."""

    x: Float[Tensor, "restarts m ..."]
    multipliers: Float[Tensor, "restarts m out"]
    residual: dict[str, Float[Tensor, " restarts"]]
    steps: int
    outcome: Outcome


def search_any(
    model: nn.Module,
    shape: tuple[int, ...],
    *,
    candidates: int,
    restarts: int,
    steps: int,
    pixel_scale: float,
    zero_sum: bool,
    reference: Mapping[str, Tensor] | None,
    forgets: bool,
    box: tuple[Tensor, Tensor] | None,
    generator: torch.Generator,
    on_step: OnStep | None = None,
    sharpness: tuple[float, float] = (20.0, 100.0),
    checkpoint: Checkpoint | None = None,
    start: float = 0.4,
    symmetry: Symmetry | None = None,
) -> AnyJoint:
    """Restart after restart of Adam on candidates and multipliers.

    Args:
        model: any module in evaluation mode.
        shape: of one input.
        candidates: how many a restart.
        restarts: one after the other.
        steps: of Adam, each.
        pixel_scale: rough standard deviation of an input's entries.
        zero_sum: whether multipliers sum to zero over the outputs.
        reference: parameters before training, if known.
        forgets: whether training forgot the initialization of later layers (weight decay).
        box: lowest and highest sample in model space.
        generator: source of the starts.
        on_step: progress.
        sharpness: of the gates of nn.ReLU modules, first and last.
        checkpoint: where the state is saved, and read from if there is one.
        start: standard deviation of the start's entries, in units of `pixel_scale`.
        symmetry: what keeps candidates from becoming symmetric, for invariant networks.

    Returns:
        The last states.
    """
    problem = _Problem(model, reference, forgets, zero_sum, box, sharpness, symmetry)
    ends = _finished((None if checkpoint is None else checkpoint.load()) or {}, problem.like)
    for restart in range(len(ends), restarts):
        note = f"restart {restart + 1} of {restarts}"
        told = None if on_step is None else _shifted(on_step, restart * steps, restarts * steps, note)
        part = None if checkpoint is None else Within(checkpoint, f"restart {restart}", _tensors(ends))
        source = spawn(generator, "restart", str(restart))
        ends.append(_one(problem, shape, candidates, steps, pixel_scale, start, source, told, part))
        if checkpoint is not None:
            checkpoint.save(_tensors(ends))
    residuals = [problem.residual(x, multipliers) for x, multipliers, _ in ends]
    return AnyJoint(
        torch.stack([x for x, _, _ in ends]),
        torch.stack([multipliers for _, multipliers, _ in ends]),
        {name: torch.stack([r[name] for r in residuals]) for name in problem.weights},
        steps * restarts,
        Outcome.BUDGET_SPENT if all(finite for _, _, finite in ends) else Outcome.NOT_FINITE,
    )


def _tensors(ends: list[tuple[Tensor, Tensor, bool]]) -> dict[str, Tensor]:
    state = {}
    for k, (x, multipliers, finite) in enumerate(ends):
        state |= {f"x.{k}": x, f"multipliers.{k}": multipliers, f"finite.{k}": torch.tensor(finite)}
    return state


def _finished(state: Mapping[str, Tensor], like: Tensor) -> list[tuple[Tensor, Tensor, bool]]:
    """Inverse of `_tensors`."""
    count = sum(name.startswith("x.") for name in state)
    return [
        (state[f"x.{k}"].to(like.device), state[f"multipliers.{k}"].to(like.device), bool(state[f"finite.{k}"]))
        for k in range(count)
    ]


class _Problem:
    """The network with softened gates, what its gradients must sum to, and what leaving the box costs."""

    def __init__(self, model, reference, forgets, zero_sum, box, sharpness, symmetry):
        try:
            self.net = smoothed(model, sharpness[0])
        except ValueError:  # no nn.ReLU: smooth activations need no softening
            self.net = model
        self.like = next(model.parameters())
        start = reference or {}
        self.target = {
            k: p.detach() - start.get(k, torch.zeros_like(p)) for k, p in model.named_parameters() if p.requires_grad
        }
        self.weights = _parameter_weights(self.target, forgets)
        self.zero_sum, self.box, self.sharpness, self.symmetry = zero_sum, box, sharpness, symmetry

    def multipliers(self, raw: Tensor, scale: float) -> Tensor:
        return scale * (raw - raw.mean(-1, keepdim=True) if self.zero_sum and raw.shape[-1] > 1 else raw)

    def loss(self, x: Tensor, multipliers: Tensor, progress: float) -> Tensor:
        _sharpen(self.net, self.sharpness[0] * (self.sharpness[1] / self.sharpness[0]) ** progress)
        sums = weighted_gradient(self.net, x, multipliers, create_graph=True)
        gaps = [w * (self.target[n] - sums[n]).square().sum() for n, w in self.weights.items()]
        if self.box is not None:
            gaps.append(
                ((x - self.box[1]).relu().square() + (self.box[0] - x).relu().square()).flatten(1).mean(1).sum()
            )
        if self.symmetry is not None:
            gaps.append(self.symmetry.penalty(x))
        return torch.stack(gaps).sum()

    def scale(self, x: Tensor, raw: Tensor) -> float:
        """From norms: the sums begin with the norm of the first parameter."""
        _sharpen(self.net, self.sharpness[0])
        first = next(iter(self.target))
        sums = weighted_gradient(self.net, x, self.multipliers(raw, 1.0))
        return float(self.target[first].norm() / sums[first].norm().clamp_min(1e-30))

    def residual(self, x: Tensor, multipliers: Tensor) -> dict[str, Tensor]:
        _sharpen(self.net, self.sharpness[1])
        sums = weighted_gradient(self.net, x, multipliers)
        return {
            n: (self.target[n] - sums[n]).square().sum() / self.target[n].square().sum().clamp_min(1e-30)
            for n in self.weights
        }


def _one(
    problem, shape, candidates, steps, pixel_scale, start, generator, on_step, checkpoint
) -> tuple[Tensor, Tensor, bool]:
    like = problem.like
    x = (torch.randn(candidates, *shape, generator=generator, dtype=like.dtype) * (start * pixel_scale)).to(like.device)
    with torch.no_grad():
        out = problem.net(x[:1]).reshape(1, -1).shape[1]
    raw = torch.randn(candidates, out, generator=generator, dtype=like.dtype).to(like.device)
    scale = problem.scale(x, raw)
    parts = Parts(x, 0.06 * pixel_scale, problem.symmetry)
    optimizer, schedule = one_cycle((*parts.free, raw), (*parts.rates, 0.02), steps)
    found = fit(
        lambda k: problem.loss(parts.joined(), problem.multipliers(raw, scale), k / steps),
        Descent(optimizer, schedule),
        steps=steps,
        checkpoint=checkpoint,
        on_step=on_step,
    )
    end = problem.multipliers(raw.detach(), scale)
    return parts.joined().detach(), end, found.outcome is not Outcome.NOT_FINITE


def _shifted(on_step: OnStep, done: int, total: int, note: str) -> OnStep:
    return lambda step: on_step(Step(done + step.index, total, step.value, note))


def _parameter_weights(target: Mapping[str, Tensor], forgets: bool) -> dict[str, float]:
    """One over the squared norm of each parameter; squared again for what outweighs the first, whose init it keeps."""
    first = float(next(iter(target.values())).square().sum())
    norms = {n: max(float(t.square().sum()), 1e-30) for n, t in target.items()}
    return {n: (1.0 if forgets else min(1.0, first / norm) ** 2) / norm for n, norm in norms.items()}


def _sharpen(net: nn.Module, alpha: float) -> None:
    for module in net.modules():
        if isinstance(module, SmoothedReLU):
            module.alpha = alpha
