"""APGD's rule for l_1: sparse steps whose sparsity follows the perturbation's, in balls of 3, 2 and 1 eps.

After arXiv 2103.01208: three phases with 30, 30 and 40 % of the steps search in shrinking balls, and the step is
divided by 1.5 unless the perturbation has become sparser.
"""

import torch
from torch import Tensor

from vestige.attack.methods.balls import project
from vestige.attack.problem import Case
from vestige.core.space import lp_norm, per_sample

State = dict[str, Tensor]
PHASES = (0.3, 0.6)
SHRINK, SMALLEST, FIRST_SHARE = 1.5, 0.1, 0.2


def _boundaries(steps: int) -> tuple[int, int]:
    return int(PHASES[0] * steps), int(PHASES[1] * steps)


def _factor(clock: Tensor, steps: int) -> Tensor:
    first, second = _boundaries(steps)
    return 3 - (clock >= first).long() - (clock >= second).long()


def fresh(case: Case, rows: Tensor, steps: int) -> State:
    """What the rule keeps for rows that begin."""
    size = case.x[0].numel()
    eps = case.eps[rows]
    return {"size": 3 * eps, "share": torch.full_like(eps, FIRST_SHARE), "support": torch.full_like(eps, size)}


def radius(case: Case, state: State, steps: int) -> Tensor:
    """Radius of the ball that each row searches."""
    return case.eps[state["row"]] * _factor(state["clock"], steps)


def advance(case: Case, state: State, steps: int) -> Tensor:
    """The next point of each row; where the ball shrinks, the best point is brought into the smaller one."""
    x, eps = case.x[state["row"]], radius(case, state, steps)
    flat = state["slope"].flatten(1)
    kept = (state["share"] * flat.shape[1]).long().clamp(1, flat.shape[1])
    ordered = flat.abs().sort(1, descending=True).values
    sign = flat.sign() * (flat.abs() >= ordered.gather(1, (kept - 1)[:, None]))
    step = sign / sign.abs().sum(1, keepdim=True).clamp(min=1)
    moved = state["at"] + per_sample(state["size"], x) * step.reshape(x.shape)
    turned = _turns(state["clock"], steps)
    moved = torch.where(per_sample(turned, x), state["best_at"], moved)
    return project(moved, x, eps, case.oracle.box, case.norm)


def _turns(clock: Tensor, steps: int) -> Tensor:
    first, second = _boundaries(steps)
    return ((clock == first) | (clock == second)) & (clock > 0)


def adapt(case: Case, state: State, steps: int) -> None:
    """Sparsity and step of the next move; `clock` counts the steps made."""
    x = case.x[state["row"]]
    turned = _turns(state["clock"] - 1, steps)  # the step just made only moved into a smaller ball
    chosen = per_sample(turned, x)
    for best, current in (("best_at", "at"), ("best_slope", "slope")):
        state[best] = torch.where(chosen, state[current], state[best])
    state["best"] = torch.where(turned, state["value"], state["best"])
    eps = case.eps[state["row"]] * _factor((state["clock"] - 1).clamp(min=0), steps)
    support = lp_norm((state["best_at"] != x).to(x), 1)
    sparser = support / state["support"].clamp(min=1) < 0.95
    restart = sparser | turned
    size = torch.where(restart, eps, (state["size"] / SHRINK).clamp(min=0).maximum(SMALLEST * eps))
    state["size"] = torch.minimum(size, eps)
    state["share"] = support / x[0].numel() / SHRINK
    state["support"] = support
    back = per_sample(sparser & ~turned, x)
    state["at"] = torch.where(back, state["best_at"], state["at"])
    state["slope"] = torch.where(back, state["best_slope"], state["slope"])
