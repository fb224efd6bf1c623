"""How an iterative method ended, and what it says while it runs."""

from collections.abc import Callable
from dataclasses import dataclass

from vestige.core.choices import ChoiceEnum


class Outcome(ChoiceEnum):
    """Why an iteration stopped; a result carries one, so that a budget spent never looks like convergence."""

    CONVERGED = "converged"
    BUDGET_SPENT = "budget_spent"
    STAGNATED = "stagnated"
    NOT_FINITE = "not_finite"
    INTERRUPTED = "interrupted"

    @property
    def message(self) -> str:
        """One sentence for a person.

        >>> Outcome.STAGNATED.message
        'It stopped because further steps no longer improved the objective.'
        """
        return _SENTENCES[self]


_SENTENCES = {
    Outcome.CONVERGED: "It reached the tolerance that was asked for.",
    Outcome.BUDGET_SPENT: "It used all its steps before reaching the tolerance.",
    Outcome.STAGNATED: "It stopped because further steps no longer improved the objective.",
    Outcome.NOT_FINITE: "A value became NaN or infinite; the last finite state was kept.",
    Outcome.INTERRUPTED: "It was stopped from outside; the last state was kept.",
}


@dataclass(frozen=True)
class Step:
    """What an `on_step` callback gets: step `index` of `total` (counted from 1), the objective, a word on the phase."""

    index: int
    total: int
    value: float
    note: str = ""


OnStep = Callable[[Step], None]
