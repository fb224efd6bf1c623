"""Options that several reconstructions share."""

import pytest

from vestige.reconstruct.options import Solver, check_counts


def test_counts_below_one_are_refused_by_name_and_none_is_a_default():
    check_counts(restarts=1, steps=None)
    with pytest.raises(ValueError, match="steps=0 given; steps must be at least 1"):
        check_counts(restarts=3, steps=0)


def test_an_unknown_solver_is_told_the_two():
    assert Solver("published") is Solver.PUBLISHED
    with pytest.raises(ValueError, match="'newton' given for Solver; allowed are 'default' and 'published'"):
        Solver("newton")
