"""What is to be forgotten: one form for all methods, as positions or as a mask."""

import inspect

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from margin_networks import hard_margin

import vestige as vg
from vestige.unlearning.request import check_duplicates, class_notes, forgotten_and_retained

METHODS = [
    name
    for name in vg.unlearning.__all__
    if inspect.isfunction(getattr(vg.unlearning, name))
    and "forget" in inspect.signature(getattr(vg.unlearning, name)).parameters
]


def test_every_function_of_the_room_takes_the_same_request():
    functions = [name for name in vg.unlearning.__all__ if inspect.isfunction(getattr(vg.unlearning, name))]
    assert METHODS == functions and len(METHODS) >= 11
    for name in METHODS:
        assert list(inspect.signature(getattr(vg.unlearning, name)).parameters)[:4] == ["model", "x", "y", "forget"]


@given(mask=st.lists(st.booleans(), min_size=2, max_size=12).filter(lambda m: 0 < sum(m) < len(m)))
def test_a_mask_and_its_positions_are_one_request(mask):
    positions = [i for i, wanted in enumerate(mask) if wanted]
    for forget in (mask, torch.tensor(mask), positions, torch.tensor(positions), positions[::-1] + positions):
        forgotten, kept = forgotten_and_retained(forget, len(mask))
        assert forgotten.tolist() == positions and sorted([*positions, *kept.tolist()]) == list(range(len(mask)))


def test_duplicates_are_those_with_an_equal_label():
    x, y = torch.tensor([[1.0], [1.0], [2.0]]), torch.tensor([0, 1, 0])
    check_duplicates(x, y, *forgotten_and_retained([0], 3))  # sample 1 has another label
    with pytest.raises(ValueError, match=r"sample 0 .*\[1\] is retained"):
        check_duplicates(x, torch.zeros(3), *forgotten_and_retained([0], 3))
    check_duplicates(x, torch.zeros(3), *forgotten_and_retained([0, 1], 3))


def test_classes_that_vanish_are_named():
    y = torch.tensor([2, 0, 2, 1])
    assert class_notes(y, *forgotten_and_retained([0], 4)) == []
    (note,) = class_notes(y, *forgotten_and_retained([0, 2], 4))
    assert "All samples of class 2" in note


def test_weight_decay_of_none_is_unknown_and_taken_as_zero():
    x, y = torch.eye(4), torch.tensor([0, 1, 0, 1])
    net = hard_margin(x, y)
    unknown, none = (vg.unlearn(net, x, y, [0], loss="logistic", weight_decay=wd) for wd in (None, 0.0))
    assert torch.equal(unknown.model.weight, none.model.weight) and unknown.heuristic == none.heuristic == ()
    with pytest.raises(ValueError, match="weight_decay=-1"):
        vg.unlearn(net, x, y, [0], loss="logistic", weight_decay=-1.0)
