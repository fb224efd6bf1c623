"""A chunk on disk is the chunk in memory."""

import pytest
import torch

from vestige.attack.chunks import FIELDS, concatenated, pack, saved_chunk
from vestige.attack.methods._apgd import apgd
from vestige.attack.suite import StageRecord

RECORDS = (StageRecord("fast", 40, 9, 1200, 30), StageRecord("square", 9, 7, 0, 450))


@pytest.fixture
def found(one_net):
    model, x, y = one_net
    return apgd(model, x, y, eps=0.05, steps=3)


def test_costs_have_a_row_a_stage_and_zeros_where_a_stage_had_nothing_left(found):
    chunk = pack(found, RECORDS, torch.zeros(40), 4, seconds=1.5)
    assert chunk.costs.tolist() == [[40, 9, 1200, 30], [9, 7, 0, 450], [0] * 4, [0] * 4]
    assert chunk.tensors["total"].tolist() == [found.gradient_evaluations, found.forward_evaluations]
    assert chunk.tensors["seconds"].item() == 1.5
    for name in FIELDS:
        assert torch.equal(chunk.tensors[name], getattr(found, name))


@pytest.mark.parametrize("words", [(), ("plain",), ('a "quoted" one, {"x": 1}', "ünïcode → Ω", "a\nline")])
def test_warnings_come_back_whatever_they_hold(found, words):
    object.__setattr__(found, "warnings", words)
    assert pack(found, RECORDS, torch.zeros(40), 2, seconds=0.0).warnings == list(words)


def test_a_chunk_is_found_by_its_first_sample_and_by_nothing_else():
    saved = {
        "0.adv": torch.tensor(0),
        "10.adv": torch.tensor(10),
        "10.success": torch.tensor(1),
        "110.adv": torch.tensor(110),
    }
    assert set(saved_chunk(saved, 10).tensors) == {"adv", "success"}
    assert [int(saved_chunk(saved, start).tensors["adv"]) for start in (0, 10, 110)] == [0, 10, 110]
    assert saved_chunk(saved, 1) is None and saved_chunk({}, 0) is None


def test_fields_of_all_chunks_stand_in_order(found):
    chunks = [pack(found, RECORDS, torch.full((40,), k), 2, seconds=0.0) for k in (0, 1)]
    assert concatenated(chunks, "stage", torch.device("cpu")).tolist() == [0] * 40 + [1] * 40
