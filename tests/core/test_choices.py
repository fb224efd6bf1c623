"""The error of a closed set lists it, and nothing but its members is read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestige.core.choices import ChoiceEnum
from vestige.core.margins import Loss


class Color(ChoiceEnum):
    RED = "red"
    BLUE = "blue"
    GREEN = "green"


class Only(ChoiceEnum):
    ONE = "one"


@given(value=st.one_of(st.text(), st.integers(), st.none(), st.floats(), st.binary()))
def test_what_is_not_in_the_set_is_refused_with_the_whole_set(value):
    if value in set(map(str, Color)):
        assert Color(value) == value
        return
    with pytest.raises(ValueError) as raised:
        Color(value)
    assert str(raised.value) == f"{value!r} given for Color; allowed are 'red', 'blue' and 'green'."


def test_a_set_of_one():
    with pytest.raises(ValueError, match=r"'two' given for Only; allowed are 'one'\."):
        Only("two")


def test_a_choice_is_its_text():
    assert Color.RED == "red" and f"{Color.RED}" == "red" and Color(Color.RED) is Color.RED


def test_a_loss_is_such_a_set():
    with pytest.raises(ValueError, match=r"'hinge' given for Loss; allowed are 'logistic', .* and 'huber'"):
        Loss("hinge")
