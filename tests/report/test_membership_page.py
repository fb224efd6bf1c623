"""Cards of the samples that a network is thought to hold."""

import torch

from vestige.report.membership import held


def test_a_card_says_which_sample_it_is_and_the_first_is_one_too():
    rows = [
        {"score": 2.0, "q_value": 0.013, "position": 0, "member": True},
        {"score": 1.25, "q_value": None, "position": -1, "member": False},
        {"score": 1.0, "q_value": 1.0, "position": 7, "member": None},
    ]
    results = {"model": {"space": {"low": 0.0, "high": 1.0}}, "membership": {"held": rows}}
    cards = held(results, {"held": torch.rand(3, 1, 2, 2)})
    assert [card.remark for card in cards] == ["sample 0", "unseen", "sample 7"]
    assert [card.caption for card in cards] == ["q 0.013", "score 1.25", "q 1"]
    assert [card.right for card in cards] == [True, False, None]
