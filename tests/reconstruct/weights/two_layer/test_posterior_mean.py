"""Inputs from gates: exact gates name them, shuffled ones do not."""

import pytest
import torch
import torch.nn.functional as F

from vestige.core.rng import child
from vestige.reconstruct.weights.two_layer.posterior_mean import (
    CLOSE,
    COUNTED,
    LOOSE,
    NO_KINK,
    OF_GATES,
    ON_KINK,
    SOFT,
    SWEEPS,
    WRONG,
    Trust,
    input_from_gates,
)

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
    flipped = torch.where(wrong, -gates, gates)
    found, _ = input_from_gates(*layer, flipped, rough_from(samples), None, LEVEL, trust=CLOSE)
    assert F.cosine_similarity(found, samples).min() > 0.9


def test_shuffled_gates_name_nothing(layer, samples):
    """Null: as many open gates, at other neurons."""
    shuffled = gates_of(layer, samples)[:, torch.randperm(H, generator=child(2, "shuffle"))]
    found, _ = input_from_gates(*layer, shuffled, rough_from(samples), None, LEVEL)
    assert F.cosine_similarity(found, samples).max() < 0.9


@pytest.mark.parametrize("trust", [LOOSE, CLOSE])
def test_unknown_gates_leave_the_rough_input(layer, samples, trust: Trust):
    """And the similarity of a Gaussian around what is kept of it, brightness off: |x|^2 is R."""
    rough = rough_from(samples)
    found, similar = input_from_gates(*layer, torch.zeros(M, H), rough, None, LEVEL, trust=trust)
    torch.testing.assert_close(found, rough)
    seen = trust.kept**2 * (R - (rough @ LEVEL).square())
    torch.testing.assert_close(similar, (seen / (seen + trust.variance * (R - 1))).sqrt())


def test_a_metric_is_a_change_of_coordinates(layer, samples):
    """An orthogonal metric of norm 1 says what None says."""
    metric = torch.linalg.qr(gaussian(R, R, name="metric"))[0] / R**0.5
    gates, rough = gates_of(layer, samples), rough_from(samples)
    plain, _ = input_from_gates(*layer, gates, rough, None, LEVEL)
    turned, _ = input_from_gates(*layer, gates, rough, metric, LEVEL)
    torch.testing.assert_close(turned, plain, rtol=0, atol=1e-6)  # sweeps are in single precision


@pytest.mark.parametrize("trust", [LOOSE, CLOSE])
@pytest.mark.parametrize(("kinks", "right"), [((), True), ((0,), True), ((3,), False)])
def test_mean_and_spread_of_the_posterior(trust: Trust, kinks, right):
    """Reference: the posterior summed over a grid of two dimensions; the length is that of the rough input.

    The sample is not on a kink that is said wrongly.
    """

    def share(doubt, first):
        return (doubt.sum() + COUNTED * first) / (len(doubt) + COUNTED)

    weight, bias = gaussian(12, 2, name="small weight"), 0.5 * gaussian(12, name="small bias")
    rough, sample = torch.tensor([[0.9, -1.1], [1.2, 0.3]]).double().split(1)
    on = torch.zeros(1, 12, dtype=torch.bool).index_fill(1, torch.tensor(kinks, dtype=torch.long), True)
    bias = torch.where(on[0], -(sample @ weight.T)[0], bias) if right else bias
    gates = gates_of((weight, bias), sample)
    length = rough.norm() / 2**0.5
    axis = torch.linspace(-3.5, 3.5, 400, dtype=torch.float64)
    v = torch.cartesian_prod(axis, axis)
    typical = ((weight * length).square().sum(1) + bias.square()).mean().sqrt()
    u = (v * length @ weight.T + bias) / typical
    inside, kink, other = (
        torch.special.ndtr(gates * u / SOFT),
        (-((u / ON_KINK) ** 2) / 2).exp() / ON_KINK,
        (-u.square() / 2).exp(),
    )
    prior = torch.exp(-(v - trust.kept * rough / length).square().sum(1) / (2 * trust.variance))
    wrong, none = WRONG, NO_KINK
    for sweep in range(SWEEPS):  # of expectation maximization, the last one for the density alone
        gate, on_plane = wrong + (1 - 2 * wrong) * inside, (1 - none) * kink + none * other
        before = torch.where(on, 1.0, gate).prod(1) * prior
        density = torch.where(on, on_plane, 1.0).prod(1) * before
        seen, met = (before, torch.ones_like(on_plane)) if sweep < OF_GATES else (density, on_plane)
        doubt_of_kinks = (seen @ (none * other / met)) / (seen @ (on_plane / met))
        doubt = torch.where(on[0], doubt_of_kinks, (seen @ (wrong / gate)) / seen.sum())
        wrong = share(doubt[~on[0]], 2 * WRONG) / 2
        none = share(doubt[on[0]], NO_KINK)
    mean, square = ((density[:, None] * w).sum(0) / density.sum() for w in (v, v.square()))
    level = torch.tensor([0.0, 1.0]).double()  # brightness is the second coordinate: similarity sees the first
    found, similar = input_from_gates(weight, bias, gates, rough, None, level, kinks=on, trust=trust)
    assert F.cosine_similarity(found[0], mean, dim=0) > 0.999 > 0.98 > F.cosine_similarity(rough[0], mean, dim=0)
    torch.testing.assert_close(similar[0], mean[0].abs() / square[0].sqrt(), rtol=0, atol=0.02)


@pytest.mark.parametrize("wrong", [0.0, 0.05, 0.25])
def test_how_many_gates_are_wrong_is_seen(layer, samples, wrong):
    """The similarity to expect is the one there is; with one share for all it is .02 off at a quarter."""
    gates = gates_of(layer, samples)
    flipped = torch.where(torch.rand(gates.shape, generator=child(3, "wrong")) < wrong, -gates, gates)
    found, similar = input_from_gates(*layer, flipped, rough_from(samples), None, LEVEL)
    truth = F.cosine_similarity(found, samples)
    assert truth.min() > 0.96
    torch.testing.assert_close(similar.mean(), truth.mean(), rtol=0, atol=0.012)


def test_kinks_that_are_all_wrong_are_seen(layer, samples):
    """A hundred of them for twenty dimensions, beside the gates of as many others: next to what gates say alone."""
    some, others = torch.arange(H) % 6 == 0, torch.arange(H) % 4 == 1
    gates = torch.where(others & ~some, gates_of(layer, samples), 0.0)
    rough, wrong = rough_from(samples), some.expand(M, -1)
    found, _ = input_from_gates(*layer, gates, rough, None, LEVEL, kinks=wrong)
    alone, _ = input_from_gates(*layer, gates, rough, None, LEVEL)
    assert (F.cosine_similarity(found, samples) > F.cosine_similarity(alone, samples) - 0.02).all()


def test_kinks_place_the_input_and_wrong_ones_do_not(layer, samples):
    """Half as many kinks as dimensions; null: the same kinks of another sample."""
    weight, bias = layer
    some = torch.arange(H) < R // 2
    rough, found = rough_from(samples), []
    for sample, gates, near in zip(samples, gates_of(layer, samples), rough, strict=True):
        placed = torch.where(some, -(weight @ sample), bias)
        unknown = torch.where(torch.arange(H) % 12 == 0, gates, 0.0)[None]
        for x in (placed, torch.where(some, -(weight @ samples.roll(1, 0).mean(0)), bias)):
            told = {"kinks": some[None], "trust": LOOSE}
            found.append(input_from_gates(weight, x, unknown, near[None], None, LEVEL, **told)[0][0])
        found.append(input_from_gates(weight, placed, unknown, near[None], None, LEVEL)[0][0])
    right, wrong, without = torch.stack(found).unflatten(0, (M, 3)).transpose(0, 1)
    cosine = F.cosine_similarity
    assert (cosine(right, samples) > cosine(without, samples)).all() and cosine(right, samples).min() > 0.9
    assert cosine(right, samples).mean() > cosine(wrong, samples).mean() + 0.03


def test_what_is_known_says_how_near_the_sample_is(layer, samples):
    """Against the truth, brightness off; null: where no gate is known, as near as the rough input is."""
    rough, known = rough_from(samples), torch.arange(H) % 20 == 0

    def seen(x):
        return x - (x @ LEVEL)[:, None] * LEVEL

    for gates in (gates_of(layer, samples), known * gates_of(layer, samples)):
        found, similar = input_from_gates(*layer, gates, rough, None, LEVEL, trust=CLOSE)
        truth = F.cosine_similarity(seen(found), seen(samples))
        torch.testing.assert_close(similar.mean(), truth.mean(), rtol=0, atol=0.05)
    blind = input_from_gates(*layer, torch.zeros(M, H), rough, None, LEVEL)[1]
    assert (blind < 0.9).all() and (similar > blind).all()
