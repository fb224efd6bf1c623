"""The published descent: any kernel, and more queries make it more exact."""

from dataclasses import replace

import pytest
import torch
from kernel_reference import box_of, errors, gaussian, interpolant

from vestige.core.rng import child
from vestige.core.space import InputSpace
from vestige.reconstruct.kernels.fitting import fit_points
from vestige.reconstruct.kernels.from_queries import reconstruct_from_queries
from vestige.reconstruct.kernels.functions import Gaussian, Laplace, Polynomial, RandomFeatureKernel, ReLUTangent
from vestige.reconstruct.kernels.result import as_reconstruction
from vestige.reconstruct.kernels.task import Task


def images(n, size=4):
    """Small color images with the correlations of real ones: low-frequency noise, standardized."""
    nodes = gaussian(n, 3, 2, 2, seed=11)
    x = torch.nn.functional.interpolate(nodes, size=(size, size), mode="bilinear", align_corners=True)
    x = x.flatten(1) + 0.3 * gaussian(n, 3 * size * size, seed=12)
    return (x - x.mean()) / x.std()


def fitted(kernel, times, n=6, steps=2000, **options):
    x = images(600)
    own, others = x[:n], x[n:]
    predict = interpolant(kernel, own, torch.eye(n, 6).double() - 1 / 6)
    least = -(-n * (x.shape[1] + 6) // 6)
    found = reconstruct_from_queries(
        predict, kernel, input_shape=(x.shape[1],), n=n, pool=others, steps=steps, solver="published",
        max_queries=times * least + 16 + 4 * n + 64 + 20, generator=child(1), **options,
    )  # fmt: skip
    return errors(found, own), found


@pytest.mark.slow
def test_more_queries_make_the_laplace_fit_more_exact():
    medians = [float(fitted(Laplace(1.2), times, steps=6000)[0].median()) for times in (1, 2, 4, 8)]
    assert medians[0] > 0.1 and medians[3] < 0.1 and medians[3] == min(medians)


@pytest.mark.parametrize("kernel", [Laplace(1.2), Gaussian(0.05)], ids=["laplace", "gaussian"])
def test_the_fit_recovers_what_noise_does_not(kernel):
    error, found = fitted(kernel, 8)
    assert (error < 0.2).sum() >= 3 and found.method == "optimization" and found.rank == 0
    x = images(600)
    noise = torch.cdist(gaussian(6, x.shape[1], seed=30), x[:6]).amin(0) / x[:6].norm(dim=1)
    assert noise.min() > 0.5
    assert any("not a distance" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    "kernel", [ReLUTangent(3), Polynomial(0.05), RandomFeatureKernel.draw(0.05, 48, 200, generator=child(0))]
)
def test_any_kernel_can_be_fitted_and_the_loss_falls(kernel):
    losses = [fitted(kernel, 4, steps=k, n=4)[1].misfit for k in (1, 600)]
    assert losses[1] < losses[0]


def test_too_few_queries_for_a_fit_say_the_number():
    predict = interpolant(Laplace(1.2), images(6), gaussian(6, 3, seed=1))
    with pytest.raises(ValueError, match=r"n \(d \+ C\) / C = 102"):
        reconstruct_from_queries(predict, Laplace(1.2), input_shape=(48,), n=6, max_queries=150)
    with pytest.raises(ValueError, match="Give n"):
        reconstruct_from_queries(predict, Laplace(1.2), input_shape=(48,))


def test_points_outside_the_range_are_penalized():
    """Half of the true points lie outside a range that is wrong: the fit stays nearer to it than without."""
    x = images(600)
    own, space = x[:4], InputSpace(-0.5, 0.5)

    def excess(space):
        found = fit_points(task(own), pool=x[4:], steps=200, bounds=space and space.bounds((48,), x))
        return float((found.points.abs() - 0.5).clamp(min=0).square().sum())

    assert excess(space) < 0.7 * excess(None)


def task(own):
    kernel = Laplace(1.2)
    box = box_of(interpolant(kernel, own, torch.eye(4).double() - 1 / 4), 48)
    return Task(
        box=box, kernel=kernel, center=torch.zeros(48).double(), offset=torch.zeros(4).double(), n=4, n_candidates=9,
        tolerance=0.01, generator=child(0), warnings=(),
    )  # fmt: skip


def test_points_of_a_fit_as_a_reconstruction():
    """Nothing is validated: all points are offered, with confidence 0 and the misfit as residual."""
    own = images(600)[:4]
    found = fit_points(task(own), pool=images(600)[4:], steps=20, bounds=None)
    shown = as_reconstruction(found, (3, 4, 4))
    assert shown.samples.shape == (4, 3, 4, 4) and torch.equal(shown.samples.flatten(1), found.points)
    assert not shown.verified.any() and not shown.confidence.any()
    assert shown.residual.tolist() == [found.misfit] and shown.label.tolist() == found.coefficients.argmax(1).tolist()
    half = replace(found, validated=torch.arange(4) < 2, error=torch.tensor([0.25, 0.0, 0.5, torch.inf]).double())
    assert as_reconstruction(half, (48,)).confidence.tolist() == [0.75, 1.0]
