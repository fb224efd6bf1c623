"""The spectrum of natural images in span coordinates, against draws from it and against what is no image."""

import pytest
import torch

from vestige.core.rng import child
from vestige.reconstruct.image_prior import image_metric, is_photograph


def basis(d, r):
    return torch.linalg.qr(torch.randn(d, r, generator=child(0, "basis")))[0]


def test_draws_have_the_expected_norm():
    shape = (3, 16, 16)
    metric = image_metric(basis(768, 40), shape)
    u = torch.randn(4000, 40, generator=child(0, "u"))
    assert (u @ metric).square().sum(1).mean().sqrt() == pytest.approx(1.0, rel=0.05)
    torch.testing.assert_close(metric.square().sum().sqrt(), torch.tensor(1.0))


def test_gray_and_smooth_is_likelier_than_rough_or_colored():
    """In the full space a constant image, a color cast and a chequerboard have the variances of the spectrum."""
    shape = (3, 16, 16)
    covariance = (metric := image_metric(torch.eye(768), shape)).T @ metric
    flat = torch.ones(shape).flatten()
    sign = 1.0 - 2 * ((torch.arange(16)[:, None] + torch.arange(16)) % 2)
    rough = sign.to(flat).expand(shape).flatten()
    color = torch.stack([torch.ones(16, 16), torch.zeros(16, 16), -torch.ones(16, 16)]).flatten()
    variance = [float(v @ covariance @ v / (v @ v)) for v in (flat, color, rough)]
    assert variance[0] > 10 * variance[1] > variance[2] > 0
    assert variance[1] / variance[0] == pytest.approx(0.06)


@pytest.mark.parametrize(
    "shape, expected",
    [((3, 32, 32), True), ((1, 28, 28), False), ((64,), False), ((1, 8, 8), False), ((7, 32, 32), False)],
)
def test_only_photographs_have_the_spectrum_of_photographs(shape, expected):
    assert is_photograph(shape) is expected
