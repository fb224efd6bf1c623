"""Orthant probabilities and truncated moments of two normal variables, in the corners too."""

import numpy as np
import pytest
import torch
from gaussian_reference import precise_orthant
from scipy.stats import multivariate_normal

from vestige.core.rng import child
from vestige.landscape.gaussian.bivariate import orthant, truncated_moments


def tensors(*values):
    return [torch.as_tensor(v, dtype=torch.float64) for v in values]


def at(h, k, versed, sign=1.0):
    """Arguments for |correlation| = 1 - versed, with the sine that belongs to it."""
    h, k, versed = tensors(h, k, versed)
    return h, k, sign * (1 - versed), (versed * (2 - versed)).sqrt(), versed


@pytest.mark.parametrize(("h", "k", "rho"), [(0.3, -0.5, 0.6), (-1.0, 2.0, -0.7), (0.0, 0.0, 0.3), (1.2, 1.2, 0.95)])
def test_orthant_agrees_with_scipy(h, k, rho):
    other = multivariate_normal([0, 0], [[1, rho], [rho, 1]]).cdf(np.array([-h, -k]))
    h, k, rho = tensors(h, k, rho)
    found = orthant(h, k, rho, (1 - rho**2).sqrt(), 1 - rho.abs())
    assert abs(float(found) - other) < 1e-8  # its own quadrature


@pytest.mark.parametrize("versed", [1e-2, 1e-5, 1e-8, 1e-12])
@pytest.mark.parametrize(("h", "k"), [(0.7, 0.7), (0.7, 0.7001), (-0.5, -0.5), (2.5, 2.4999999), (0.0, 0.0)])
def test_orthant_near_correlation_one_agrees_with_50_digits(h, k, versed):
    """The place where quadrature of Plackett's integral made up stationary points."""
    import mpmath

    with mpmath.workdps(50):
        exact = precise_orthant(h, k, 1 - mpmath.mpf(versed))
    assert abs(float(orthant(*at(h, k, versed))) - float(exact)) < 1e-14


@pytest.mark.parametrize("h", [-8.0, -1.0, 0.0, 0.4, 8.0])
def test_limits_of_correlation_one_and_minus_one(h):
    tail = float(torch.special.erfc(torch.tensor(h) / 2**0.5) / 2)
    assert float(orthant(*at(h, h, 0.0))) == pytest.approx(tail, rel=1e-12, abs=1e-17)
    assert float(orthant(*at(h, h, 0.0, -1.0))) == pytest.approx(max(0.0, 2 * tail - 1), abs=1e-15)


def test_moments_agree_with_samples():
    g = child(0, "moments")
    u, z = torch.randn(2, 1_000_000, generator=g)
    for h, k, rho in ((0.3, -0.5, 0.6), (-0.4, 0.8, -0.8), (1.0, 1.0, 0.99)):
        h_, k_, rho_ = tensors(h, k, rho)
        sine = (1 - rho_**2).sqrt()
        found = truncated_moments(h_, k_, rho_, sine, 1 - rho_.abs())
        v = rho_ * u + sine * z
        event = ((u > h) & (v > k)).double()
        for name, values in dict(mass=1, u=u, v=v, uv=u * v, uu=u * u, z=z, uz=u * z, zz=z * z).items():
            values = values * event
            error = float(values.std()) / 1000
            assert abs(float(values.mean()) - float(getattr(found, name))) <= 5 * error, name
