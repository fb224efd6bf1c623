"""Random matrices from a seed: the same for ever, prefixes of endless ones, of the stated distribution."""

import hashlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vestige.construct.prune.random_layers import BUCKETS, SHRINK, random_matrix

# SHA-256 of random_matrix(2026, (1, 0), (50, 40), ...): a change here makes every file of masks unreadable.
KNOWN = {
    "uniform": "e9f89d94d039638b0c30b58972ad33762cd4431beab8381cb736b47b0c2a8403",
    "hyperbolic": "2048f16205ce0c80bbd0a78017220b572528a23e20fbdafcce78a926ff5667ff",
}


@pytest.mark.parametrize("distribution", KNOWN)
def test_the_numbers_are_those_of_all_files(distribution):
    drawn = random_matrix(2026, (1, 0), (50, 40), distribution).numpy().astype("<f4")
    assert hashlib.sha256(drawn.tobytes()).hexdigest() == KNOWN[distribution]


@given(rows=st.integers(1, 9), more=st.integers(0, 9), columns=st.integers(1, 7), seed=st.integers(0, 99))
@pytest.mark.parametrize("distribution", KNOWN)
def test_more_rows_leave_the_first_ones_alone(distribution, rows, more, columns, seed):
    few = random_matrix(seed, (0, 0), (rows, columns), distribution)
    many = random_matrix(seed, (0, 0), (rows + more, columns), distribution)
    assert torch.equal(many[:rows], few)


def test_uniform_moments_and_range():
    w = random_matrix(1, (0, 0), (1000, 1000))
    assert w.dtype == torch.float32 and float(w.abs().max()) < 1 and float(w.abs().min()) > 0
    # Standard errors of mean and mean square are 5.8e-4 and 3.0e-4; five of them.
    assert abs(float(w.double().mean())) < 2.9e-3
    assert abs(float(w.double().square().mean()) - 1 / 3) < 1.5e-3
    assert np.array_equal(w.numpy().astype(np.float64) * 2**24 % 2, np.ones(w.shape))  # odd multiples of 2^-24


def test_hyperbolic_has_as_many_in_each_bucket():
    w = random_matrix(1, (0, 0), (600, 600), "hyperbolic").double()
    bucket = torch.floor(w.abs().log() / math.log(SHRINK)).clamp(0, BUCKETS - 1).long()
    counts = torch.bincount(bucket.flatten(), minlength=BUCKETS).double()
    expected = w.numel() / BUCKETS
    assert len(counts) == BUCKETS and float((counts - expected).abs().max()) < 6 * math.sqrt(expected)
    assert abs(float(w.sign().mean())) < 5 / 600
