"""The counting bound against a count by hand, and against networks that exist."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestige.construct.memorization.lower_bound import memorization_lower_bound


def networks(weights, bits, inputs):
    return ((weights + inputs + 1) * (weights + 1) * 2 ** (bits + 1) * (bits + 1)) ** weights


@given(n=st.integers(1, 400), weights=st.integers(1, 30), inputs=st.integers(1, 9))
def test_the_least_bits_are_enough_and_one_less_is_not(n, weights, inputs):
    least = memorization_lower_bound(n, weights=weights, inputs=inputs)
    assert networks(weights, least, inputs) >= 2**n
    assert least == 1 or networks(weights, least - 1, inputs) < 2**n


@given(n=st.integers(1, 400), bits=st.integers(1, 60))
def test_the_least_weights_are_enough_and_one_less_is_not(n, bits):
    least = memorization_lower_bound(n, bits=bits)
    assert networks(least, bits, 1) >= 2**n
    assert least == 1 or networks(least - 1, bits, 1) < 2**n


def test_few_weights_need_many_bits():
    """W = sqrt(n) weights: about sqrt(n) bits."""
    assert 900 < memorization_lower_bound(10**6, weights=1000) < 1000


@pytest.mark.parametrize("options", [{}, {"weights": 3, "bits": 3}, {"weights": 0}, {"bits": 3, "inputs": 0}])
def test_bad_input_is_named(options):
    with pytest.raises(ValueError, match="exactly one of weights and bits"):
        memorization_lower_bound(5, **options)
