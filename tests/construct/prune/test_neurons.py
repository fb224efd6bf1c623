"""Masks over whole neurons fit points, and follow no network."""

import pytest
import torch
from relu_networks import largest_difference, on_the_ball, relu_net

import vestige as vg


@pytest.mark.parametrize(("neurons", "most"), [(200, 0.6), (3200, 0.02)])
def test_deleting_neurons_fits_points(neurons, most):
    """At most as many shares are fractional as there are numbers to fit, and rounding them is all the error."""
    target = relu_net(10, 16, 1)
    x = on_the_ball(40, 10)
    found = vg.construct.prune_to_target(target, tolerance=1.0, granularity="neurons", x=x, rows=neurons)
    assert found.numbers["fractional_shares"] <= 40
    error = found.certificate.claims[0].measured
    assert largest_difference(found.to_torch(), target, x) == pytest.approx(error, rel=1e-9) and error <= most
    first, bias, second = found.network.masks.values()
    alive = bias
    assert torch.equal(first, alive[:, None].expand(first.shape)) and torch.equal(second, alive.expand(second.shape))
    assert 0 < int(alive.sum()) < neurons


def test_neurons_do_not_follow_a_network_where_weights_do():
    """One neuron of norm 3 in ten dimensions: masks over weights reach .01 everywhere, masks over neurons do not."""
    target = relu_net(10, 1, 1, bias=False)
    target[0].weight.mul_(3 / target[0].weight.norm())
    target[2].weight.fill_(1.0)
    weights = vg.construct.prune_to_target(target, tolerance=0.01)
    neurons = vg.construct.prune_to_target(
        target, tolerance=0.01, granularity="neurons", x=on_the_ball(100, 10), rows=2000
    )
    x = on_the_ball(2000, 10, seed=5)
    ours, theirs = (largest_difference(found.to_torch(), target, x) for found in (weights, neurons))
    assert ours <= 0.01 < 0.1 < theirs
    assert neurons.numbers["random_weights"] > weights.numbers["random_weights"]


def test_neurons_say_when_rounding_spoils_the_fit():
    found = vg.construct.prune_to_target(
        relu_net(5, 4, 1), tolerance=1e-6, granularity="neurons", x=on_the_ball(20, 5), rows=100
    )
    assert found.outcome is vg.Outcome.STAGNATED and not found.certificate.holds
    assert any("At the points the error is" in text for text in found.warnings)


def test_too_few_neurons_name_a_number():
    with pytest.raises(ValueError, match="rows=160 would do"):
        vg.construct.prune_to_target(relu_net(5, 2), tolerance=1, granularity="neurons", x=on_the_ball(20, 5), rows=30)
