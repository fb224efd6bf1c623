"""What confidence is made of: in closed form, and monotone in everything that should raise it."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vestige.reconstruct.weights.belief import (
    FALL,
    MORE,
    ROOM,
    SLOPE,
    STATIONARY,
    STEEP,
    TWO,
    Grounds,
    explained,
    fall_of,
)
from vestige.reconstruct.weights.ranking import Ranking

SURE = Grounds(explained=1.0, samples=20, directions=200, classes=10, fall=2.0, collapse=False)


def ranking(confidence, solved):
    k = len(confidence)
    return Ranking(
        samples=torch.zeros(k, 2),
        confidence=torch.tensor(confidence),
        support=torch.ones(k, dtype=torch.long),
        spread=torch.zeros(k),
        cotangents=torch.zeros(k, 1),
        verified=torch.arange(k) < solved,
        cluster=torch.arange(k),
    )


def stated(grounds, confidence, solved=0):
    given = ranking(confidence, solved)
    return grounds.tempered(given, given.verified)


def test_odds_of_groups_are_moved_and_those_of_columns_are_not():
    half = replace(SURE, explained=0.5)
    found = stated(half, [0.9, 0.5, 0.0], solved=1)
    shift = ROOM * math.log(10) + STATIONARY * math.log(2) + FALL * 2.0
    moved = 0.5 / (1 + math.exp(-(MORE + shift)))
    torch.testing.assert_close(found.confidence, torch.tensor([0.45, moved, 0.0]))
    assert found.confidence[2] == 0
    two = stated(replace(half, classes=2), [0.8]).confidence
    torch.testing.assert_close(two, torch.tensor([0.5 / (1 + math.exp(-(SLOPE * math.log(4) + TWO + shift)))]))


@given(low=st.floats(0, 0.99), more=st.floats(0.001, 1), p=st.floats(0.01, 0.99), classes=st.sampled_from([2, 3, 10]))
def test_what_is_left_open_never_raises_confidence(low, more, p, classes):
    high = min(1.0, low + more)
    less, most = (stated(replace(SURE, explained=e, classes=classes), [p]).confidence for e in (low, high))
    assert less <= most <= 1


@given(d=st.integers(21, 400), more=st.integers(1, 100), p=st.floats(0.01, 0.99))
def test_more_different_neurons_never_lower_confidence(d, more, p):
    less, most = (stated(replace(SURE, directions=k), [p]).confidence for k in (d, d + more))
    assert less <= most


@given(fall=st.floats(0, 8), more=st.floats(0.001, 4), p=st.floats(0.01, 0.99))
def test_a_flat_spectrum_lowers_confidence(fall, more, p):
    less, most = (stated(replace(SURE, fall=f), [p]).confidence for f in (fall, fall + more))
    assert less <= most and (fall < STEEP or less == most)
    assert stated(replace(SURE, fall=0.0), [p]).confidence < stated(replace(SURE, fall=STEEP), [p]).confidence


def test_the_fall_ends_where_the_noise_begins():
    values = torch.tensor([8.0, 4.0, 2.0, 1e-6])
    assert fall_of(values, 3) == pytest.approx(math.log(4))
    assert fall_of(values, 9) == pytest.approx(math.log(8e6), rel=1e-5)
    assert fall_of(values, 0) == fall_of(values[:0], 0) == fall_of(torch.zeros(3), 2) == 0.0


@given(d=st.integers(0, 40), samples=st.integers(1, 20))
def test_no_room_no_confidence(d, samples):
    """With no more different neurons than samples, or no more samples than classes, nothing is believed."""
    grounds = replace(SURE, directions=d, samples=samples, classes=5)
    nothing = d <= samples or samples <= 5
    assert (grounds.factor == 0) == nothing
    assert not (nothing and grounds.doubt == "") and not (grounds.doubt and stated(grounds, [0.9], 1).verified.any())
    assert bool(stated(grounds, [0.9], 1).confidence) != nothing


def test_a_doubt_verifies_nothing_and_none_keeps_what_is():
    assert stated(SURE, [0.9, 0.8], 1).verified.tolist() == [True, False]
    for doubtful in (replace(SURE, explained=0.4), replace(SURE, collapse=True), replace(SURE, directions=30)):
        assert doubtful.doubt and not stated(doubtful, [0.9, 0.8], 1).verified.any()


@pytest.mark.parametrize(("residual", "share"), [({}, 1.0), ({"a": 0.2, "b": 9.0}, 0.8), ({"a": 3.0}, 0.0)])
def test_the_share_explained_is_that_of_the_first_layer(residual, share):
    assert explained(residual) == pytest.approx(share)
