"""Subset sums: the exact search against all subsets, the greedy rule against its bound, the rates."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import vestige as vg
from vestige.construct.prune import subset_sum
from vestige.core.rng import child


def products(n, m, seed):
    draw = child(seed, "values")
    values = torch.rand(n, m, generator=draw) * (2 * torch.rand(n, m, generator=draw) - 1)
    return values, torch.rand(n, generator=draw) - 0.5


def all_subsets(values, target):
    """The least error by trying every subset."""
    masks = torch.tensor(list(itertools.product((0.0, 1.0), repeat=values.shape[1])))
    return (values @ masks.T - target[:, None]).abs().amin(1)


@given(m=st.integers(1, 12), seed=st.integers(0, 99))
def test_the_exact_search_finds_the_best_of_all_subsets(m, seed):
    values, target = products(4, m, seed)
    found = vg.construct.random_subset_sum(values, target)
    torch.testing.assert_close(found.error, all_subsets(values, target), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("dtype", "exactness"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_the_mask_gives_the_error_that_is_stated(dtype, exactness):
    values, target = (t.to(dtype) for t in products(50, 14, 1))
    found = vg.construct.random_subset_sum(values, target)
    stated = ((values.double() * found.mask).sum(1) - target.double()).abs()
    torch.testing.assert_close(found.error, stated, rtol=0, atol=0)
    best = all_subsets(values.double(), target.double())
    assert float((found.error - best).max()) <= exactness


def test_blocks_do_not_change_the_result(monkeypatch):
    values, target = products(37, 10, 2)
    whole = vg.construct.random_subset_sum(values, target)
    monkeypatch.setattr(subset_sum, "SUMS_AT_ONCE", 64)
    assert torch.equal(vg.construct.random_subset_sum(values, target).mask, whole.mask)


def test_batches_of_any_shape():
    values, target = products(12, 6, 3)
    flat, batched = (
        vg.construct.random_subset_sum(values, target),
        vg.construct.random_subset_sum(values.reshape(3, 4, 6), target.reshape(3, 4)),
    )
    assert torch.equal(batched.mask.reshape(12, 6), flat.mask) and batched.error.shape == (3, 4)


@pytest.mark.parametrize("ratio", [2 / 3, (math.sqrt(5) - 1) / 2])
@pytest.mark.parametrize("ends", ["low", "high", "random"])
def test_greedy_residuals_stay_below_their_bound(ratio, ends):
    """One number in each [g^i, g^(i-1)], at the ends of the buckets too; 10^5 targets between 0 and 1/g."""
    buckets, draw = 19, child(4, "greedy")
    edges = ratio ** torch.arange(buckets + 1.0)
    high, low = edges[:-1], edges[1:]
    where = {"low": torch.zeros(buckets), "high": torch.ones(buckets), "random": torch.rand(buckets, generator=draw)}
    values = low + where[ends] * (high - low)
    target = torch.rand(100_000, generator=draw) / ratio
    found = vg.construct.random_subset_sum(values.expand(len(target), -1), target, method="greedy")
    assert float(found.error.max()) <= ratio ** (buckets - 1) * (1 + 1e-9)


def test_greedy_without_a_bucket_breaks_the_bound():
    values = (2 / 3) ** torch.arange(1.0, 20.0)
    gap = torch.cat([values[:1], values[6:]])
    target = torch.linspace(0, 1, 1000)
    error = vg.construct.random_subset_sum(gap.expand(1000, -1), target, method="greedy").error
    assert float(error.max()) > 100 * (2 / 3) ** 18


def test_greedy_takes_numbers_of_the_right_sign():
    found = vg.construct.random_subset_sum(torch.tensor([0.5, -0.5, -0.25]), torch.tensor(-0.75), method="greedy")
    assert found.mask.tolist() == [False, True, True] and float(found.error) == 0


def test_the_single_number_nearest_or_none():
    values = torch.tensor([[0.5, -0.3], [0.9, 0.8]])
    found = vg.construct.random_subset_sum(values, torch.tensor([-0.25, 0.1]), method="random")
    assert found.mask.tolist() == [[False, True], [False, False]]


def test_rates():
    """Exact 2^-m, single 1/m: medians of 4,000 instances, whose logarithms are known to .1 at five standard errors."""
    for m, expected in ((10, 7.7e-4), (14, 5.3e-5), (16, 1.4e-5)):
        median = float(vg.construct.random_subset_sum(*products(4000, m, m)).error.median())
        assert abs(math.log(median / expected)) < 0.15
    for m, expected in ((100, 4.1e-3), (1000, 4.5e-4)):
        median = float(vg.construct.random_subset_sum(*products(4000, m, m), method="random").error.median())
        assert abs(math.log(median / expected)) < 0.15


def test_a_random_subset_is_no_solution():
    values, target = products(1000, 16, 5)
    mask = torch.rand(values.shape, generator=child(0, "null")) < 0.5
    null = ((values * mask).sum(1) - target).abs().median()
    assert float(null) > 1000 * float(vg.construct.random_subset_sum(values, target).error.median())


@pytest.mark.parametrize(
    ("values", "target", "method", "message"),
    [
        (torch.ones(2, 3), torch.ones(2), "close", "subset_sum, greedy, random"),
        (torch.ones(2, 3), torch.ones(3), "greedy", "one target for each"),
        (torch.tensor([1.0, torch.nan]), torch.tensor(1.0), "greedy", "NaN"),
        (torch.ones(40), torch.tensor(1.0), "subset_sum", "at most 34"),
    ],
)
def test_bad_input(values, target, method, message):
    with pytest.raises(ValueError, match=message):
        vg.construct.random_subset_sum(values, target, method=method)
