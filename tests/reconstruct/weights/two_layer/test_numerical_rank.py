"""Counting samples in singular values: gaps, noise of every shape, and matrices that are neither."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vestige.core.rng import child
from vestige.reconstruct.weights.two_layer.numerical_rank import numerical_rank


def values(matrix):
    return torch.linalg.svdvals(matrix)


def noise(h, d, seed):
    return 1e-3 * torch.randn(h, d, generator=child(seed, "noise"), dtype=torch.float64)


def samples(h, d, n, seed, size):
    """A matrix of rank n whose singular values fall from 20 to 2 times `size`."""
    left, right = (torch.linalg.qr(noise(k, n, seed + i))[0] for i, k in ((1, h), (2, d)))
    return left * (size * torch.logspace(1.3, 0.3, n, dtype=torch.float64)) @ right.T


def test_rank_is_read_at_the_largest_gap():
    assert numerical_rank(torch.tensor([3.0, 2.0, 1.0, 1e-4, 9e-5])) == (3, True)
    assert numerical_rank(torch.tensor([3.0, 2.0, 1.0])) == (3, False)


@given(
    shape=st.sampled_from([(1000, 65), (65, 300), (400, 129)]),
    n=st.integers(1, 20),
    seed=st.integers(0, 100),
)
def test_samples_are_counted_above_the_noise_they_were_added_to(shape, n, seed):
    edge = 1e-3 * (shape[0] ** 0.5 + shape[1] ** 0.5)
    assert numerical_rank(values(noise(*shape, seed) + samples(*shape, n, seed, edge)), shape) == (n, True)


@pytest.mark.parametrize("uniform", [True, False])
def test_an_untrained_layer_counts_no_samples(uniform):
    g = child(3, "layer")
    draw = torch.rand(500, 200, generator=g) - 0.5 if uniform else torch.randn(500, 200, generator=g)
    assert numerical_rank(values(draw), (500, 200)) == (200, False)


@pytest.mark.parametrize("decay", [0.5, 1.0, 2.0])
def test_a_spectrum_that_falls_like_a_power_is_not_taken_for_noise(decay):
    size = torch.arange(1, 301, dtype=torch.float64) ** -decay
    assert numerical_rank(size, (1000, 300)) == (300, False)
