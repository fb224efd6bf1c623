"""APGD's own rule for l_inf and l_2: momentum, and a step that halves when progress stalls (arXiv 2003.01690, alg. 1).

    u = P(x_k + eta dir(g)),      x_{k+1} = P(x_k + a (u - x_k) + (1 - a) (x_k - x_{k-1}))

with a = 1 at first, then 3/4.

At the checkpoints eta is halved and the best point taken up again where fewer than 3/4 of the steps since the last one
raised the loss, or where neither eta nor the best loss has changed since then.
"""

import torch
from torch import Tensor

from vestige.attack.methods.balls import project, steepest
from vestige.attack.problem import Case
from vestige.core.space import per_sample

PROGRESS, INERTIA = 0.75, 0.75
State = dict[str, Tensor]


def checkpoints(steps: int) -> list[int]:
    """The numbers of steps after which progress is judged.

    >>> checkpoints(100)
    [22, 41, 57, 70, 80, 87, 93, 99]
    """
    window, least, shrink = max(int(0.22 * steps), 1), max(int(0.06 * steps), 1), max(int(0.03 * steps), 1)
    found = [window]
    while True:
        window = max(window - shrink, least)
        if found[-1] + window > steps:
            return found
        found.append(found[-1] + window)


def fresh(case: Case, rows: Tensor, steps: int) -> State:
    """What the rule keeps for rows that begin."""
    return {"reduced": torch.ones_like(rows, dtype=torch.bool), "size": 2 * case.eps[rows]}


def radius(case: Case, state: State, steps: int) -> Tensor:
    """Radius of the ball that each row searches."""
    return case.eps[state["row"]]


def advance(case: Case, state: State, steps: int) -> Tensor:
    """The next point of each row."""
    x, eps = case.x[state["row"]], case.eps[state["row"]]
    current = state["at"]
    ascent = current + per_sample(state["size"], x) * steepest(state["slope"], case.norm)
    ascent = project(ascent, x, eps, case.oracle.box, case.norm)
    share = per_sample(torch.where(state["clock"] == 0, 1.0, INERTIA).to(x), x)
    moved = current + share * (ascent - current) + (1 - share) * (current - state["before"])
    return project(moved, x, eps, case.oracle.box, case.norm)


def adapt(case: Case, state: State, steps: int) -> None:
    """Judge the rows that have come to a checkpoint; `clock` counts the steps made."""
    stops = checkpoints(steps)
    window = torch.zeros(steps + 1, dtype=state["size"].dtype, device=state["size"].device)
    for stop, last in zip(stops, [0, *stops], strict=False):
        window[stop] = stop - last
    length = window[state["clock"]]
    due = length > 0
    stalled = state["ups"] <= PROGRESS * length
    flat = ~state["reduced"] & (state["best"] <= state["best_then"])
    halve = due & (stalled | flat)
    chosen = per_sample(halve, state["at"])
    state["at"] = torch.where(chosen, state["best_at"], state["at"])
    state["slope"] = torch.where(chosen, state["best_slope"], state["slope"])
    state["size"] = torch.where(halve, state["size"] / 2, state["size"])
    state["reduced"] = torch.where(due, halve, state["reduced"])
    state["best_then"] = torch.where(due, state["best"], state["best_then"])
    state["ups"] = torch.where(due, torch.zeros_like(state["ups"]), state["ups"])
