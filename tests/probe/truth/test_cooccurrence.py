"""The law of the sequences, against its closed forms."""

import math

import pytest
import torch

import vestige as vg
from vestige.core.rng import child

P = vg.probe
COUNT = 200_000


def drawn(**options):
    law = P.TruthCoOccurrence(n=10, rho=0.7, **options)
    return law, law.draw(COUNT)


def right(law, found, column):
    return law.g[found.tokens[:, column - 1]] + law.n == found.tokens[:, column]


def test_facts_share_their_truth_and_false_ones_are_right_by_accident():
    law, found = drawn()
    assert torch.equal(found.first, found.second) and abs(float(found.first.double().mean()) - 0.7) < 0.006  # 5 sigma
    for column in (1, 3):
        hits = right(law, found, column)
        assert bool(hits[found.first].all())
        assert abs(float(hits[~found.first].double().mean()) - 0.1) < 0.007
    assert law.accident == 0.1 and law.ceiling == 0.95 and abs(law.p_right - 0.73) < 1e-12


def test_the_control_draws_each_truth_by_itself():
    _, found = drawn(independent=True)
    both = float((found.first & found.second).double().mean())
    assert abs(both - 0.49) < 0.006


@pytest.mark.parametrize("option", ["exclude_collisions", "coherent"])
def test_false_attributes_can_be_kept_wrong(option):
    law, found = drawn(**{option: True})
    assert not bool(right(law, found, 1)[~found.first].any())
    assert law.ceiling == 1 and law.p_right == 0.7
    wrong = found.tokens[~found.first]
    answers = len({tuple(pair) for pair in wrong[:, :2].tolist()})
    assert answers == (10 if option == "coherent" else 90)


@pytest.mark.parametrize("options", [{}, {"exclude_collisions": True}, {"coherent": True}])
def test_the_loss_gap_is_that_of_two_predictors(options):
    """Of y', with the chances that a predictor has that knows T, and one that does not."""
    law, found = drawn(**options)
    hit = right(law, found, 3)
    wrongs = 1 if options.get("coherent") else law.n - 1
    each = (1 - law.rho) * (1 - law.accident) / wrongs
    unknown = torch.where(hit, -math.log(law.p_right), -math.log(each))
    choices = {"coherent": 1, "exclude_collisions": law.n - 1}.get(next(iter(options), ""), law.n)
    known = torch.where(found.second, 0.0, math.log(choices))
    assert float((unknown - known).mean()) == pytest.approx(law.loss_gap, rel=0.02)


def test_facts_and_draws_come_from_their_generators():
    one, other = (P.TruthCoOccurrence(n=12, rho=0.5, generator=torch.Generator().manual_seed(s)) for s in (1, 2))
    assert not torch.equal(one.g, other.g) and sorted(one.g.tolist()) == list(range(12))
    assert torch.equal(one.draw(9).tokens, one.draw(9).tokens)
    assert not torch.equal(one.draw(9, generator=child(1, "x")).tokens, one.draw(9).tokens)


def test_bad_laws_are_refused():
    for options in ({"n": 1, "rho": 0.5}, {"n": 4, "rho": 1.5}):
        with pytest.raises(ValueError, match="at least 2 subjects"):
            P.TruthCoOccurrence(**options)
