"""Depth-separated targets: networks written down against the functions, and what no smooth function sees of them."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import vestige as vg
from vestige.core.rng import child


def linears(net):
    return [layer for layer in net if isinstance(layer, nn.Linear)]


@pytest.mark.parametrize("depth", range(1, 13))
def test_tents_written_down_are_the_sawtooth(depth):
    target = vg.construct.sawtooth_target(depth)
    x, y = target.sample(2000)
    assert float((target.network(x)[:, 0] - y).abs().max()) <= 1e-12
    assert [layer.out_features for layer in linears(target.network)] == [2] * depth + [1]
    grid = torch.arange(2**depth + 1)[:, None] / 2**depth
    assert target.label(grid).tolist() == [-1.0, 1.0] * 2 ** (depth - 1) + [-1.0]


def test_a_shallower_network_is_not_the_sawtooth():
    deep = vg.construct.sawtooth_target(4)
    x, y = deep.sample(500)
    assert float((vg.construct.sawtooth_target(3).network(x)[:, 0] - y).abs().max()) > 0.5


@given(n=st.integers(1, 10), data=st.data())
def test_counters_written_down_are_parities(n, data):
    subset = data.draw(st.sets(st.integers(0, n - 1), min_size=1))
    target = vg.construct.parity_target(n, sorted(subset))
    x = vg.construct.boolean_cube(n)
    expected = torch.ones(len(x))
    for coordinate in subset:
        expected = expected * x[:, coordinate]
    assert torch.equal(target.label(x), expected) and torch.equal(target.network(x)[:, 0], expected)


@pytest.mark.parametrize(("n", "steps"), [(4, 1), (6, 3), (8, 8)])
def test_staircases_have_their_coefficients(n, steps):
    target = vg.construct.staircase_target(n, steps)
    found = vg.construct.walsh_hadamard(target.label(vg.construct.boolean_cube(n)))
    expected = torch.zeros(2**n)
    expected[[2**k - 1 for k in range(1, steps + 1)]] = steps**-0.5
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        target.network(vg.construct.boolean_cube(n))[:, 0], target.label(vg.construct.boolean_cube(n))
    )


def test_large_parities_have_no_network():
    assert vg.construct.parity_target(100).network is None


@pytest.mark.parametrize("power", range(1, 11))
def test_the_square_wave_hides_from_smooth_functions(power):
    """|E f g| <= Lip(g) 2^-power / 2, with equality for g(x) = x; midpoints integrate lines exactly."""
    cells = 2 ** (power + 6)
    x = (torch.arange(cells)[:, None] + 0.5) / cells
    f = vg.construct.square_wave_target(power).label(x)
    assert abs(float((f * x[:, 0]).mean())) == pytest.approx(2.0**-power / 2, rel=1e-12)
    draw = child(power, "lipschitz")
    for _ in range(20):
        slope = torch.randn(8, generator=draw)
        g = ((x - torch.rand(8, generator=draw)).abs() * slope).sum(1)
        assert abs(float((f * g).mean())) <= float(slope.abs().sum()) * 2.0**-power / 2 + 1e-12


@pytest.mark.parametrize("depth", [1, 3, 6])
def test_the_sawtooth_hides_twice_as_well(depth):
    cells = 2 ** (depth + 8)
    x = (torch.arange(cells)[:, None] + 0.5) / cells
    f = vg.construct.sawtooth_target(depth).label(x)
    draw = child(depth, "lipschitz")
    for _ in range(20):
        slope = torch.randn(8, generator=draw)
        g = ((x - torch.rand(8, generator=draw)).abs() * slope).sum(1)
        assert abs(float((f * g).mean())) <= float(slope.abs().sum()) * 2.0**-depth / 4 + 1e-4 / cells


def test_a_step_is_no_smooth_function():
    """The null of the bound: a function with a jump at a tooth correlates more than a Lipschitz one may."""
    x = (torch.arange(4096)[:, None] + 0.5) / 4096
    f = vg.construct.square_wave_target(6).label(x)
    assert float((f * f).mean()) > 2.0**-6 / 2


@pytest.mark.parametrize(
    "target",
    [
        vg.construct.ball_indicator_target(3),
        vg.construct.ball_indicator_target(30),
        vg.construct.sawtooth_target(5),
        vg.construct.square_wave_target(5),
        vg.construct.parity_target(9),
        vg.construct.inner_product_target(5),
    ],
    ids=lambda t: t.name,
)
def test_means_are_zero_and_squares_at_most_one(target):
    x, y = target.sample(20_000)
    assert x.shape == (20_000, target.dimension)
    assert abs(float(y.mean())) < 5 / math.sqrt(20_000)
    assert float(y.abs().max()) <= 1


def test_inner_products_live_on_two_spheres():
    x, y = vg.construct.inner_product_target(3, frequency=2).sample(100)
    u, v = x[:, :3], x[:, 3:]
    torch.testing.assert_close(u.norm(dim=1), torch.ones(100))
    torch.testing.assert_close(v.norm(dim=1), torch.ones(100))
    torch.testing.assert_close(y, torch.sin(2 * math.pi * (u * v).sum(1)))


def test_a_neuron_has_mean_square_one():
    target = vg.construct.single_neuron_target(8)
    x, y = target.sample(50_000)
    # E 2 relu(z)^2 = 1 with variance 5; five standard errors.
    assert abs(float(y.square().mean()) - 1) < 5 * math.sqrt(5 / 50_000)
    torch.testing.assert_close(target.network(x)[:, 0], y)


def test_samples_depend_on_the_generator_alone():
    target = vg.construct.parity_target(6)
    state = torch.random.get_rng_state()
    first, again = (target.sample(10, child(3, "draw"))[0] for _ in range(2))
    assert torch.equal(first, again) and torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: vg.construct.sawtooth_target(0), "depth=0"),
        (lambda: vg.construct.square_wave_target(0), "power=0"),
        (lambda: vg.construct.parity_target(0), "n=0"),
        (lambda: vg.construct.parity_target(3, [3]), "coordinates 0 to 2"),
        (lambda: vg.construct.parity_target(3, []), "at least one"),
        (lambda: vg.construct.staircase_target(3, 4), "steps must be at most n"),
        (lambda: vg.construct.inner_product_target(1), "dimension=1"),
        (lambda: vg.construct.inner_product_target(3, frequency=-1), "positive"),
        (lambda: vg.construct.ball_indicator_target(0), "dimension=0"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
