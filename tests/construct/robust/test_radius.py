"""The radius that no function exceeds, and the widths between which robust memorization is possible."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vestige.construct.robust import radius
from vestige.construct.robust.radius import closest_pair, max_robust_radius, promised_separation, stretch, width_bounds

NORMS = (1, 2, math.inf, 3.0)


def points(n=12, d=5, classes=3, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=draw), torch.arange(n) % classes


@pytest.mark.parametrize("norm", NORMS)
def test_half_the_smallest_distance_between_labels(norm):
    x, y = points()
    pairs = [(i, j) for i in range(12) for j in range(12) if y[i] != y[j]]
    naive = min(float(torch.linalg.vector_norm(x[i] - x[j], ord=norm)) for i, j in pairs)
    assert max_robust_radius(x, y, norm=norm) == pytest.approx(naive / 2, rel=1e-12)


def test_points_of_one_label_may_be_close():
    x = torch.tensor([[0.0], [1e-9], [4.0]])
    assert max_robust_radius(x, torch.tensor([1, 1, 0]), norm="inf") == pytest.approx(2)
    assert max_robust_radius(x, torch.ones(3)) == math.inf


def test_blocks_change_nothing(monkeypatch):
    x, y = points(n=40)
    whole = closest_pair(x, y, 2.0)
    monkeypatch.setattr(radius, "BLOCK", 300)
    assert closest_pair(x, y, 2.0) == whole


@given(d=st.integers(1, 9), p=st.sampled_from([1.0, 1.5, 2.0, 3.0, math.inf]), seed=st.integers(0, 99))
def test_stretch_bounds_the_ratio_of_norms(d, p, seed):
    u = torch.randn(d, generator=torch.Generator().manual_seed(seed))
    ratio = float(u.norm() / torch.linalg.vector_norm(u, ord=p))
    assert ratio <= stretch(d, p) * (1 + 1e-12)
    corner = torch.ones(d) if p > 2 else torch.eye(d)[0]
    attained = float(corner.norm() / torch.linalg.vector_norm(corner, ord=p))
    assert attained == pytest.approx(stretch(d, p))


def test_bounds_are_ordered_and_grow_with_the_logarithm():
    widths = [width_bounds(n, 400, 0.05) for n in (10, 100, 1000, 10000)]
    assert all(w.lower <= w.upper for w in widths)
    gained = [b.upper - a.upper for a, b in itertools.pairwise(widths)]
    assert max(gained) <= 2 * min(gained)  # a constant for each factor of ten: logarithmic
    narrow = [width_bounds(1000, 400, share).upper for share in (0.01, 0.05, 0.2, 0.49)]
    assert narrow == sorted(narrow) and narrow[-1] == 403


def test_our_width_is_below_the_published_one():
    bounds = width_bounds(1000, 400, 0.02)
    assert bounds.published is not None and bounds.upper < bounds.published
    assert width_bounds(1000, 400, 0.3).published is None  # beyond that theorem, not beyond ours


def test_the_upper_bound_is_the_first_that_the_projection_promises():
    m = width_bounds(100, 300, 0.05).upper - 3
    assert promised_separation(100, 300, m) / 2 > 0.05 >= promised_separation(100, 300, m - 1) / 2


def test_norms_move_the_bounds_the_right_way():
    plain = width_bounds(100, 64, 0.04)
    assert width_bounds(100, 64, 0.04 / 8, norm="inf").upper == plain.upper  # a_inf = 8
    assert width_bounds(100, 64, 0.04, norm=1).lower <= plain.lower


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.tensor([[0.0], [math.nan]])}, "1 NaN or infinite"),
        ({"y": torch.tensor([0.0, math.inf])}, "y holds 1 NaN"),
        ({"x": torch.zeros(2, 1)}, "points 0 and 1 are equal, with labels 0 and 1"),
        ({"y": torch.tensor([0, 1, 2])}, "one number a point"),
        ({"x": torch.zeros(2)}, "shape \\(2,\\)"),
        ({"x": torch.tensor([[2**60], [0]])}, "Divide large integers"),
        (
            {"x": torch.tensor([[1e-200], [2e-200]], dtype=torch.float64)},
            "1e-200 apart.*Multiply the points by a power of two",
        ),
        ({"x": torch.tensor([[1e200], [2e200]], dtype=torch.float64)}, "coordinates up to 2e\\+200"),
        (
            {"x": torch.tensor([[1e-300, 1e300], [0, 1e300]], dtype=torch.float64)},
            "0 apart, with coordinates up to 1e\\+300",
        ),
        ({"norm": 0.5}, "from 1 to inf"),
        ({"norm": "two"}, "from 1 to inf"),
    ],
)
def test_bad_input_is_named(change, message):
    given = {"x": torch.tensor([[0.0], [1.0]]), "y": torch.tensor([0, 1]), "norm": 2, **change}
    with pytest.raises(ValueError, match=message):
        max_robust_radius(given["x"], given["y"], norm=given["norm"])


def test_a_radius_that_no_function_has_is_refused_with_the_limit():
    with pytest.raises(ValueError, match=r"below 0.05 is allowed"):
        width_bounds(10, 100, 0.06, norm="inf")
    with pytest.raises(ValueError, match="n and d must be at least 1"):
        width_bounds(0, 100, 0.06)


@pytest.mark.parametrize("norm", [300, 600, 1e5])
@pytest.mark.parametrize("size", [1e-3, 0.01, 1.9, 1e6])
def test_a_high_power_neither_overflows_nor_vanishes(norm, size):
    x = torch.tensor([[-size, 0.0], [size, 0.0], [size, size]])
    assert max_robust_radius(x, torch.tensor([0, 1, 1]), norm=norm) == pytest.approx(size, rel=1e-12)
    everywhere = torch.tensor([[0.0] * 4, [size] * 4])  # |u|_p = size 4^(1/p)
    assert max_robust_radius(everywhere, torch.tensor([0, 1]), norm=norm) == pytest.approx(size * 4 ** (1 / norm) / 2)


def test_points_as_far_apart_as_floats_go_are_refused_and_no_constant():
    with pytest.raises(ValueError, match=r"are 1\.8e\+308 apart"):
        max_robust_radius(torch.tensor([[-1.7e308], [1.7e308]]), torch.tensor([0, 1]))
