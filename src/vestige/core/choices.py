"""Closed sets of choices, whose error lists what is allowed."""

from enum import StrEnum
from typing import Never


class ChoiceEnum(StrEnum):
    """A closed set of strings; an unknown one is refused with the list of those allowed.

    >>> class Color(ChoiceEnum):
    ...     RED = "red"
    ...     BLUE = "blue"
    >>> Color("red") is Color.RED
    True
    >>> Color("green")
    Traceback (most recent call last):
    ValueError: 'green' given for Color; allowed are 'red' and 'blue'.
    """

    @classmethod
    def _missing_(cls, value: object) -> Never:
        *some, last = (repr(str(choice)) for choice in cls)
        allowed = f"{', '.join(some)} and {last}" if some else last
        raise ValueError(f"{value!r} given for {cls.__name__}; allowed are {allowed}.")
