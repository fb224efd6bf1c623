"""The update that an optimizer would make at step size 1, without making it.

The base optimizer takes the step, and goes back with all of its moments. So its state advances once a step, and the
step that follows is, bit for bit, the one that it takes by itself at that step size. An update that is linear in the
step size is the same direction at every size; others are refused.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

LINEAR = 1e-3  # of the update: what a doubled step may differ from twice the step
LEARNED = {"d", "d0", "train_mode"}  # keys of a group that say that the optimizer has a step size of its own
Saved = tuple[list[Tensor], list[dict[str, Any]], list[dict[str, Any]]]


def variables_of(base: torch.optim.Optimizer) -> list[Tensor]:
    """Of all groups."""
    return [p for group in base.param_groups for p in group["params"]]


def check_base(base: torch.optim.Optimizer) -> None:
    """Refuse what has no step size to choose.

    Raises:
        ValueError: an optimizer that needs a closure or has a step size of its own, or step sizes that are all zero.
    """
    name = type(base).__name__
    closure = inspect.signature(type(base).step).parameters.get("closure")
    if (closure is not None and closure.default is inspect.Parameter.empty) or any(
        LEARNED & set(group) for group in base.param_groups
    ):
        raise ValueError(
            f"{name} given, which chooses its step by itself; a base whose update is linear in its learning rate is "
            "needed, such as SGD, Adam or AdamW."
        )
    rates = [float(group["lr"]) for group in base.param_groups]
    if not all(rate >= 0 for rate in rates) or max(rates) == 0 or max(rates) == float("inf"):
        raise ValueError(f"{name} with learning rates {rates} given; they must be finite, and one of them positive.")


def unit_direction(base: torch.optim.Optimizer, multipliers: Sequence[float], *, check: bool) -> list[Tensor]:
    """v with `x <- x - rate v` for the next step of the base at step sizes `rate * multiplier`.

    Args:
        base: with a gradient on its variables; as it was, afterwards.
        multipliers: of its groups.
        check: that the update is linear in the step size.

    Raises:
        ValueError: a sparse gradient, or an update that is not linear.
    """
    variables = variables_of(base)
    if any(p.grad is not None and p.grad.layout is not torch.strided for p in variables):
        raise ValueError(
            "A sparse gradient given; its update has no dense direction. Use sparse=False in the embedding."
        )
    saved = _saved(base)
    found = _update(base, multipliers, 1.0, saved)
    if check:
        double = _update(base, multipliers, 2.0, saved)
        pairs = list(zip(found, double, saved[0], strict=True))
        error = norm([d - 2 * v for v, d, _ in pairs])
        rounding = sum(torch.finfo(p.dtype).eps ** 2 * float(p.norm()) ** 2 for _, _, p in pairs) ** 0.5
        if not error <= LINEAR * norm(found) + 8 * rounding:
            raise ValueError(
                f"{type(base).__name__} given: twice its learning rate is not twice its update, so that no direction "
                "is defined. Take a base whose update is linear in its learning rate, such as SGD, Adam or AdamW."
            )
    return found


def norm(tensors: Sequence[Tensor]) -> float:
    """Of all of them as one vector."""
    return sum(float(t.detach().double().norm()) ** 2 for t in tensors) ** 0.5


@torch.no_grad()
def _update(base: torch.optim.Optimizer, multipliers: Sequence[float], rate: float, saved: Saved) -> list[Tensor]:
    try:
        for group, multiplier in zip(base.param_groups, multipliers, strict=True):
            group["lr"] = rate * multiplier
        # without the hooks: what users hang on a step happens once a step
        getattr(type(base).step, "__wrapped__", type(base).step)(base)
        return [old - p for p, old in zip(variables_of(base), saved[0], strict=True)]
    finally:
        _go_back(base, saved)


def _saved(base: torch.optim.Optimizer) -> Saved:
    variables = variables_of(base)
    return (
        [p.detach().clone() for p in variables],
        [_copied(base.state[p]) if p in base.state else {} for p in variables],
        [{k: v for k, v in group.items() if k != "params"} for group in base.param_groups],
    )


def _copied(state: dict[str, Any]) -> dict[str, Any]:
    return {k: v.clone() if isinstance(v, Tensor) else v for k, v in state.items()}


def _go_back(base: torch.optim.Optimizer, saved: Saved) -> None:
    for p, old, moments in zip(variables_of(base), *saved[:2], strict=True):
        p.copy_(old)
        if moments:
            base.state[p] = _copied(moments)
        else:
            base.state.pop(p, None)
    for group, options in zip(base.param_groups, saved[2], strict=True):
        group.update(options)
