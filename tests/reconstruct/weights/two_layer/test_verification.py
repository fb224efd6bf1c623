"""A sample's own column passes; sums, differences and means of samples, other inputs and a collapsed layer do not."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vestige.core.rng import child
from vestige.reconstruct.weights.chain import Chain
from vestige.reconstruct.weights.neurons import distinct_neurons
from vestige.reconstruct.weights.two_layer.columns import column_space, measured
from vestige.reconstruct.weights.two_layer.verification import ACCIDENT, CHANCE, chance, genuine, on_kinks

N, R, H, C = 9, 8, 300, 4


@pytest.fixture(scope="module")
def layer():
    """Samples with the columns of their own gates, a last layer, and every neuron on the hyperplanes of two samples."""
    g = child(0, "verification")
    x, on_plane = torch.randn(N, R, generator=g), torch.rand(H, N, generator=g).argsort(1)[:, :2]
    both = torch.cat([x, torch.ones(N, 1)], 1)[on_plane]  # (H, 2, R + 1)
    free = torch.randn(H, R + 1, generator=g)
    neurons = free - (torch.linalg.pinv(both) @ (both @ free[:, :, None]))[..., 0]
    first, bias, last = neurons[:, :R], neurons[:, R], torch.randn(C, H, generator=g)
    chain = Chain(
        (first, last), (bias, torch.zeros(C)), (True, False), (first, last), (bias, torch.zeros(C)), torch.eye(R),
        torch.ones(N), N, True,
    )  # fmt: skip
    gate = (x @ first.T + bias > 0).to(x)
    gate.scatter_(0, on_plane.T, 0.2 + 0.5 * torch.rand(2, H, generator=g))
    full = torch.randn(N, C, generator=g) @ last
    return chain, x, gate * full, full


def passes(chain, s, full, x):
    space = column_space(chain, zero_sum=False)
    columns = measured(s[:, space.alive], full[:, space.alive])
    return genuine(chain, space, columns, x, sample_norm=R**0.5, box=None)


def test_own_columns_pass_and_those_of_others_do_not(layer):
    chain, x, s, full = layer
    assert passes(chain, s, full, x).all()
    assert not passes(chain, s, full, x.roll(1, 0)).any()


@pytest.mark.parametrize("weights", [(0.5, 0.5), (1.0, -1.0), (0.8, 0.4)], ids=["mean", "difference", "mixture"])
def test_no_mixture_of_two_columns_passes_with_any_input_between_them(layer, weights):
    chain, x, s, full = layer
    a, b = weights
    mixed = a * s + b * s.roll(1, 0), a * full + b * full.roll(1, 0)
    own = () if a > b > 0 else (x,)  # a column that is mostly a sample's may pass with the sample itself
    for x_mixed in (*own, x.roll(1, 0), (x + x.roll(1, 0)) / 2, a * x + b * x.roll(1, 0)):
        assert not passes(chain, *mixed, x_mixed).any()


def test_a_difference_of_columns_with_equal_multipliers_does_not_pass(layer):
    """Where both gates agree it is zero, at more neurons than a sample's column; elsewhere no gate explains it."""
    chain, x, s, full = layer
    gate = s / full
    both = full[:1].expand(N, H)
    difference = (gate - gate.roll(1, 0)) * both
    assert not passes(chain, difference, 1e-9 * both, x).any()
    assert not passes(chain, difference, both, x).any()


def test_a_column_without_neurons_between_open_and_off_is_nobodys(layer):
    """Every gate is as the sample has it, but none is on a hyperplane: what an average of much alike samples shows."""
    chain, x, _, full = layer
    sharp = (x @ chain.weights[0].T + chain.biases[0] > 0) * full
    assert not passes(chain, sharp, full, x).any()


@pytest.mark.parametrize("error", [0.0, 0.001, 0.2, 0.4])
def test_an_input_that_is_off_is_not_on_the_kinks(layer, error):
    """At an error of .2 of its length nine of ten clear gates still agree."""
    chain, x, s, full = layer
    off = x + error * torch.randn(x.shape, generator=child(1, "error"), dtype=x.dtype)
    assert passes(chain, s, full, off).double().mean() == (error < 0.1)


def test_gates_between_0_and_1_far_from_the_hyperplane_do_not_pass(layer):
    """All clear gates are the sample's; what it opens widely is half open, as in a mean of two samples."""
    chain, x, s, full = layer
    u = x @ chain.weights[0].T + chain.biases[0]
    half = torch.where(u > 0.5 * u.abs().median(), 0.5 * full, s)
    assert passes(chain, s, full, x).all() and not passes(chain, half, full, x).any()


def test_a_sample_of_an_implausible_length_or_range_does_not_pass(layer):
    chain, x, s, full = layer
    space = column_space(chain, zero_sum=False)
    columns = measured(s[:, space.alive], full[:, space.alive])
    box = torch.full((R,), -0.5), torch.full((R,), 0.5)
    assert not genuine(chain, space, columns, x, sample_norm=R**0.5, box=box).any()
    assert not genuine(chain, space, columns, x, sample_norm=100 * R**0.5, box=None).any()


def test_where_neurons_are_copies_of_few_nothing_passes(layer):
    """The same columns in a layer that has collapsed to a dozen directions: gates agree, and say nothing."""
    chain, x, _, full = layer
    few = torch.arange(H) % 12
    first, bias = chain.weights[0][few], chain.biases[0][few]
    collapsed = replace(
        chain,
        weights=(first, chain.weights[1]), biases=(bias, chain.biases[1]),
        target_weights=(first, chain.weights[1]), target_biases=(bias, chain.biases[1]),
    )  # fmt: skip
    s = (x @ first.T + bias > 0) * full
    assert collapsed.directions == 12 and chain.directions == H
    assert not passes(collapsed, s, full, x).any()


def test_no_more_samples_than_classes_are_class_means(layer):
    chain, x, s, full = layer
    assert not passes(replace(chain, rank=C), s, full, x).any()


@settings(max_examples=30)
@given(m=st.integers(1, 9), p=st.integers(1, 6), seed=st.integers(0, 3))
def test_chance_counts_the_dichotomies_of_points_in_general_position(m, p, seed):
    """Naive reference: all sign patterns that hyperplanes through 0 make, found by random directions."""
    points = torch.randn(m, p, generator=child(seed, "points"))
    planes = torch.randn(2_000, p, generator=child(seed, "planes"))
    patterns = (planes @ points.T > 0).long() @ (2 ** torch.arange(m))
    share = len(patterns.unique()) / 2**m
    assert share <= chance(m, p, 0) + 1e-9
    if m <= 5:  # where 2,000 directions find them all
        assert share == pytest.approx(chance(m, p, 0), abs=0.2)


def test_more_misfits_and_more_dimensions_are_likelier_by_chance():
    assert chance(100, 10, 0) < chance(100, 10, 3) < chance(100, 20, 3) < 1.0
    assert chance(100, 10, 0) < CHANCE < chance(20, 10, 0) == 0.5
    assert chance(5, 5, 0) == chance(10, 3, 10) == 1.0


@pytest.mark.parametrize(("count", "near"), [(1, 1), (6, 3), (9, 0)])
def test_the_chance_of_kinks_is_that_of_so_many_accidents(count, near):
    """Naive reference: all patterns of near and far."""
    patterns = (torch.arange(2**count)[:, None] >> torch.arange(count)) % 2
    weight = torch.where(patterns == 1, ACCIDENT, 1 - ACCIDENT).prod(1)
    assert on_kinks(count, near) == pytest.approx(float(weight[patterns.sum(1) >= near].sum()))


def test_copies_count_once_and_dead_neurons_not_at_all():
    layer = torch.randn(40, 6, generator=child(0, "copies"))
    several = torch.cat([layer, 3 * layer[:10], -layer[:5], torch.zeros(7, 6)])
    weight = distinct_neurons(several)
    assert float(weight.sum()) == pytest.approx(45) and (weight[-7:] == 0).all()
    assert (weight[:10] == 0.5).all() and (weight[10:40] == 1).all()
