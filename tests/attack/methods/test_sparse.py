"""The rule of sparse APGD: its three balls, the coordinates it moves, and when it starts anew."""

import pytest
import torch
from torch import nn

from vestige.attack.methods.sparse import adapt, advance, fresh, radius
from vestige.attack.problem import open_case
from vestige.core.space import InputSpace
from vestige.core.threat import Threat

EPS, SIZE = 2.0, 10
ROW = torch.tensor([0])


@pytest.fixture
def case():
    model, x = nn.Linear(SIZE, 2).eval(), torch.zeros(1, SIZE)
    threat = Threat(EPS, "l1", InputSpace(-9.0, 9.0))
    return open_case(model, x, model(x).argmax(1), threat)


def state(case, clock, **more):
    slope = torch.arange(1.0, SIZE + 1)[None] * torch.tensor([1.0, -1.0] * 5)
    kept = {"row": ROW, "clock": torch.tensor([clock]), "slope": slope, "at": torch.zeros(1, SIZE)}
    kept |= {"best": torch.tensor([5.0]), "value": torch.tensor([3.0])}
    return fresh(case, ROW, 100) | kept | {"best_at": torch.zeros(1, SIZE), "best_slope": slope} | more


@pytest.mark.parametrize(("clock", "factor"), [(0, 3), (29, 3), (30, 2), (59, 2), (60, 1), (99, 1)])
def test_the_ball_shrinks_after_30_and_60_per_cent(case, clock, factor):
    assert radius(case, state(case, clock), 100).tolist() == [factor * EPS]


def test_a_first_step_moves_the_steepest_fifth_by_the_whole_ball(case):
    found = advance(case, state(case, 0), 100)
    assert found.tolist() == [[0.0] * 8 + [3 * EPS / 2, -3 * EPS / 2]]


def test_where_the_ball_turns_smaller_the_best_point_is_projected(case):
    best = torch.zeros(1, SIZE)
    best[0, 0] = 3 * EPS
    found = advance(case, state(case, 30, best_at=best), 100)
    torch.testing.assert_close(found, best * 2 / 3)  # no step is made


def test_a_sparser_best_point_starts_anew_and_another_shortens_the_step(case):
    best = torch.zeros(1, SIZE)
    best[0, :4] = 0.1
    sparser = state(case, 5, best_at=best, support=torch.tensor([8.0]), size=torch.tensor([1.5]))
    adapt(case, sparser, 100)
    assert sparser["size"].item() == 3 * EPS and torch.equal(sparser["at"], best)
    assert sparser["share"].item() == pytest.approx(4 / SIZE / 1.5) and sparser["support"].item() == 4
    as_before = state(case, 5, best_at=best, support=torch.tensor([4.0]), size=torch.tensor([1.5]))
    adapt(case, as_before, 100)
    assert as_before["size"].item() == 1.0 and not as_before["at"].any()


def test_a_step_is_never_shorter_than_a_tenth_of_the_ball(case):
    best = torch.ones(1, SIZE)
    short = state(case, 70, best_at=best, support=torch.tensor([10.0]), size=torch.tensor([1e-3]))
    adapt(case, short, 100)
    assert short["size"].item() == pytest.approx(0.1 * EPS)


def test_after_a_turn_the_smaller_ball_has_a_best_of_its_own(case):
    here = torch.ones(1, SIZE)
    turned = state(case, 31, at=here)
    adapt(case, turned, 100)
    assert turned["best"].item() == 3.0 and torch.equal(turned["best_at"], here)
    later = state(case, 33, at=here)
    adapt(case, later, 100)
    assert later["best"].item() == 5.0 and not later["best_at"].any()
