"""Losses and gradients of one neuron under each law of the inputs, against samples and differences."""

import math

import pytest
import torch

from vestige.core.rng import child
from vestige.landscape import GaussianInputs, Neurons, RadialInputs, SampledInputs


def uniform(law, samples=400_000):
    x = torch.randn(samples, law.dimension, generator=child(0, "uniform"))
    x = law.reach * x / x.norm(dim=1, keepdim=True)
    if law.on_sphere:
        return x
    return x * torch.rand(samples, 1, generator=child(0, "radius")) ** (1 / law.dimension)


def starts(d, runs=3):
    g = child(d, "starts")
    return Neurons(torch.randn(runs, 1, d, generator=g), 0.3 * torch.randn(runs, 1, generator=g))


TEACHER = {d: Neurons(torch.eye(1, d).double(), torch.tensor([-0.2]).double()) for d in (2, 3, 6)}


@pytest.mark.parametrize("law", [RadialInputs(2), RadialInputs(6, 2.0), RadialInputs(3, on_sphere=True)])
def test_symmetric_laws_agree_with_samples(law):
    start, teacher, x = starts(law.dimension), TEACHER[law.dimension], uniform(law)
    s = (start.weight[:, 0] @ x.T + start.bias).clamp_min(0)
    t = (teacher.weight[0] @ x.T + teacher.bias).clamp_min(0)
    values = (s - t).square() / 2
    error = 5 * values.std(1) / len(x) ** 0.5
    assert bool(((law.loss(start, teacher) - values.mean(1)).abs() <= error + 2e-4 * values.mean(1)).all())
    found, exact = law.gradient(start, teacher), SampledInputs(x).gradient(start, teacher)
    assert float((found.weight - exact.weight).abs().max()) < 5e-3 > float((found.bias - exact.bias).abs().max())
    wrong = RadialInputs(law.dimension, 1.5 * law.reach, law.on_sphere)
    assert not bool(((wrong.loss(start, teacher) - values.mean(1)).abs() <= error + 2e-4 * values.mean(1)).any())


def test_the_plane_has_the_moments_of_the_law():
    for law in (
        RadialInputs(2),
        RadialInputs(9, 3.0),
        RadialInputs(3, on_sphere=True),
        RadialInputs(8, 2.0, on_sphere=True),
    ):
        points, weights = law.nodes
        d, r = law.dimension, law.reach
        second = r**2 / d if law.on_sphere else r**2 / (d + 2)  # E x_1^2
        torch.testing.assert_close(weights.sum(), torch.tensor(1.0))
        torch.testing.assert_close((points.square().T @ weights), torch.full((2,), second))


def test_a_large_sphere_in_many_dimensions_is_nearly_gaussian():
    d = 400
    start = Neurons(torch.randn(2, 1, d, generator=child(0, "w")) / d**0.5)
    teacher = Neurons(torch.eye(1, d))
    near = RadialInputs(d, d**0.5, on_sphere=True).loss(start, teacher)
    torch.testing.assert_close(near, GaussianInputs(d).loss(start, teacher), rtol=1e-2, atol=0)


def test_gradients_are_those_of_the_losses():
    start, teacher = starts(6, 1), TEACHER[6]
    laws = (GaussianInputs(6), SampledInputs(torch.randn(50, 6, generator=child(1, "x"))))
    for law in laws:
        slope = law.gradient(start, teacher)
        for j in range(6):
            up, down = start.weight.clone(), start.weight.clone()
            up[0, 0, j] += 1e-6
            down[0, 0, j] -= 1e-6
            change = law.loss(Neurons(up, start.bias), teacher) - law.loss(Neurons(down, start.bias), teacher)
            assert abs(float(change) / 2e-6 - float(slope.weight[0, 0, j])) < 1e-8


def test_laws_that_are_none_are_refused():
    for make in (
        lambda: RadialInputs(1),
        lambda: RadialInputs(2, on_sphere=True),
        lambda: RadialInputs(3, 0.0),
        lambda: SampledInputs(torch.zeros(0, 3)),
        lambda: SampledInputs(torch.tensor([[math.nan]])),
    ):
        with pytest.raises(ValueError, match=r"needed|no law"):
            make()
