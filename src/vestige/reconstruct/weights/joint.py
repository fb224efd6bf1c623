"""The joint search: candidates and multipliers whose gradients sum to the weights, through softened gates.

Minimizes, over candidates z (span coordinates) and output multipliers l,

    sum over layers  a_k |theta_k - sum_i grad_{theta_k} (l_i . f(z_i))|^2 / |theta_k|^2                       (1)

with the gate 1[u > 0] of the backward pass replaced by sigmoid(sharpness u), so that (1) has a gradient through the
activation pattern (2206.07758, section 5). Here the sharpness grows during the search, from gates that see far to gates
that are exact; one multiplier vector an output replaces labels, signs and margins, which covers every loss of
2307.01827 at once; all restarts run in one tensor; Adam with one cycle replaces 50,000 steps of gradient descent.

Cross-entropy says more of l: it is (onehot(y) - p) / (n weight_decay) with p the predicted probabilities, so that one
entry is positive and the others are not. Labeled multipliers have that form; the label is the class for which the
network prefers this random start to the others, so that each class gets its share of candidates. A metric on the
candidates, such as the spectrum of photographs, shapes the start and the steps, and its norm is a weak penalty. Weak
directions of the first layer may be strengthened as the search goes on (`directions`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vestige.core.descent import Checkpoint, Descent, fit
from vestige.core.outcome import OnStep, Outcome
from vestige.core.soft_gate import soft_relu
from vestige.reconstruct.invariant.views import Lift
from vestige.reconstruct.weights.chain import Chain
from vestige.reconstruct.weights.directions import Directions

PIXELS = 768  # entries of each sample that are held against the box at one step, drawn anew
EXACT = 300.0  # sharpness of gates that are nearly exact
PRIOR = 0.1  # weight of the mean squared entry of u, z = u metric, against relative residuals


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


def tensors_of(joints: Sequence[Joint]) -> dict[str, Tensor]:
    """Searches that ended, for a checkpoint."""
    state = {}
    for k, joint in enumerate(joints):
        state |= {f"{k}.z": joint.z, f"{k}.multipliers": joint.multipliers, f"{k}.residual": joint.residual}
        finite = torch.tensor(joint.outcome != Outcome.NOT_FINITE)
        state |= {f"{k}.steps": torch.tensor(joint.steps), f"{k}.finite": finite}
    return state


def restored_joints(state: Mapping[str, Tensor], count: int) -> list[Joint]:
    """Inverse of `tensors_of`."""
    return [
        Joint(
            state[f"{k}.z"],
            state[f"{k}.multipliers"],
            state[f"{k}.residual"],
            int(state[f"{k}.steps"]),
            Outcome.BUDGET_SPENT if state[f"{k}.finite"] else Outcome.NOT_FINITE,
        )
        for k in range(count)
    ]


def gradient_sums(
    chain: Chain, z: Float[Tensor, "*batch m r"], multipliers: Float[Tensor, "*batch m out"], sharpness: float
) -> list[tuple[Tensor, Tensor]]:
    """sum_i grad (l_i . f(z_i)) for every (weight, bias), in closed form: one product a layer."""
    activations, gates = [z], []
    for weight, bias in zip(chain.weights[:-1], chain.biases[:-1], strict=True):
        u = activations[-1] @ weight.T + bias
        gates.append(torch.sigmoid(sharpness * u))
        activations.append(soft_relu(u, sharpness))
    delta, sums = multipliers, []
    for k in range(len(chain.weights) - 1, -1, -1):
        sums.append((delta.mT @ activations[k], delta.sum(-2)))
        if k:
            delta = (delta @ chain.weights[k]) * gates[k - 1]
    return sums[::-1]


def later_residuals(chain: Chain, z: Float[Tensor, "m r"], multipliers: Float[Tensor, "m out"]) -> dict[str, float]:
    """Relative squared residual of every layer but the first, by nearly exact gates."""
    sums = gradient_sums(chain, z, multipliers, EXACT)
    pairs = [(weight, target) for (weight, _), target in zip(sums, chain.target_weights, strict=True)][1:]
    return {f"layer {k + 2}": float((t - w).square().sum() / t.square().sum()) for k, (w, t) in enumerate(pairs)}


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
    labeled: bool = False,
    metric: Float[Tensor, "r r"] | None = None,
    lift: Lift | None = None,
    directions: Directions | None = None,
    generator: torch.Generator,
    on_step: OnStep | None = None,
    note: str = "",
    checkpoint: Checkpoint | None = None,
) -> Joint:
    """Minimize (1) from random starts.

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
        box: lowest and highest sample in model space, (d,) each; leaving it is penalized.
        labeled: whether the multipliers are those of cross-entropy, positive at one output and at no other.
        metric: rows by which standard normal u become plausible samples u metric of expected squared norm 1;
            None: isotropic.
        lift: candidates are inputs of an average over views, with coordinates of their own; None: span coordinates.
        directions: strengthen the weak directions of the first layer, or of what `known` columns leave of it.
        generator: source of the start.
        on_step: progress.
        note: what the progress says.
        checkpoint: where the state is saved, and read from if there is one.

    Returns:
        The last state.
    """
    inputs = chain.basis if lift is None else lift.inputs
    place = Place(inputs.shape[1], sample_norm, metric)
    u = place.start(restarts, candidates, chain.weights[0], generator)
    raw = torch.randn(restarts, candidates, chain.out, generator=generator, dtype=u.dtype).to(u.device)
    form, (low, high) = _form(chain, place.z(u), raw, zero_sum, labeled, lift), sharpness

    def objective(k: int) -> Tensor:
        alpha, z = low * (high / low) ** (k / steps), place.z(u)
        read = None if directions is None else directions.strengthened(k / steps)
        residual = _residual(chain, z, form.multipliers(raw), alpha, known, lift, read)
        loss = (residual * residual.new_tensor(layer_weights)).sum() + place.penalty(u)
        return loss if box is None else loss + _outside(z, inputs, box, generator)

    descent = Descent(*one_cycle((u, raw), (place.rate, 0.02), steps), generator)
    found = fit(objective, descent, steps=steps, checkpoint=checkpoint, on_step=on_step, note=note)
    with torch.no_grad():
        z, multipliers = place.z(u), form.multipliers(raw)
        residual = _residual(chain, z, multipliers, high, known, lift)
    return Joint(z, multipliers, residual, len(found.values), found.outcome)


def one_cycle(
    variables: Sequence[Tensor], rates: Sequence[float], steps: int
) -> tuple[torch.optim.Adam, torch.optim.lr_scheduler.OneCycleLR]:
    """Adam of every joint search: from a tenth of the largest rates to them, and down to a hundredth of that tenth."""
    adam = torch.optim.Adam([{"params": [v.requires_grad_()]} for v in variables], betas=(0.9, 0.99))
    cycle = {"pct_start": warm_up(steps), "cycle_momentum": False, "div_factor": 10, "final_div_factor": 100}
    return adam, torch.optim.lr_scheduler.OneCycleLR(adam, list(rates), total_steps=steps, **cycle)


def warm_up(steps: int) -> float:
    """Share of a cycle in which the rate rises: a tenth, but of ten steps, where torch divides by zero."""
    return 0.1 if steps != 10 else 0.15


@dataclass(frozen=True)
class Place:
    """Where candidates live: z a multiple of u metric, or of u where no metric is known."""

    dimensions: int
    sample_norm: float
    metric: Float[Tensor, "r r"] | None

    @property
    def rate(self) -> float:
        """Largest step of Adam in u."""
        return 0.06 if self.metric is None else 0.15

    def start(self, restarts: int, candidates: int, like: Tensor, generator: torch.Generator) -> Tensor:
        """Random u: samples of the metric, or short ones without it."""
        u = torch.randn(restarts, candidates, self.dimensions, generator=generator, dtype=like.dtype).to(like.device)
        return 0.4 * u if self.metric is None else u

    def z(self, u: Tensor) -> Tensor:
        """Span coordinates."""
        shape = self.dimensions**-0.5 * u if self.metric is None else u @ self.metric
        return self.sample_norm * shape

    def penalty(self, u: Tensor) -> Tensor | float:
        """Minus the logarithm of the prior up to constants, summed over restarts."""
        return 0.0 if self.metric is None else PRIOR * u.square().mean((-2, -1)).sum()


@dataclass(frozen=True)
class Form:
    """How free numbers become output multipliers l."""

    scale: float
    zero_sum: bool
    label: Int[Tensor, "restarts m 1"] | None

    def multipliers(self, raw: Float[Tensor, "restarts m out"]) -> Float[Tensor, "restarts m out"]:
        """With labels, scale exp(raw_y) (onehot(y) - softmax of the others); without, raw, centered if need be."""
        if self.label is not None:
            others = raw.scatter(-1, self.label, -torch.inf).softmax(-1)
            own = torch.zeros_like(raw).scatter(-1, self.label, 1.0)
            return self.scale * raw.gather(-1, self.label).exp() * (own - others)
        return self.scale * (raw - raw.mean(-1, keepdim=True) if self.zero_sum and raw.shape[-1] > 1 else raw)


def _form(chain: Chain, z: Tensor, raw: Tensor, zero_sum: bool, labeled: bool, lift: Lift | None) -> Form:
    """One scale for all multipliers, from norms: the sums begin at the size that they must reach."""
    label = None
    if labeled and chain.out > 1:
        outputs = _outputs(
            chain, z, lift
        )  # standardized, lest a class that few random inputs belong to gets no candidate
        spread = outputs.std(-2, correction=0, keepdim=True).clamp(min=1e-12)
        label = ((outputs - outputs.mean(-2, keepdim=True)) / spread).argmax(-1, keepdim=True)
        raw.mul_(0.3).scatter_(-1, label, 0.0)
    form = Form(1.0, zero_sum, label)
    first = sums_over_views(chain, z, form.multipliers(raw), 20.0, lift)[0][0]
    return replace(form, scale=float(chain.target_weights[0].norm() / first.flatten(1).norm(dim=1).mean()))


def sums_over_views(
    chain: Chain, z: Tensor, multipliers: Tensor, sharpness: float, lift: Lift | None
) -> list[tuple[Tensor, Tensor]]:
    """`gradient_sums`, over the views of the candidates where they have any."""
    if lift is not None:
        z, multipliers = lift.views(z), lift.shared(multipliers)
    return gradient_sums(chain, z, multipliers, sharpness)


def _outputs(chain: Chain, z: Tensor, lift: Lift | None) -> Tensor:
    if lift is not None:
        return _outputs(chain, lift.views(z), None).unflatten(-2, (-1, lift.count)).mean(-2)
    for weight, bias in zip(chain.weights[:-1], chain.biases[:-1], strict=True):
        z = (z @ weight.T + bias).relu()
    return z @ chain.weights[-1].T + chain.biases[-1]


def layer_weights(chain: Chain, weight_decay: float | None) -> list[float]:
    """a_k: 1 where training has forgotten the initialization, less where a deeper layer still carries it.

    At a stationary point of a homogeneous network every layer has the same squared norm (2206.07758's code starts
    only the first layer small, so that without weight decay the others keep most of their initialization).
    """
    norms = [
        float(w.square().sum() + b.square().sum())
        for w, b in zip(chain.target_weights, chain.target_biases, strict=True)
    ]
    if weight_decay:
        return [1.0] * len(norms)
    return [1.0] + [min(1.0, norms[0] / norm) ** 2 for norm in norms[1:]]


def _residual(
    chain: Chain,
    z: Tensor,
    multipliers: Tensor,
    sharpness: float,
    known: Tensor | None,
    lift: Lift | None,
    directions: Directions | None = None,
) -> Tensor:
    values = []
    for k, (weight, bias) in enumerate(sums_over_views(chain, z, multipliers, sharpness, lift)):
        gap_w, gap_b = chain.target_weights[k] - weight, chain.target_biases[k] - bias
        if k == 0 and known is not None:
            gap_w = gap_w - known @ (known.T @ gap_w)
            gap_b = gap_b - (gap_b @ known) @ known.T
        if k == 0 and directions is not None:
            gap = torch.cat([gap_w, gap_b[..., None]], -1) if chain.has_bias[0] else gap_w
            values.append(directions.relative(gap))
            continue
        square, norm = gap_w.square().sum((-2, -1)), chain.target_weights[k].square().sum()
        if chain.has_bias[k]:
            square, norm = square + gap_b.square().sum(-1), norm + chain.target_biases[k].square().sum()
        values.append(square / norm)
    return torch.stack(values, -1)


def _outside(z: Tensor, basis: Tensor, box: tuple[Tensor, Tensor], generator: torch.Generator) -> Tensor:
    """Mean squared distance from the box, summed over candidates, from some of the entries."""
    low, high = box
    if len(basis) > PIXELS:
        some = torch.randint(len(basis), (PIXELS,), generator=generator).to(basis.device)
        basis, low, high = basis[some], low[some], high[some]
    x = z @ basis.T
    return ((x - high).relu().square() + (low - x).relu().square()).mean(-1).sum()
