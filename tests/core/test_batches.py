"""Every epoch sees every sample once, and the batch of a step is the same whichever steps were asked for before."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vestige.core.batches import Batches
from vestige.core.outcome import Step
from vestige.core.rng import child


@given(n=st.integers(1, 30), batch_size=st.integers(1, 40), asked=st.lists(st.integers(0, 90), max_size=8))
def test_a_batch_depends_on_its_step_alone(n, batch_size, asked):
    there, here = (Batches(n, batch_size, child(3)) for _ in range(2))
    whole = [there(k) for k in range(91)]
    assert all(torch.equal(here(k), whole[k]) for k in asked)


@given(n=st.integers(1, 30), batch_size=st.integers(1, 40))
def test_every_epoch_is_a_permutation(n, batch_size):
    batches = Batches(n, batch_size)
    for epoch in range(3):
        parts = [batches(k) for k in range(epoch * batches.steps, (epoch + 1) * batches.steps)]
        assert sorted(torch.cat(parts).tolist()) == list(range(n))
        assert all(len(part) == batch_size for part in parts[:-1])


def test_epochs_and_seeds_have_orders_of_their_own_and_the_generator_is_left_alone():
    draw = child(0)
    before = draw.get_state()
    orders = [Batches(50, 50, g)(k).tolist() for g in (draw, child(1)) for k in range(2)]
    assert len({tuple(order) for order in orders}) == 4
    assert torch.equal(draw.get_state(), before)


def test_an_epoch_is_told_once_with_its_mean():
    batches, seen = Batches(5, 2), []
    told = batches.by_epoch(seen.append)
    assert told is not None and batches.by_epoch(None) is None
    values = torch.arange(7.0)
    for k, value in enumerate(values.tolist(), 1):
        told(Step(k, 9, value, "word"))
    assert seen == [Step(1, 3, 1.0, "word"), Step(2, 3, 4.0, "word")]
    assert batches.means(values) == pytest.approx((1.0, 4.0)) and batches.means(values[:2]) == ()
