"""Random features: exact errors against least squares and autograd, bounds below, the staircase, and one neuron."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vestige.core.rng import child
from vestige.landscape import (
    GaussianInputs,
    Neurons,
    Population,
    fit_features,
    neuron_descent,
    periodic_relu_sum,
    random_feature_bound,
    random_features,
)
from vestige.landscape.fixed_features import harmonic_energies
from vestige.landscape.gaussian.population import pair_values


def direction(d, *, bias=None):
    return Neurons(torch.eye(1, d), None if bias is None else torch.tensor([bias]))


def values(neurons, x, activation="relu"):
    z = x @ neurons.weight.T + (0 if neurons.bias is None else neurons.bias)
    return {"relu": torch.relu, "erf": torch.erf, "cos": torch.cos}[activation](z)


@pytest.mark.parametrize(("activation", "bias"), [("relu", None), ("relu", 0.4), ("erf", None), ("cos", None)])
def test_the_exact_error_is_that_of_fresh_samples(activation, bias):
    """At the exact coefficients, to 5 sigma of 100,000 Gaussians; least squares on them does as well, within 3 %."""
    features = random_features(8, 4, bias_radius=1.0 if bias is not None else 0.0)
    target, law = direction(4, bias=bias), Population(activation=activation)
    found = fit_features(features, target, law)
    x = torch.randn(100_000, 4, generator=child(0, "x"))
    f, y = values(features, x, activation), values(target, x, activation)[:, 0]
    squares = (f @ found.coefficients[0] - y).square()
    assert abs(float(squares.mean() - found.error[0])) <= 5 * float(squares.std()) / math.sqrt(len(x))
    best = torch.linalg.lstsq(f, y[:, None]).solution[:, 0]
    assert float((f @ best - y).square().mean()) == pytest.approx(float(found.error[0]), rel=0.03)
    assert float(y.square().mean()) == pytest.approx(found.energy, rel=0.02)


@given(st.integers(2, 6), st.integers(1, 8), st.floats(0.0, 2.0))
def test_the_coefficients_are_the_minimum_by_autograd(d, r, ridge):
    features, target = random_features(r, d), direction(d)
    found = fit_features(features, target, ridges=[ridge])
    k, t = pair_values(features, features), pair_values(features, target)[:, 0]
    u = found.coefficients[0].clone().requires_grad_()
    error = found.energy - 2 * u @ t + u @ k @ u
    assert abs(float(error.detach() - found.error[0])) < 1e-8 * found.energy
    (slope,) = torch.autograd.grad(error + ridge * u.square().sum(), u)
    if found.rank == r:
        assert float(slope.abs().max()) < 1e-7


def test_a_ridge_trades_error_for_size_above_the_least():
    found = fit_features(random_features(80, 10), direction(10), ridges=[0.0, 1e-4, 1e-2, 1.0, 100.0])
    assert bool((found.error.diff() >= -1e-12).all()) and bool((found.size.diff() <= 1e-12).all())
    assert bool((found.least_size <= found.size * (1 + 1e-9)).all()) and found.rank == 80


@pytest.mark.parametrize(("d", "r", "low", "high"), [(20, 80, 0.15, 0.23), (50, 500, 0.13, 0.16)])
def test_the_staircase(d, r, low, high):
    """Errors of one draw, around those of other draws in an independent implementation of the same formula."""
    assert low <= float(fit_features(random_features(r, d), direction(d)).relative) <= high


@pytest.mark.slow
@pytest.mark.parametrize(("d", "low", "high"), [(100, 0.165, 0.182), (20, 0.0205, 0.028)])
def test_the_staircase_at_a_thousand_features(d, low, high):
    """At d = 20 six draws lie between .0225 and .0262; the plateau in many dimensions is at .0225."""
    assert low <= float(fit_features(random_features(1000, d), direction(d)).relative) <= high


@settings(max_examples=6)
@given(st.integers(3, 12), st.integers(1, 40))
def test_no_features_beat_the_bound_on_average(d, r):
    """By symmetry the features' average is that over targets; a random draw of 20 targets for fixed features here."""
    features = random_features(r, d)
    w = torch.randn(20, d, generator=child(r, "targets", str(d)))
    errors = torch.stack([fit_features(features, Neurons(v[None] / v.norm())).relative[0] for v in w])
    assert float(errors.mean()) + 5 * float(errors.std()) / math.sqrt(20) + 1e-9 >= random_feature_bound(d, r)


def test_the_bound_falls_from_all_to_the_plateaus():
    assert random_feature_bound(30, 0) == pytest.approx(1.0, abs=1e-4)
    bounds = [random_feature_bound(200, r) for r in (1, 201, 400, 20_100)]
    assert bounds == sorted(bounds, reverse=True)
    # without degrees 0 and 1: (1/4 - 1/(2 pi)) / (1/2) in the limit of many dimensions; then without 2
    assert bounds[1] == pytest.approx(0.18169, abs=0.005) and bounds[3] == pytest.approx(0.022535, abs=0.003)
    energy, count = harmonic_energies(3)
    assert energy.sum() == pytest.approx(1.0, abs=1e-3) and count[:4].tolist() == [1, 3, 5, 9]


def test_hermite_energies_sum_to_the_kernel():
    """c_0^2 = 1/2pi, c_1^2 = 1/4, c_n^2 = ((n - 3)!!)^2 / (2 pi n!): kappa is their power series in the cosine."""

    def square(n):
        if n < 2:
            return (1 / (2 * math.pi), 0.25)[n]
        return 0.0 if n % 2 else math.prod(range(n - 3, 0, -2)) ** 2 / (2 * math.pi * math.factorial(n))

    for cosine in (-0.7, 0.0, 0.5, 0.8):
        pair = Neurons(torch.tensor([[cosine, math.sqrt(1 - cosine**2)]]))
        exact = float(pair_values(pair, direction(2)))
        assert sum(square(n) * cosine**n for n in range(150)) == pytest.approx(exact, abs=1e-8)
    assert sum(square(n) for n in range(150)) == pytest.approx(0.5, abs=1e-3)


@given(st.integers(1, 8), st.floats(-12, 12))
def test_the_triangle_wave_is_exact(a, z):
    wave = periodic_relu_sum(a, torch.tensor([0.6, 0.8]))
    assert len(wave.weight) == 2 * a + 1 and float(wave.output.abs().max()) == 2
    x = z * torch.tensor([[0.6, 0.8]])
    found = float(values(wave, x)[0] @ wave.output)
    place = abs(z + a) % 2
    assert found == pytest.approx(min(place, 2 - place) if abs(z) < a else 0.0, abs=1e-9)


def test_fast_waves_are_nearly_uncorrelated_with_every_feature():
    """The reason for the theorem, with cosines: E f f* falls as exp(-frequency^2 / 2)."""
    features, law = random_features(40, 5), Population(activation="cos")
    found = [fit_features(features, Neurons(s * torch.eye(1, 5)), law, ridges=[1e-3]) for s in (1.0, 2.0, 4.0)]
    assert [f.relative.item() for f in found] == sorted(f.relative.item() for f in found)
    assert found[-1].relative.item() > 0.99


def test_null_features_of_the_target_itself_are_no_lower_bound():
    assert float(fit_features(direction(5), direction(5)).error) == pytest.approx(0.0, abs=1e-12)


def test_gradient_descent_learns_the_neuron_that_features_do_not():
    d = 50
    start = Neurons(0.5 * random_features(1, d).weight[None])
    assert float(neuron_descent(start, direction(d), GaussianInputs(d), steps=100).loss) < 1e-6
    assert float(fit_features(random_features(200, d), direction(d)).relative) > 0.1


def test_refused():
    with pytest.raises(ValueError, match="ridges"):
        fit_features(direction(3), direction(3), ridges=[-1.0])
    with pytest.raises(ValueError, match="0 on all inputs"):
        fit_features(direction(3), Neurons(torch.eye(3), None, torch.zeros(3)))
    with pytest.raises(ValueError, match="weight 0"):
        fit_features(Neurons(torch.zeros(1, 3)), direction(3))
    for call in (lambda: random_features(0, 3), lambda: random_features(3, 3, bias_radius=-1.0)):
        with pytest.raises(ValueError, match="need"):
            call()
    with pytest.raises(ValueError, match="at least 3"):
        random_feature_bound(2, 5)
    with pytest.raises(ValueError, match="a=0"):
        periodic_relu_sum(0, torch.ones(1))
