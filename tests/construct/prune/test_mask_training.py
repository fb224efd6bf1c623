"""Masks trained over frozen weights: the weights stay bit for bit, half of them read digits, random masks do not."""

import copy
import math

import pytest
import torch
from relu_networks import relu_net
from torch import nn

import vestige as vg
from vestige.construct.prune.mask_training import _Top
from vestige.core.rng import child


def random_digits_net(seed=0, signed=False):
    """64-64-64-10 without biases, N(0, 2/fan_in) or its signs."""
    net, draw = vg.nets.mlp([64, 64, 64, 10], bias="none", dtype=torch.float32), child(seed, "kaiming")
    for layer in net:
        if isinstance(layer, nn.Linear):
            size = math.sqrt(2 / layer.in_features)
            layer.weight.data.normal_(0, size, generator=draw)
            if signed:
                layer.weight.data.copy_(layer.weight.sign() * size)
    return net


@pytest.fixture(scope="module")
def digits():
    return [(4 * part.x, part.y) for part in (vg.load_data("digits"), vg.load_data("digits", split="test"))]


def accuracy(net, x, y):
    return float((net(x.float()).argmax(1) == y).double().mean())


@pytest.mark.parametrize("signed", [False, True])
def test_half_of_a_random_network_reads_digits(digits, signed):
    (x, y), (x_test, y_test) = digits
    net = random_digits_net(signed=signed)
    before = copy.deepcopy(net)
    found = vg.construct.edge_popup(net, x, y, keep_fraction=0.5)
    assert accuracy(found.model, x_test, y_test) >= 0.90
    assert found.accuracy >= 0.90 and found.accuracy_before <= 0.3
    assert accuracy(net, x_test, y_test) <= 0.3
    for given, kept, first in zip(net.parameters(), found.model.parameters(), before.parameters(), strict=True):
        assert torch.equal(given, first)
        assert torch.equal(kept[kept != 0], first[kept != 0])


def test_shuffled_labels_teach_nothing(digits):
    (x, y), (x_test, y_test) = digits
    shuffled = y[torch.randperm(len(y), generator=child(0, "labels"))]
    found = vg.construct.edge_popup(random_digits_net(), x, shuffled, keep_fraction=0.5)
    assert accuracy(found.model, x_test, y_test) < 0.3


def test_masks_keep_the_share_that_was_asked_for_in_every_layer(digits):
    (x, y), _ = digits
    found = vg.construct.edge_popup(random_digits_net(), x[:200], y[:200], keep_fraction=0.3, epochs=2)
    assert [int(mask.sum()) for mask in found.masks.values()] == [1229, 1229, 192]
    assert set(found.masks) == {"1.weight", "3.weight", "5.weight"} and len(found.losses) == 2


def test_keeping_all_is_the_random_network_itself():
    net, x = relu_net(5, 4, 3), torch.randn(20, 5, generator=child(0, "x"))
    found = vg.construct.edge_popup(net, x, torch.arange(20) % 3, keep_fraction=1.0, epochs=3)
    torch.testing.assert_close(found.model(x.float()), net(x.float()))


def test_the_gradient_goes_straight_through():
    score = torch.tensor([0.1, -0.5, 0.3], requires_grad=True)
    weight = torch.tensor([2.0, 3.0, 4.0])
    masked = weight * _Top.apply(score.abs(), 2)
    assert masked.tolist() == [0.0, 3.0, 4.0]
    masked.sum().backward()
    assert score.grad.tolist() == [2.0, -3.0, 4.0]


def test_one_output_and_convolutions():
    net = vg.nets.cnn((1, 4, 4), [vg.nets.Conv(3, 3), 1])
    x = torch.randn(40, 1, 4, 4, generator=child(0, "x"))
    found = vg.construct.edge_popup(net, x, (x.sum((1, 2, 3)) > 0).long(), epochs=20)
    assert len(found.masks) == 2 and found.model(x).shape == (40, 1)
    assert found.accuracy > found.accuracy_before


def test_equal_seeds_give_equal_masks_and_the_generator_is_not_moved(digits):
    (x, y), _ = digits
    draw = child(4, "mine")
    state = draw.get_state()
    first, again = (
        vg.construct.edge_popup(random_digits_net(), x[:100], y[:100], epochs=2, generator=draw) for _ in range(2)
    )
    assert torch.equal(draw.get_state(), state)
    assert all(torch.equal(first.masks[name], again.masks[name]) for name in first.masks)


def test_scores_that_are_not_finite_end_the_training():
    net = relu_net(3, 4, 2)
    found = vg.construct.edge_popup(net, 1e30 * torch.ones(8, 3), torch.arange(8) % 2, epochs=5, learning_rate=1e30)
    assert found.outcome is vg.Outcome.NOT_FINITE and len(found.losses) < 5


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (nn.Sequential(nn.Flatten()), {}, "nothing to mask"),
        (relu_net(3, 2), {"keep_fraction": 0.0}, "share to remove"),
        (relu_net(3, 2), {"keep_fraction": 1.5}, "above 0 and at most 1"),
        (relu_net(3, 2), {"epochs": 0}, "epochs=0"),
        (relu_net(3, 1), {}, "allowed are 0 and 1"),
    ],
)
def test_bad_input(model, options, message):
    with pytest.raises(ValueError, match=message):
        vg.construct.edge_popup(model, torch.ones(4, 3), torch.arange(4) % 2 + 1, **options)
