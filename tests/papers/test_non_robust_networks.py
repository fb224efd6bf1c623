"""The gap between trained and constructed networks grows with the samples (arXiv 2202.04347)."""

import math

import pytest

from vestige.papers.non_robust_networks import sphere_robustness_gap


def test_trained_nets_lose_robustness_with_samples_and_constructed_ones_do_not():
    few, middle, many = sphere_robustness_gap(((400, 4), (400, 20), (900, 30)))
    share = [gap.trained.radius / math.sqrt(gap.dimension) for gap in (few, middle, many)]
    assert share[2] < 0.6 * share[0]
    assert all(0.9 <= gap.trained.ratio <= 2.5 for gap in (few, middle, many))
    assert all(gap.constructed.numbers["eps"] >= 0.3 * math.sqrt(gap.dimension) for gap in (few, middle, many))
    assert many.gap > middle.gap > 1 and [gap.flipped for gap in (middle, many)] == [0, 0]


def test_sizes_are_checked():
    with pytest.raises(ValueError, match=r"pairs \(d, n\)"):
        sphere_robustness_gap(((10, 1),))
