import pytest

from vestige.core.outcome import Outcome, Step


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_says_one_sentence(outcome):
    assert outcome.message.endswith(".")
    assert len({o.message for o in Outcome}) == len(Outcome)


def test_step_is_a_value():
    assert Step(1, 10, 0.5) == Step(1, 10, 0.5, note="")
