"""A descent killed anywhere goes on to the very state that an undisturbed one reaches, and ends at a finite one."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from interruption import Killed, Memory
from torch import nn
from torch.optim import lr_scheduler

from vestige.core import descent
from vestige.core.batches import Batches
from vestige.core.descent import Descent, Within, fit
from vestige.core.outcome import Outcome
from vestige.core.rng import child

STEPS = 24


@pytest.fixture(autouse=True)
def every_save(monkeypatch):
    monkeypatch.setattr(descent, "SECONDS", 0.0)


OPTIMIZERS = {
    "adam": (
        lambda v: torch.optim.AdamW(v, 0.1, weight_decay=0.1),
        lambda o: lr_scheduler.OneCycleLR(o, 0.1, STEPS + 1),
    ),
    "momentum": (
        lambda v: torch.optim.SGD(v, 0.05, momentum=0.9, weight_decay=1e-2),
        lambda o: lr_scheduler.SequentialLR(
            o, [lr_scheduler.LinearLR(o, total_iters=5), lr_scheduler.CosineAnnealingLR(o, STEPS)], [5]
        ),
    ),
    "two groups": (
        lambda v: torch.optim.RMSprop([{"params": [v[0]], "lr": 0.1}, {"params": [v[1]]}], 0.02),
        lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS),
    ),
    "plain": (lambda v: torch.optim.SGD(v, 0.05), lambda o: None),
}
every_optimizer = pytest.mark.parametrize("kind", OPTIMIZERS)


class Regression:
    """Least squares by mini-batches, with noise from a generator; the best point so far is kept, and it can die."""

    def __init__(self, kind, deaths=()):
        draw = child(0, "regression")
        self.x, self.y = torch.randn(10, 3, generator=draw), torch.randn(10, generator=draw)
        self.weights = [torch.randn(3, generator=draw).requires_grad_(), torch.zeros((), requires_grad=True)]
        self.best, self.point = torch.tensor(math.inf), torch.zeros(3)
        self.batches, self.noise, self.deaths = Batches(10, 4, child(1)), child(2), list(deaths)
        make, schedule = OPTIMIZERS[kind]
        optimizer = make(self.weights)
        self.descent = Descent(optimizer, schedule(optimizer), self.noise, (self.best, self.point))
        self.rates = {}

    def __call__(self, k):
        self.rates[k] = [group["lr"] for group in self.descent.optimizer.param_groups]
        if k in self.deaths:
            self.deaths.remove(k)
            raise Killed
        batch = self.batches(k)
        noise = 0.1 * torch.randn(len(batch), generator=self.noise)
        loss = (self.x[batch] @ self.weights[0] + self.weights[1] - self.y[batch] + noise).square().mean()
        if loss < self.best:
            self.best.copy_(loss.detach())
            self.point.copy_(self.weights[0].detach())
        return loss

    def state(self):
        return [*self.weights, self.best, self.point, self.noise.get_state()]


def run(kind, deaths=(), keep_every=7, memory=None):
    """The end of a regression that is begun anew after each death."""
    memory, deaths, rates = memory or Memory(), list(deaths), {}
    while True:
        problem = Regression(kind, deaths[:1])
        try:
            found = fit(problem, problem.descent, steps=STEPS, keep_every=keep_every, checkpoint=memory)
            return found, problem, rates | problem.rates
        except Killed:
            rates |= problem.rates
            deaths.pop(0)


def same(a, b):
    return all(torch.equal(one, other) for one, other in zip(a.state(), b.state(), strict=True))


@given(
    kind=st.sampled_from(list(OPTIMIZERS)),
    deaths=st.lists(st.integers(0, STEPS - 1), max_size=4).map(sorted),
    keep_every=st.integers(1, STEPS),
)
def test_killed_anywhere_it_ends_where_it_would_have(kind, deaths, keep_every):
    """Bit for bit: variables, what the objective wrote, the generator, all values, and every step size."""
    (found, problem, rates), (whole, undisturbed, theirs) = run(kind, deaths, keep_every), run(kind)
    assert torch.equal(found.values, whole.values) and len(whole.values) == STEPS
    assert same(problem, undisturbed) and rates == theirs


@every_optimizer
def test_it_is_the_loop_that_one_writes_by_hand(kind):
    _, undisturbed, _ = run(kind)
    naive = Regression(kind)
    for k in range(STEPS):
        naive.descent.optimizer.zero_grad()
        naive(k).backward()
        naive.descent.optimizer.step()
        if naive.descent.schedule is not None:
            naive.descent.schedule.step()
    assert same(naive, undisturbed)


@pytest.mark.parametrize("part", ["variable", "optimizer", "generator", "changed", "values"])
def test_what_was_not_saved_is_missed(part):
    """The null: with any part of the state forgotten, the end is another one."""
    (_, undisturbed, _), memory = run("adam"), Memory(lives=2)
    with pytest.raises(Killed):
        fit(*(lambda p: (p, p.descent))(Regression("adam")), steps=STEPS, keep_every=7, checkpoint=memory)
    assert memory.state is not None and len(memory.state["values"]) == 14
    fresh = {"generator": child(2).get_state(), "values": torch.zeros(7)}
    memory.lives, memory.state = (
        10**9,
        {
            name: fresh.get(name, torch.zeros_like(value)) if name.startswith(part) else value
            for name, value in memory.state.items()
        },
    )
    if part == "changed":
        memory.state["changed.0"] = torch.tensor(0.0)  # nothing is better
    assert not same(run("adam", memory=memory)[1], undisturbed)


def test_what_was_done_is_not_done_again():
    memory, problem = Memory(lives=3), Regression("adam")
    with pytest.raises(Killed):
        fit(problem, problem.descent, steps=STEPS, keep_every=5, checkpoint=memory)
    memory.lives = 10**9
    assert min(run("adam", keep_every=5, memory=memory)[2]) == 15
    found, _, rates = run("adam", memory=memory)
    assert not rates and len(found.values) == STEPS, "what ended is not begun again"


def test_a_moment_after_a_save_nothing_is_saved(monkeypatch):
    monkeypatch.setattr(descent, "SECONDS", 1e9)
    memory = Memory()
    run("plain", keep_every=1, memory=memory)
    assert memory.saves == 0


@given(rate=st.floats(0.6, 5.0), start=st.floats(1.0, 3.0), keep_every=st.integers(1, 5))
def test_where_it_diverges_the_last_finite_state_is_kept(rate, start, keep_every):
    """x^4 from where plain descent overshoots, against the loop written out."""
    points = [torch.tensor(start)]
    while torch.isfinite(points[-1] ** 4):
        points.append(points[-1] - rate * 4 * points[-1] ** 3)
    x = torch.tensor(start, requires_grad=True)
    found = fit(lambda _: x**4, Descent(torch.optim.SGD([x], rate)), steps=100, keep_every=keep_every)
    last = len(points) - 2
    assert found.outcome is Outcome.NOT_FINITE and len(found.values) == last + 1
    assert torch.isfinite(x**4) and torch.isfinite(found.values).all()
    torch.testing.assert_close(x.detach(), points[last // keep_every * keep_every])


def test_a_state_that_is_not_finite_is_never_saved():
    """A variable overflows that the objective does not see."""
    x, memory = [torch.ones(1, requires_grad=True) for _ in range(2)], Memory()
    optimizer = torch.optim.SGD([{"params": [x[0]]}, {"params": [x[1]], "weight_decay": 1e9}], 1.0)
    found = fit(lambda _: x[0].sum(), Descent(optimizer), steps=50, keep_every=4, checkpoint=memory)
    assert found.outcome is Outcome.NOT_FINITE and len(found.values) < 50
    assert torch.isfinite(x[1]).all() and torch.isfinite((memory.state or {})["variable.1"]).all()


def test_the_last_step_is_looked_at_too():
    x = torch.ones(1, requires_grad=True)
    found = fit(lambda _: 1e300 * x.sum(), Descent(torch.optim.SGD([x], 1e300)), steps=1)
    assert found.outcome is Outcome.NOT_FINITE and x.item() == 1 and found.values.tolist() == [1e300]


def test_an_objective_that_is_not_finite_at_the_start_changes_nothing():
    x, seen = torch.ones(2, requires_grad=True), []
    found = fit(lambda _: x.sum() * math.nan, Descent(torch.optim.Adam([x])), steps=5, on_step=seen.append)
    assert found.outcome is Outcome.NOT_FINITE and not len(found.values) and not seen
    assert torch.equal(x.detach(), torch.ones(2))


def test_enough_ends_it_before_the_step():
    x, seen = torch.tensor(4.0, requires_grad=True), []

    def enough(k, value):
        seen.append((k, value, None if x.grad is None else x.grad.item()))
        return value <= 1

    found = fit(lambda _: x.square(), Descent(torch.optim.SGD([x], 0.25)), steps=9, enough=enough)
    assert found.outcome is Outcome.CONVERGED and x.item() == 1 and x.grad is None
    assert seen == [(0, 16, 8), (1, 4, 4), (2, 1, 2)] and found.values.tolist() == [16, 4, 1]


def test_gradients_reach_the_variables_and_nothing_else():
    backbone, x = nn.Linear(3, 2), torch.ones(1, 3, requires_grad=True)
    fit(lambda _: backbone(x).square().sum(), Descent(torch.optim.SGD([x], 0.1)), steps=2)
    assert all(p.grad is None for p in (*backbone.parameters(), x))


def test_steps_are_told_in_order():
    seen, problem = [], Regression("plain")
    found = fit(problem, problem.descent, steps=STEPS, on_step=seen.append, note="word")
    assert [(s.index, s.total, s.note) for s in seen] == [(k + 1, STEPS, "word") for k in range(STEPS)]
    assert [s.value for s in seen] == found.values.tolist()


def test_a_part_stands_beside_what_is_done():
    memory = Memory()
    part = Within(memory, "round 2", {"done": torch.ones(1)})
    assert part.load() is None
    part.save({"x": torch.zeros(2)})
    assert set(memory.state or {}) == {"done", "round 2/x"}
    assert list(part.load() or {}) == ["x"]
