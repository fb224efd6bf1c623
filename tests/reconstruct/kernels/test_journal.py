"""Answers that were paid for: recalled in their order, and dropped where other questions are asked."""

import torch
from kernel_reference import gaussian

from vestige.reconstruct.kernels.journal import Journal, question


class Memory:
    state = None

    def save(self, tensors):
        self.state = dict(tensors)

    def load(self):
        return self.state


ASKED, SAID = gaussian(3, 4, 5).unbind(), gaussian(3, 4, 2, seed=1).unbind()


def filled():
    memory = Memory()
    journal = Journal.load(memory)
    for z, answer in zip(ASKED, SAID, strict=True):
        assert journal.recall(z) is None
        journal.add(z, answer)
    journal.save()
    return memory


def test_answers_come_back_in_their_order():
    journal = Journal.load(filled())
    assert all(torch.equal(journal.recall(z), answer) for z, answer in zip(ASKED, SAID, strict=True))
    assert journal.recall(ASKED[0]) is None and journal.read == 3


def test_another_question_ends_the_reading():
    journal = Journal.load(filled())
    assert journal.recall(ASKED[0]) is not None
    assert journal.recall(ASKED[2]) is None and journal.recall(ASKED[1]) is None
    assert len(journal.questions) == len(journal.answers) == 1


def test_a_part_is_saved_beside_the_answers_and_dropped_with_them():
    memory = filled()
    Journal.load(memory).part("fit")  # nothing is written by asking for it
    assert Journal.load(memory).part("fit").load() is None
    Journal.load(memory).part("fit").save({"points": SAID[0]})
    again = Journal.load(memory)
    assert torch.equal(again.part("fit").load()["points"], SAID[0]) and again.part("other").load() is None
    assert len(again.answers) == 3
    again.forget()
    assert again.part("fit").load() is None


def test_without_a_checkpoint_nothing_is_kept():
    journal = Journal()
    journal.add(ASKED[0], SAID[0])
    assert journal.recall(ASKED[0]) is None and journal.part("fit") is None and not journal.questions


def test_questions_are_told_apart_by_any_bit():
    near = ASKED[0].clone()
    near[0, 0] += 1e-15 * near[0, 0].abs()
    assert question(ASKED[0]) == question(ASKED[0].clone()) != question(near)
