"""Robust memorization: the label at every point of every ball, at the width and depth that were promised."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vestige.construct.exact import evaluate
from vestige.construct.robust.balls import Balls
from vestige.construct.robust.first_layer import choose_first_layer, stretch_above
from vestige.construct.robust.layers import Layout
from vestige.construct.robust.memorizer import memorize_robustly
from vestige.construct.robust.projection import Projection
from vestige.construct.robust.radius import max_robust_radius, stretch
from vestige.construct.robust.thresholds import root_above, root_below, short_between
from vestige.core.outcome import Outcome
from vestige.data.dataset import sample
from vestige.data.load import load_data

EXACT: dict[str, Any] = {"projection": "identity"}
KINDS: list[dict[str, Any]] = [
    {"width": 5},
    {"width": 5, "norm": 1},
    {"width": 5, "norm": "inf"},
    {"width": 5, "norm": 3},
    {"layout": "parallel", **EXACT},
    {"norm": 1, **EXACT},
    {"norm": "inf", **EXACT},
]


def gaussian(n=7, d=5, classes=3, seed=0):
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=draw)
    x[classes] = x[0] + 1e-3  # a point of the same label nearly on top of another: their balls overlap
    return x, torch.arange(n) % classes


def unit(rows, p):
    """A hair inside the unit sphere: a float norm is not exact."""
    return rows / torch.linalg.vector_norm(rows, ord=p, dim=1, keepdim=True) * (1 - 1e-12)


def in_balls(made, x, count=3, seed=0):
    """Points of the balls and the positions of their samples: of the sphere, corners, axes, and in the span of P."""
    draw = torch.Generator().manual_seed(seed)
    n, d = x.shape
    p, radius = made.specification.norm, made.numbers["eps"]
    sphere = unit(torch.randn(count * n, d, generator=draw), p)
    corners = unit(torch.randint(0, 2, (count * n, d), generator=draw) * 2.0 - 1, p)
    axes = unit(torch.eye(d)[torch.randint(0, d, (count * n,), generator=draw)] * sphere.sign(), p)
    rows = [[float(w) / 2**row.shift for w in dense(row, d)] for row in made.network.layers[0].neurons]
    span = torch.randn(count * n, len(rows), generator=draw) @ torch.tensor(rows)
    towards = x[torch.randint(0, n, (count * n,), generator=draw)] - x.repeat(count, 1)
    worst = torch.where(
        towards.norm(dim=1, keepdim=True) > 0, towards @ torch.tensor(rows).T @ torch.tensor(rows), span
    )
    moves = torch.cat([sphere, corners, axes, unit(span, p), unit(worst, p)])
    return x.repeat(5 * count, 1) + radius * moves * 0.999999, torch.arange(n).repeat(5 * count)


def dense(row, d):
    values = dict(zip(row.columns, row.weights, strict=True))
    return [values.get(c, 0) for c in range(d)]


def labels_at(network, points):
    return [Fraction(v) for v in network(points)[:, 0]]


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_labels_are_exact_on_the_balls(options):
    x, y = gaussian()
    largest = memorize_robustly(x, y, **options).numbers["eps_max"]
    made = memorize_robustly(x, y, eps=0.95 * largest, **options)
    assert made.certificate.holds and made.outcome == "converged"
    points, owners = in_balls(made, x)
    assert labels_at(made.network, points) == y[owners].tolist()
    assert made.numbers["mantissa_bits"] <= 53
    floats = made.to_torch(exact=False)(points)[:, 0]
    assert (floats - y[owners]).abs().max() <= 1e-14


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_both_layouts_are_the_same_function_everywhere(options):
    x, y = gaussian()
    narrow, parallel = (memorize_robustly(x, y, **{**options, "layout": layout}) for layout in Layout)
    points = torch.cat([x, 2 * torch.randn(20, 5), 100 * torch.randn(20, 5)])
    assert labels_at(narrow.network, points) == labels_at(parallel.network, points)
    assert narrow.numbers == parallel.numbers


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_width_and_depth_are_as_promised(options):
    x, y = gaussian()
    made = memorize_robustly(x, y, **{**options, "layout": "narrow"})
    m, knots, n = (made.numbers[name] for name in ("m", "knots", "points"))
    assert made.network.width == m + 3 == (options.get("width") or 8)
    assert made.network.depth - 1 == 1 + n * (2 * m * knots + 3)
    assert memorize_robustly(x, y, **{**options, "layout": "parallel"}).network.depth <= 20


def test_the_kernel_of_the_first_layer_is_harmless():
    x, y = gaussian()
    made = memorize_robustly(x, y, width=5)
    first, second = ([Fraction(w) for w in dense(row, 5)] for row in made.network.layers[0].neurons)
    z = null_vector(first, second)
    assert max(abs(v) for v in z) >= 10**6
    moved = [[Fraction(v) + w for v, w in zip(row, z, strict=True)] for row in x.tolist()]
    assert labels_at(made.network, moved) == y.tolist()
    far = torch.tensor([float(v) for v in z])
    floats = made.to_torch(exact=False)(x + far / far.norm() * 1e6)[:, 0]
    assert (floats - y).abs().max() <= 1e-6


def null_vector(a, b):
    """An integer z with <a, z> = <b, z> = 0: a cross product in the first three coordinates."""
    return [*(a[(k + 1) % 3] * b[(k + 2) % 3] - a[(k + 2) % 3] * b[(k + 1) % 3] for k in range(3)), *[Fraction(0)] * 2]


@pytest.mark.parametrize("norm", [1, 2, math.inf])
def test_the_identity_reaches_the_ceiling_of_any_function(norm):
    x, y = gaussian()
    made = memorize_robustly(x, y, norm=norm, layout="parallel", **EXACT)
    assert made.numbers["eps_max"] == pytest.approx(max_robust_radius(x, y, norm=norm), rel=1e-5)
    assert made.numbers["eps"] >= 0.98 * max_robust_radius(x, y, norm=norm)


@pytest.mark.parametrize("m", [2, 4])
def test_no_width_beats_the_simplex(m):
    x, y = torch.cat([torch.zeros(1, 16), torch.eye(16)]), torch.tensor([0] + [1] * 16)
    for projection in ("random", "optimized"):
        made = memorize_robustly(x, y, width=m + 3, projection=projection, layout="parallel")
        assert made.numbers["eps_max"] <= 0.5 * math.sqrt(m / 16) * (1 + 1e-9)


@pytest.mark.parametrize("options", [{"width": 5}, {"layout": "parallel", **EXACT}], ids=str)
def test_two_percent_beyond_the_largest_radius_a_ball_is_wrong(options):
    """Two points of balls with different labels have one image there, so that one of them gets the other's label."""
    x, y = gaussian()
    made = memorize_robustly(x, y, **options)
    rows = torch.tensor([[float(w) / 2**row.shift for w in dense(row, 5)] for row in made.network.layers[0].neurons])
    apart = torch.cdist(x @ rows.T, x @ rows.T).masked_fill(y[:, None] == y[None], math.inf)
    i, j = divmod(int(apart.argmin()), len(x))
    half = (x[j] - x[i]) @ rows.T @ torch.linalg.inv(rows @ rows.T) @ rows / 2
    radius = 1.02 * made.numbers["eps_max"]
    assert half.norm() <= radius
    found = labels_at(made.network, torch.stack([x[i] + half, x[j] - half]))
    assert found != [int(y[i]), int(y[j])]
    inside = labels_at(made.network, torch.stack([x[i] + 0.97 * half, x[j] - 0.97 * half]))
    assert inside == [int(y[i]), int(y[j])]


@pytest.mark.parametrize("labels", [[0, -3, 4], [0.25, -1.5, 1e-3], [2**60, 1, 3], [True, False, True]])
def test_labels_are_any_numbers(labels):
    x = torch.tensor([[0.0], [1.0], [2.5]])
    made = memorize_robustly(x, torch.tensor(labels))
    assert made.certificate.holds
    assert labels_at(made.network, x + 0.4) == [Fraction(label) for label in torch.tensor(labels).tolist()]


def test_equal_points_are_one_and_single_labels_are_constants():
    x = torch.tensor([[0.0, 1.0], [-0.0, 1.0], [2.0, 2.0]])
    assert memorize_robustly(x, torch.tensor([1, 1, 2])).numbers["points"] == 2
    for points in (x[:1], x):
        made = memorize_robustly(points, torch.full((len(points),), 4))
        assert made.certificate.holds and made.numbers["eps"] == math.inf
        assert labels_at(made.network, torch.randn(5, 2)) == [4] * 5 and made.warnings


def test_points_of_every_type_and_shape():
    images = torch.randint(0, 255, (6, 1, 3, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    made = memorize_robustly(images, torch.arange(6) % 2, norm="inf", layout="parallel", **EXACT)
    assert labels_at(made.network, images.reshape(6, -1)) == [0, 1, 0, 1, 0, 1]
    x, y = gaussian()
    short = memorize_robustly(x.float(), y, width=6)
    assert labels_at(short.network, x.float()) == y.tolist()


def clustered():
    draw = torch.Generator().manual_seed(0)
    return torch.randn(3, 4, generator=draw).double().repeat(3, 1) + 0.01 * torch.randn(9, 4, generator=draw).double()


CUBE = torch.cartesian_prod(*[torch.arange(2.0)] * 3).double()


@pytest.mark.parametrize(
    ("x", "y"),
    [
        pytest.param(clustered(), torch.arange(9) // 3, id="clusters of mixed labels"),
        pytest.param(clustered(), torch.arange(9) % 3, id="clusters of one label"),
        pytest.param(CUBE, CUBE.sum(1).long() % 2, id="parity on a grid"),
        pytest.param(
            torch.tensor([[1.0, 0], [1 + 2**-52, 0], [5, 5]], dtype=torch.float64),
            torch.tensor([0, 1, 0]),
            id="the next float",
        ),
    ],
)
@pytest.mark.parametrize("options", [{"width": 5}, {"norm": "inf", **EXACT}], ids=str)
def test_data_of_other_kinds(x, y, options):
    made = memorize_robustly(x, y, layout="parallel", **options)
    assert made.certificate.holds
    if made.numbers["mantissa_bits"] <= 53:
        points, owners = in_balls(made, x)
        assert labels_at(made.network, points) == y[owners].tolist()
    assert labels_at(made.network, x) == y.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("layout", Layout)
def test_images_with_random_labels(layout):
    digits = sample(load_data("digits"), 40)[0]
    y = torch.randint(0, 10, (40,), generator=torch.Generator().manual_seed(0))
    made = memorize_robustly(digits.x, y, width=12, projection="optimized", layout=layout)
    assert made.certificate.holds and made.numbers["eps"] > 0.8 * made.numbers["ceiling"]
    points, owners = in_balls(made, digits.x.flatten(1).double(), count=1)
    assert labels_at(made.network, points) == y[owners].tolist()


def test_float32_is_enough_where_the_bits_say_so():
    x, y = gaussian(n=6, d=4)
    made = memorize_robustly(x, y, norm="inf", eps=0.3 * max_robust_radius(x, y, norm="inf"), **EXACT)
    assert made.numbers["mantissa_bits"] <= 24
    points, owners = in_balls(made, x, count=20)
    floats = made.to_torch(torch.float32, exact=False)(points.float())[:, 0]
    assert (floats - y[owners]).abs().max() <= 1e-6


def test_points_that_floats_cannot_tell_apart_get_a_warning():
    x = torch.tensor([[1e12], [1e12 + 1e-3]])
    made = memorize_robustly(x, torch.tensor([0, 1]))
    assert made.certificate.holds and made.numbers["mantissa_bits"] > 53
    assert "53 bits" in made.warnings[0]


def test_the_width_grows_until_the_radius_fits():
    x, y = gaussian(n=12, d=16)
    wide = memorize_robustly(x, y, eps=0.9 * max_robust_radius(x, y), layout="parallel")
    narrow = memorize_robustly(x, y, eps=0.05 * max_robust_radius(x, y), layout="parallel")
    assert narrow.numbers["m"] == math.ceil(4 * math.log(12)) < wide.numbers["m"]


def test_more_width_than_coordinates_is_said_to_be_idle():
    x, y = gaussian(d=3)
    made = memorize_robustly(x, y, width=20, layout="parallel")
    assert made.numbers["m"] == 3 and "6 carries all 3 coordinates" in made.warnings[0]


def test_progress_is_told():
    x, y = gaussian()
    notes = []
    memorize_robustly(x, y, width=6, projection="optimized", on_step=lambda step: notes.append(step.note))
    assert {"separation", "layers", "points"} <= set(notes)


def test_equal_seeds_give_equal_networks_and_the_global_stream_stays():
    x, y = gaussian()
    before = torch.get_rng_state()
    first, second, third = (
        memorize_robustly(x, y, width=6, generator=torch.Generator().manual_seed(seed)).network for seed in (1, 1, 2)
    )
    assert first == second != third
    assert torch.equal(before, torch.get_rng_state())


@settings(max_examples=15)
@given(
    n=st.integers(2, 6),
    d=st.integers(1, 4),
    p=st.sampled_from([1, 2, math.inf, 2.5]),
    share=st.floats(0.05, 0.98),
    scale=st.sampled_from([1e-6, 1.0, 1e5]),
    layout=st.sampled_from(Layout),
    seed=st.integers(0, 999),
)
def test_any_small_set_is_kept(n, d, p, share, scale, layout, seed):
    draw = torch.Generator().manual_seed(seed)
    x = scale * torch.randn(n, d, generator=draw).round(decimals=1)
    y = (10 * x / scale).round().sum(1).long() % 2  # equal points get equal labels
    largest = memorize_robustly(x, y, norm=p, layout=layout).numbers["eps_max"]
    eps = None if math.isinf(largest) else share * largest
    made = memorize_robustly(x, y, norm=p, eps=eps, layout=layout)
    assert made.certificate.holds
    if not math.isinf(made.numbers["eps"]):
        points, owners = in_balls(made, x, count=3, seed=seed)
        assert labels_at(made.network, points) == y[owners].tolist()


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, math.inf])
def test_the_gain_bounds_what_the_first_layer_does_to_a_ball(p):
    x, y = gaussian(d=10)
    chosen = choose_first_layer(x, y, 4, p, Projection.RANDOM, None, None)
    matrix = torch.tensor(chosen.integers.astype(float)) / 2**chosen.exponent
    u = torch.cat([torch.randn(500, 10), torch.randn(500, 10).sign(), torch.eye(10)])
    ratio = (u @ matrix.T).norm(dim=1) / torch.linalg.vector_norm(u, ord=p, dim=1)
    assert 0.4 * float(chosen.gain) < float(ratio.max()) <= float(chosen.gain)
    assert stretch(10, p) <= float(stretch_above(10, p)) <= stretch(10, p) * (1 + 1e-12)


def bits(value):
    odd = value.numerator // (value.numerator & -value.numerator)
    return odd.bit_length()


@given(value=st.fractions(min_value=Fraction(1, 10**9), max_value=10**9))
def test_roots_and_short_numbers_stay_on_their_side(value):
    low, high = root_below(value), root_above(value)
    assert low**2 <= value <= high**2 and high <= low * (1 + Fraction(1, 2**30))
    short = short_between(value, value * Fraction(9, 8))
    assert value <= short <= value * Fraction(9, 8)
    assert short.denominator & (short.denominator - 1) == 0 and bits(short) <= 5


# What must fail: other networks held against the same specification.


def test_the_specification_is_a_copy_of_the_points():
    x, y = gaussian()
    made = memorize_robustly(x, y, width=5, layout="parallel")
    assert isinstance(made.specification, Balls)
    before = x.clone().numpy()
    x.zero_()
    y.zero_()
    assert np.array_equal(made.specification.points, before) and made.verify().holds


@pytest.mark.parametrize("norm", [300, 600])
def test_a_high_power_is_kept_and_the_outcome_is_that_of_the_certificate(norm):
    x, y = torch.tensor([[-1.9, 0.0], [1.9, 0.0], [1.91, 0.0]]), torch.tensor([0, 1, 0])
    made = memorize_robustly(x, y, norm=norm)
    assert 0 < made.numbers["eps"] < made.numbers["ceiling"] == pytest.approx(0.005)
    assert made.certificate.holds and made.outcome is Outcome.CONVERGED and not made.warnings
    assert [int(v) for v in made.network(x)[:, 0]] == y.tolist()


def test_a_wide_layer_is_evaluated_in_bounded_memory(monkeypatch):
    x, y = torch.randn(24, 3, generator=torch.Generator().manual_seed(0)), torch.arange(24) % 2
    made = memorize_robustly(x, y, layout="parallel")
    whole = made.network(x)
    monkeypatch.setattr(evaluate, "CELLS", 1)
    plan = evaluate.scaled_layers(made.network.layers, [60] * 3)
    assert max(map(len, evaluate.chunks_of(plan, np.zeros((24, 3), dtype=np.int64) + np.arange(24)[:, None]))) == 8
    assert (made.network(x) == whole).all()
