"""Inputs from gates: exact gates name them, shuffled ones do not."""

import pytest
import torch
import torch.nn.functional as F

from vestige.core.rng import child
from vestige.reconstruct.weights.two_layer.posterior_mean import KEPT, SOFT, VARIANCE, WRONG, input_from_gates

M, R, H = 5, 20, 600
LEVEL = F.normalize(torch.ones(R, dtype=torch.float64), dim=0)


def gaussian(*shape, name):
    return torch.randn(*shape, generator=child(0, name), dtype=torch.float64)


@pytest.fixture(scope="module")
def layer():
    return gaussian(H, R, name="weight"), 0.5 * gaussian(H, name="bias")


@pytest.fixture(scope="module")
def samples():
    return F.normalize(gaussian(M, R, name="samples"), dim=1) * R**0.5


def rough_from(samples):
    """Half of the sample, and as much that is not: cosine .7."""
    return F.normalize(samples + R**0.5 * F.normalize(gaussian(M, R, name="error"), dim=1), dim=1) * R**0.5


def gates_of(layer, samples):
    return (samples @ layer[0].T + layer[1]).sign()


def test_gates_name_the_input(layer, samples):
    rough = rough_from(samples)
    found, _ = input_from_gates(*layer, gates_of(layer, samples), rough, None, LEVEL)
    assert F.cosine_similarity(found, samples).min() > 0.98 > 0.9 > F.cosine_similarity(rough, samples).max()
    torch.testing.assert_close(found.norm(dim=1), rough.norm(dim=1))


def test_a_tenth_of_the_gates_may_be_wrong(layer, samples):
    gates = gates_of(layer, samples)
    wrong = torch.rand(gates.shape, generator=child(1, "wrong"), dtype=torch.float64) < 0.1
    found, _ = input_from_gates(*layer, torch.where(wrong, -gates, gates), rough_from(samples), None, LEVEL)
    assert F.cosine_similarity(found, samples).min() > 0.9


def test_shuffled_gates_name_nothing(layer, samples):
    """Null: as many open gates, at other neurons."""
    shuffled = gates_of(layer, samples)[:, torch.randperm(H, generator=child(2, "shuffle"))]
    found, _ = input_from_gates(*layer, shuffled, rough_from(samples), None, LEVEL)
    assert F.cosine_similarity(found, samples).max() < 0.9


def test_unknown_gates_leave_the_rough_input(layer, samples):
    """And the similarity of a Gaussian around KEPT times it, brightness off: |x|^2 is R."""
    rough = rough_from(samples)
    found, similar = input_from_gates(*layer, torch.zeros(M, H), rough, None, LEVEL)
    torch.testing.assert_close(found, rough)
    seen = KEPT**2 * (R - (rough @ LEVEL).square())
    torch.testing.assert_close(similar, (seen / (seen + VARIANCE * (R - 1))).sqrt())


def test_a_metric_is_a_change_of_coordinates(layer, samples):
    """An orthogonal metric of norm 1 says what None says."""
    metric = torch.linalg.qr(gaussian(R, R, name="metric"))[0] / R**0.5
    gates, rough = gates_of(layer, samples), rough_from(samples)
    plain, _ = input_from_gates(*layer, gates, rough, None, LEVEL)
    torch.testing.assert_close(input_from_gates(*layer, gates, rough, metric, LEVEL)[0], plain)


def test_mean_and_spread_of_the_posterior():
    """Reference: the posterior summed over a grid of two dimensions; the length is that of the rough input."""
    weight, bias = gaussian(12, 2, name="small weight"), 0.5 * gaussian(12, name="small bias")
    rough, sample = torch.tensor([[0.9, -1.1], [1.2, 0.3]]).double().split(1)
    gates = gates_of((weight, bias), sample)
    length = rough.norm() / 2**0.5
    axis = torch.linspace(-4, 4, 400, dtype=torch.float64)
    v = torch.cartesian_prod(axis, axis)
    typical = ((weight * length).square().sum(1) + bias.square()).mean().sqrt()
    u = (v * length @ weight.T + bias) / typical
    gate = WRONG + (1 - 2 * WRONG) * torch.special.ndtr(gates * u / SOFT)
    density = gate.prod(1) * torch.exp(-(v - KEPT * rough / length).square().sum(1) / (2 * VARIANCE))
    mean, square = ((density[:, None] * w).sum(0) / density.sum() for w in (v, v.square()))
    level = torch.tensor([0.0, 1.0]).double()  # brightness is the second coordinate: similarity sees the first
    found, similar = input_from_gates(weight, bias, gates, rough, None, level)
    assert F.cosine_similarity(found[0], mean, dim=0) > 0.999 > 0.98 > F.cosine_similarity(rough[0], mean, dim=0)
    torch.testing.assert_close(similar[0], mean[0].abs() / square[0].sqrt(), rtol=0, atol=0.02)


def test_what_is_known_says_how_near_the_sample_is(layer, samples):
    """Against the truth, brightness off; null: where no gate is known, as near as the rough input is."""
    rough, known = rough_from(samples), torch.arange(H) % 20 == 0

    def seen(x):
        return x - (x @ LEVEL)[:, None] * LEVEL

    for gates in (gates_of(layer, samples), known * gates_of(layer, samples)):
        found, similar = input_from_gates(*layer, gates, rough, None, LEVEL)
        truth = F.cosine_similarity(seen(found), seen(samples))
        torch.testing.assert_close(similar.mean(), truth.mean(), rtol=0, atol=0.05)
    blind = input_from_gates(*layer, torch.zeros(M, H), rough, None, LEVEL)[1]
    assert (blind < 0.9).all() and (similar > blind).all()
