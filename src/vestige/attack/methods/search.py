"""The loop under APGD: many searches in one batch, each with its own step counter, so that the batch stays full.

A search is one sample with one target from one random start. A sample leaves at its first success, and the place is
taken by the next search in the queue: another sample, or the same one with its next target. Rows that come and go, each
with a step size of its own, are no variables of one optimizer, so the loop is written out here.
"""

from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

from vestige.attack.methods import momentum, sparse
from vestige.attack.methods.balls import random_start
from vestige.attack.methods.losses import AttackLoss, objective
from vestige.attack.problem import Case
from vestige.core.outcome import OnStep, Step
from vestige.core.rng import spawn
from vestige.core.space import lp_norm, per_sample
from vestige.core.threat import Norm

State = dict[str, Tensor]


@dataclass(frozen=True)
class Plan:
    """What is searched: targets (n, k) in order with those allowed, or None; and how hard."""

    loss: AttackLoss
    steps: int
    restarts: int = 1
    targets: Tensor | None = None
    allowed: Tensor | None = None
    batch_size: int = 256

    def jobs(self, row: int) -> list[tuple[int, int]]:
        """Searches of one sample, in order: (restart, place of the target)."""
        width = 1 if self.targets is None else self.targets.shape[1]
        places = [k for k in range(width) if self.allowed is None or bool(self.allowed[row, k])]
        return [(restart, place) for restart in range(self.restarts) for place in places]


def search(
    case: Case,
    plan: Plan,
    *,
    name: str,
    generator: torch.Generator | None,
    on_step: OnStep | None,
) -> None:
    """Run every search that is needed; successes are kept in `case`."""
    waiting = {row: deque(jobs) for row in case.to_attack().tolist() if (jobs := plan.jobs(row))}
    ready, total, done = deque(waiting), len(waiting), 0
    state: State = {}
    while ready or state:
        starts = [ready.popleft() for _ in range(min(len(ready), plan.batch_size - _size(state)))]
        if starts:
            state = _join(state, _begin(case, plan, [(r, *waiting[r].popleft()) for r in starts], name, generator))
        else:
            _step(case, plan, state)
        over = case.success[state["row"]] | (state["clock"] >= plan.steps) | ~torch.isfinite(state["value"])
        if not bool(over.any()):
            continue
        broken = over & ~case.success[state["row"]] & ~torch.isfinite(state["value"])
        if bool(broken.any()):
            case.warnings.append(f"{name}: a loss became NaN or infinite; that search was stopped.")
        for row in state["row"][over].tolist():
            again = bool(waiting[row]) and not bool(case.success[row])
            (ready.append(row) if again else waiting.pop(row))
            done += not again
        state = {key: value[~over] for key, value in state.items()} if not bool(over.all()) else {}
        if on_step is not None:
            on_step(Step(done, total, 1 - float(case.success.double().mean()), name))


def _size(state: State) -> int:
    return len(state["row"]) if state else 0


def _join(state: State, new: State) -> State:
    return new if not state else {key: torch.cat([state[key], new[key]]) for key in new}


def _begin(
    case: Case, plan: Plan, jobs: list[tuple[int, int, int]], name: str, generator: torch.Generator | None
) -> State:
    rows = torch.tensor([row for row, _, _ in jobs], device=case.x.device)
    rule = sparse if case.norm is Norm.L1 else momentum
    state: State = {"row": rows, "place": torch.tensor([place for *_, place in jobs], device=rows.device)}
    state["target"] = rows if plan.targets is None else plan.targets[rows, state["place"]]
    state |= {"clock": torch.zeros_like(rows), **rule.fresh(case, rows, plan.steps)}
    shape = case.x.shape[1:]
    drawn = [torch.randn(shape, generator=spawn(generator, name, *map(str, job)), dtype=torch.float64) for job in jobs]
    noise = torch.stack(drawn).to(case.x)
    eps = rule.radius(case, state, plan.steps)
    at = random_start(case.x[rows], eps, case.oracle.box, case.norm, noise)
    value, slope = _evaluate(case, plan, state, at)
    state |= {"at": at, "before": at, "slope": slope, "value": value, "ups": torch.zeros_like(value)}
    return state | {"best": value, "best_then": value, "best_at": at, "best_slope": slope}


def _evaluate(case: Case, plan: Plan, state: State, at: Tensor) -> tuple[Tensor, Tensor]:
    """Loss and gradient; a success that lies in the ball is kept at once."""
    rows, target = state["row"], None if plan.targets is None else state["target"]
    loss = objective(plan.loss, case.y[rows], target, reach=case.must_reach)
    value, logits, slope = case.oracle.gradient(at, loss)
    won = case.fooled(logits, rows, target)
    if case.norm is Norm.L1:  # the first phases search larger balls
        won &= lp_norm(at - case.x[rows], 1) <= case.eps[rows] * (1 + 1e-6)
    if bool(won.any()):
        reached = None if target is None else target[won]
        case.record(rows[won], at[won], reached, None if target is None else state["place"][won])
    return value, torch.nan_to_num(slope)


def _step(case: Case, plan: Plan, state: State) -> None:
    rule = sparse if case.norm is Norm.L1 else momentum
    moved = rule.advance(case, state, plan.steps)
    value, slope = _evaluate(case, plan, state, moved)
    state["ups"] = state["ups"] + (value > state["value"]).to(value)
    better = value > state["best"]
    state["best"] = torch.where(better, value, state["best"])
    chosen = per_sample(better, moved)
    state["best_at"] = torch.where(chosen, moved, state["best_at"])
    state["best_slope"] = torch.where(chosen, slope, state["best_slope"])
    state |= {"before": state["at"], "at": moved, "slope": slope, "value": value, "clock": state["clock"] + 1}
    rule.adapt(case, state, plan.steps)
