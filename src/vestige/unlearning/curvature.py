"""Two more methods to compare with, from the geometry of the retained loss: a Newton step, and the minimum norm.

The same form as in `vestige.unlearning.baselines`.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from vestige.core.kkt import gram_system, weighted_gradient
from vestige.core.margins import Loss, as_rows, loss_value
from vestige.core.multipliers import ridge
from vestige.core.outcome import Outcome
from vestige.unlearning.baselines import Baseline, eval_copy, in_modes_of, train_on_retained
from vestige.unlearning.request import Forget, forgotten_and_retained


def newton_step(
    model: nn.Module,
    x: Float[Tensor, "n ..."],
    y: Shaped[Tensor, " n"],
    forget: Forget,
    *,
    loss: Loss | str,
    weight_decay: float = 0.0,
    damping: float = 1e-3,
    steps: int = 50,
) -> Baseline:
    """theta + (H + (wd + damping) I)^-1 sum_{r in F} grad l_r / n, with H the Hessian of the retained loss (influence).

    Args:
        model: the trained network.
        x: all training samples, model space.
        y: their labels.
        forget: positions, or a mask.
        loss: of the training.
        weight_decay: of the training.
        damping: keeps the system definite where the network is not convex.
        steps: of conjugate gradients, one product with H each.
    """
    index, kept = forgotten_and_retained(forget, len(x))
    net = eval_copy(model)
    params = [p for p in net.parameters() if p.requires_grad]
    retained = loss_value(net(x[kept]), y[kept], loss) * (len(kept) / len(x))
    slope = torch.autograd.grad(retained, params, create_graph=True)
    forgotten = loss_value(net(x[index]), y[index], loss) * (len(index) / len(x))
    right = [g.detach() for g in torch.autograd.grad(forgotten, params)]

    def product(v: list[Tensor]) -> list[Tensor]:
        curved = torch.autograd.grad(slope, params, v, retain_graph=True, materialize_grads=True)
        return [h + (weight_decay + damping) * a for h, a in zip(curved, v, strict=True)]

    step = _conjugate_gradients(product, right, steps)
    with torch.no_grad():
        for p, s in zip(params, step, strict=True):
            p += s
    return Baseline(in_modes_of(model, net), index, steps + 2, Outcome.BUDGET_SPENT)


def minimum_norm(
    model: nn.Module,
    x: Float[Tensor, "n ..."],
    y: Shaped[Tensor, " n"],
    forget: Forget,
    *,
    loss: Loss | str,
    rounds: int = 10,
    fraction: float = 0.3,
    steps: int = 20,
) -> Baseline:
    """Shrink the weights where the retained outputs do not change, and train on them again (the idea of MinNorm-OG).

    Each round takes off `fraction` times the part of theta that is orthogonal to all gradients of retained outputs.

    Args:
        model: the trained network.
        x: all training samples, model space.
        y: their labels.
        forget: positions, or a mask.
        loss: of the training.
        rounds: how many.
        fraction: of that part, taken off in each round; in (0, 1].
        steps: of training on the retained samples after each round.

    Raises:
        ValueError: a fraction that is not in (0, 1].
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction={fraction} given; it must be in (0, 1].")
    index, kept = forgotten_and_retained(forget, len(x))
    net, used = eval_copy(model), 0
    out = as_rows(net(x[:1]).detach()).shape[1]
    samples = x[kept].repeat_interleave(out, 0)
    rows = torch.eye(out).to(x).repeat(len(kept), 1)
    for _ in range(rounds):
        system = gram_system(net, samples, rows)
        weights = ridge(system.gram, system.target, 1e-8).to(rows)
        kept_part = weighted_gradient(net, samples, weights[:, None] * rows)
        with torch.no_grad():
            for name, p in net.named_parameters():
                if name in kept_part:
                    p -= fraction * (p - kept_part[name])
        found = train_on_retained(net, x, y, index, loss, 0.0, 0.0, steps, None)
        net, used = found.model, used + 1 + found.gradient_evaluations
    return Baseline(in_modes_of(model, net), index, used, Outcome.BUDGET_SPENT)


def _conjugate_gradients(
    product: Callable[[list[Tensor]], list[Tensor]], right: list[Tensor], steps: int
) -> list[Tensor]:
    def dot(a: list[Tensor], b: list[Tensor]) -> Tensor:
        return torch.stack([(u * v).sum() for u, v in zip(a, b, strict=True)]).sum()

    found, rest = [torch.zeros_like(b) for b in right], [b.clone() for b in right]
    way, size = [r.clone() for r in rest], dot(rest, rest)
    for _ in range(steps):
        image = product(way)
        bend = dot(way, image)
        if not bool(bend > 0) or not bool(size > 0):  # flat or concave: what was found so far is the step
            break
        length = size / bend
        found = [f + length * w for f, w in zip(found, way, strict=True)]
        rest = [r - length * i for r, i in zip(rest, image, strict=True)]
        old, size = size, dot(rest, rest)
        way = [r + size / old * w for r, w in zip(rest, way, strict=True)]
    return found
