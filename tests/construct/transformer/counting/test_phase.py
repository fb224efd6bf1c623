"""Trained counters: what is learned, what a constant gets, and that a training goes on where it stopped."""

import pytest
import torch

import vestige as vg


def test_a_short_training_beats_a_constant_and_is_repeated_bit_for_bit():
    options = {"largest_count": 3, "length": 6, "steps": 150, "batch_size": 32}
    (found,) = vg.construct.counting_phase([4], [3], **options)
    assert found.constant == pytest.approx(1 / 3) and found.accuracy > 0.6 and found.length == 6
    assert vg.construct.counting_phase([4], [3], **options) == (found,)
    (none,) = vg.construct.counting_phase([4], [3], **options | {"steps": 1})
    assert none.accuracy < 0.6  # an untrained one, the null


def test_the_counts_are_even_so_that_a_constant_is_worth_nothing():
    x = vg.construct.random_counts(50, 32, 800, largest=8)
    counts = (x == x[:, -1:]).sum(1).bincount()
    assert counts[0] == 0 and len(counts) == 9 and counts[1:].min() >= 50


@pytest.mark.parametrize("options", [{"largest_count": 40}, {"restarts": 0}, {"largest_count": 1}])
def test_what_is_refused(options):
    with pytest.raises(ValueError, match="counts from 2 to the length"):
        vg.construct.counting_phase([4], [3], **options)
    with pytest.raises(ValueError, match="at least 2"):
        vg.construct.counting_phase([1], [3])
    assert torch.is_grad_enabled()
