"""Closed forms of heads of rank one against samples, and what no number of heads can go below."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import vestige as vg
from vestige.construct.transformer.rank.kernels import harmonics, sign_coefficient

BUILD = vg.construct
SAMPLES = 400_000  # of the closed forms' null: a share is within .003 of its mean with 3.8 sigma


def unit(*shape, seed=0):
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x / x.norm(dim=-1, keepdim=True)


@pytest.mark.parametrize("dim", [4, 16])
def test_agreements_are_those_of_samples(dim):
    """Five random pairs; of 400,000 samples a share is within .003 with probability 1 - 2e-4 each (3.8 sigma)."""
    q, k, other_q, other_k = (unit(5, dim, seed=s) for s in range(4))
    q = torch.nn.functional.normalize(q + other_q, dim=1)  # so that some agree more than by chance
    y, w = unit(SAMPLES, dim, seed=7), unit(SAMPLES, dim, seed=8)
    first, second = ((y @ a.T * (w @ b.T)).sign() for a, b in ((q, k), (other_q, other_k)))
    found = BUILD.head_agreement(q, k, other_q, other_k)
    torch.testing.assert_close((first == second).double().mean(0), found, rtol=0, atol=0.003)
    right = (first == (y * w).sum(1).sign()[:, None]).double().mean(0)
    torch.testing.assert_close(right, BUILD.head_accuracy(dim, (q * k).sum(1)), rtol=0, atol=0.003)


@pytest.mark.parametrize(("dim", "accuracy"), [(4, 0.6487), (16, 0.5659)])
def test_one_head_with_equal_vectors_is_right_this_often(dim, accuracy):
    assert BUILD.head_accuracy(dim, torch.tensor(1.0)) == pytest.approx(accuracy, abs=5e-4)


def test_a_head_that_ignores_the_points_is_right_half_the_time():
    assert BUILD.head_accuracy(8, torch.tensor(0.0)) == 0.5
    assert BUILD.head_accuracy(8, torch.tensor(-1.0)) == pytest.approx(
        1 - BUILD.head_accuracy(8, torch.tensor(1.0)).item()
    )


@pytest.mark.parametrize("dim", [3, 4, 8, 16, 64])
def test_the_sign_is_made_of_odd_harmonics(dim):
    """The masses sum to 1 but for a tail like 1 / degree, and the first is E |u|^2 d."""
    masses = [harmonics(dim, degree) * sign_coefficient(dim, degree) ** 2 for degree in range(1, 302, 2)]
    assert 0.97 < sum(masses) < 1 and masses == sorted(masses, reverse=True)
    first = math.exp(math.lgamma(dim / 2) - math.lgamma((dim + 1) / 2)) / math.sqrt(math.pi)
    assert sign_coefficient(dim, 1) == pytest.approx(first)


@pytest.mark.parametrize(
    ("dim", "first", "third"), [(8, 0.1612, 0.1027), (16, 0.1716, 0.1148), (32, 0.1767, 0.1215), (64, 0.1792, 0.125)]
)
def test_plateaus_where_a_degree_is_reached(dim, first, third):
    masses = [harmonics(dim, degree) * sign_coefficient(dim, degree) ** 2 for degree in (1, 3)]
    assert (1 - masses[0]) / 2 == pytest.approx(first, abs=2e-4)
    assert (1 - sum(masses)) / 2 == pytest.approx(third, abs=2e-4)
    assert BUILD.rank_lower_bound(dim, 0, 1) == 0.5
    assert third < BUILD.rank_lower_bound(dim, dim, 1) < first
    assert BUILD.rank_lower_bound(dim, harmonics(dim, 3), 1) < third


@settings(max_examples=10)
@given(dim=st.integers(4, 12), heads=st.integers(1, 24), seed=st.integers(0, 99))
def test_the_best_weights_of_random_heads_respect_the_bound(dim, heads, seed):
    _, error = BUILD.optimal_head_weights(unit(heads, dim, seed=seed), unit(heads, dim, seed=seed + 100))
    assert BUILD.rank_lower_bound(dim, heads, 1) <= error / 2 <= 0.5


def test_the_best_weights_leave_what_samples_say():
    q, other = unit(64, 8), unit(64, 8, seed=1)
    k = torch.nn.functional.normalize(q + other, dim=1)
    weights, error = BUILD.optimal_head_weights(q, k)
    y, w = unit(SAMPLES, 8, seed=2), unit(SAMPLES, 8, seed=3)
    votes = (y @ q.T * (w @ k.T)).sign()
    target = (y * w).sum(1).sign()
    assert (votes @ weights - target).square().mean() == pytest.approx(error, rel=0.03)
    # the authors' figure draws keys that are shorter than 1, which closed form and samples see differently
    assert (votes @ (0.5 * weights) - target).square().mean() > error


def test_more_rank_and_more_heads_never_hurt():
    for heads in (4, 64, 1024):
        bounds = [BUILD.rank_lower_bound(8, heads, rank) for rank in range(1, 9)]
        assert bounds == sorted(bounds, reverse=True) and bounds[-1] == 0
    bounds = [BUILD.rank_lower_bound(8, heads, 2) for heads in (0, 1, 8, 100, 10_000)]
    assert bounds == sorted(bounds, reverse=True)


def test_a_softmax_of_full_rank_falls_as_one_over_beta():
    errors = [BUILD.softmax_head_error(16, beta) for beta in (50, 100.0, 200.0)]
    assert 0.0079 <= errors[1] <= 0.0087
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.02) and errors[1] / errors[2] == pytest.approx(2, rel=0.02)
    points = BUILD.sphere_points(16, 2, 100_000, orthogonal=True)
    share = (100.0 * points[:, :2] @ points[:, 2:].transpose(1, 2)).softmax(1)
    nearest = points[torch.arange(len(points)), share[..., 0].argmax(1)]
    measured = ((share * points[:, :2]).sum(1) - nearest).square().sum(1).mean()
    assert measured == pytest.approx(errors[1], rel=0.05)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: BUILD.rank_lower_bound(2, 3, 1), "dim >= 3"),
        (lambda: BUILD.rank_lower_bound(8, -1, 1), "at least 0 heads"),
        (lambda: BUILD.softmax_head_error(8, 0.0), "above 0"),
        (lambda: BUILD.head_accuracy(2, torch.tensor(1.0)), "dim >= 3"),
    ],
)
def test_sizes_without_a_formula(call, said):
    with pytest.raises(ValueError, match=said):
        call()
