"""Which layers are read, how much each counts, and where what the outputs say does."""

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from vestige.core.margins import Loss
from vestige.core.rng import child
from vestige.membership import membership_scores
from vestige.membership.choice import choose, default_layers
from vestige.membership.coefficients import EXACT
from vestige.membership.outputs import output_scores
from vestige.membership.pool import pool_of
from vestige.membership.taps import read_layers

CE = {"loss": "cross_entropy"}


def auc(member, scores):
    return roc_auc_score(member.numpy(), scores.numpy())


def test_a_layer_that_speaks_against_members_is_left_out():
    """Training adds gradients: a layer whose members score low says nothing, and is not turned around."""
    n, member = 400, torch.arange(400) < 200
    x = torch.randn(n, 2, generator=child(0, "x"))
    pool = pool_of(x[member], torch.zeros(200).long(), (x[~member], torch.zeros(200).long()))
    noise = torch.randn(2, n, generator=child(0, "noise"))
    found = choose({"speaks": noise[0] + 2 * member, "against": noise[1] - 2 * member}, pool, None)
    assert found.weights["speaks"] > 0 == found.weights["against"]


def kinds(**columns):
    """What `choose` makes of 400 members, 400 others and 800 unseen."""
    n = 1600
    pool = pool_of(
        torch.arange(800.0)[:, None],
        torch.zeros(800).long(),
        (-1 - torch.arange(800.0)[:, None], torch.zeros(800).long()),
    )
    noise = torch.randn(n, generator=child(0, "noise"))
    return choose({"layer": noise + 2 * (torch.arange(n) < 400), **columns}, pool, None)


def test_losses_count_where_only_members_are_fitted():
    share = torch.rand(1600, generator=child(1, "share"))
    fitted = torch.where(torch.arange(1600) < 400, 0.9 + 0.1 * share, share)
    found = kinds(loss=fitted)
    assert found.weights["loss"] > 0.2 and found.weights["layer"] > 0
    member, loss_too = torch.arange(1600) < 400, found.scores
    assert auc(member, loss_too) > auc(member, kinds().scores) + 0.03


def test_losses_do_not_count_where_false_alarms_have_the_lowest():
    """Members have lower losses than nearly all others; one in thirty others is easier than any member."""
    member, share = torch.arange(1600) < 400, torch.rand(1600, generator=child(2, "share"))
    easy = torch.where(member, 0.6, torch.where(share > 0.97, 1.0, 0.5 * share))
    for found in (kinds(loss=easy), kinds(loss=easy, shifts=easy)):
        assert found.weights["loss"] == found.weights.get("shifts", 0) == 0 < found.weights["layer"]


def test_what_outputs_say_counts_together():
    """Shifts tell members where losses are noise."""
    member, noise = torch.arange(1600) < 400, torch.randn(2, 1600, generator=child(3, "outputs"))
    found = kinds(loss=noise[0], shifts=noise[1] + 2 * member)
    assert found.weights["shifts"] > 0.2 and found.weights["layer"] > 0
    assert auc(member, found.scores) > auc(member, kinds().scores) + 0.03


def test_what_is_learned_treats_candidates_and_the_rest_of_the_reference_alike():
    """Scores of candidates given to reference samples that make p-values, and the other way: the same weights."""
    every = {"layer": torch.randn(1600, generator=child(5, "layer")) + 2 * (torch.arange(1600) < 400)}
    every["loss"] = torch.randn(1600, generator=child(5, "loss")) + (torch.arange(1600) < 400)
    found = kinds(**every)
    turned = torch.arange(1600)
    turned[:400], turned[found.calibrating[:400]] = found.calibrating[:400], torch.arange(400)
    again = kinds(**{name: scores[turned] for name, scores in every.items()})
    assert again.calibrating.equal(found.calibrating) and again.weights == pytest.approx(found.weights)
    torch.testing.assert_close(again.scores, found.scores[turned])


def test_rounding_is_no_evidence():
    member, share = torch.arange(1600) < 400, torch.rand(1600, generator=child(0, "rounding"))
    found = kinds(loss=torch.where(member, 1.0, 1 - 1e-14 * share))
    assert auc(member, found.scores) == auc(member, kinds().scores)


def test_without_reference_views_are_added_in_standard_deviations():
    x = torch.arange(5.0)[:, None]
    pool, a = pool_of(x, torch.zeros(5).long(), None), torch.tensor([0.0, 1, 2, 3, 9])
    found = choose({"a": a, "b": -1e6 * a}, pool, None)
    torch.testing.assert_close(found.scores, torch.zeros(5), atol=1e-12, rtol=0)


def convolutional(x, y, members):
    """No dense layer is hidden."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(256, 3),
    )  # fmt: skip
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x[:members]), y[:members]).backward()
        optimizer.step()
    return net.eval()


def test_where_no_dense_layer_is_hidden_the_last_one_and_the_outputs_are_read():
    with torch.random.fork_rng():
        x, y = torch.randn(480, 1, 8, 8, generator=child(0, "images")), torch.arange(480) % 3
        net, member = convolutional(x, y, 60), torch.arange(120) < 60
    found = membership_scores(net, x[:120], y[:120], **CE)
    assert list(found.weights) == ["5", "loss", "shifts"] and list(found.per_layer) == ["5"]
    said = output_scores(net, x[:120], y[:120], Loss.CROSS_ENTROPY, 256)
    sides = [(side - side.mean()) / side.std(correction=0) for side in (found.per_layer["5"], *said.values())]
    torch.testing.assert_close(found.scores, sum(sides))
    assert auc(member, found.scores) > 0.95
    weighed = membership_scores(net, x[:120], y[:120], reference=(x[120:], y[120:]), **CE)
    assert list(weighed.weights) == ["5", "0", "loss", "shifts"] and auc(member, weighed.scores) > 0.95


def test_outputs_are_compared_with_those_of_the_image_moved_by_one_pixel():
    draw = child(0, "moved")
    x, y = torch.randn(5, 2, 3, 4, generator=draw), torch.arange(5) % 3
    net = nn.Sequential(nn.Flatten(), nn.Linear(24, 3).double())
    found = output_scores(net, x, y, Loss.CROSS_ENTROPY, 2)
    rows, columns = torch.arange(3), torch.arange(4)
    every = [x]
    for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        every.append(x[:, :, (rows + down).clamp(0, 2)][..., (columns + right).clamp(0, 3)])
    p = [net(each).softmax(1)[torch.arange(5), y].detach() for each in every]
    rest, *moved = [(q / (1 - q)).log() for q in p]
    torch.testing.assert_close(found["shifts"], rest - sum(moved) / 4)
    torch.testing.assert_close(found["loss"], -(0.05 - p[0].log()).log())


def test_neither_vectors_nor_squared_losses_have_shifts():
    x, y = torch.randn(5, 4, generator=child(0, "flat")), torch.arange(5) % 3
    net = nn.Linear(4, 3).double()
    assert list(output_scores(net, x, y, Loss.CROSS_ENTROPY, 256)) == ["loss"]
    sequences = output_scores(nn.Sequential(nn.Flatten(), net), x[:, None], y, Loss.CROSS_ENTROPY, 256)
    assert list(sequences) == ["loss"]
    images = torch.tensor([0.0, 1.0, 4.0, -5.0])[:, None, None, None]
    found = output_scores(nn.Flatten(), images, torch.ones(4), Loss.MSE, 256)
    assert list(found) == ["loss"]
    torch.testing.assert_close(found["loss"], torch.special.ndtri(torch.tensor([0.625, 0.875, 0.375, 0.125])))


def test_large_pools_are_spared_the_convolution():
    hidden = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 3), nn.Flatten(), nn.Linear(32, 3), nn.ReLU(),
        nn.Linear(3, 2))  # fmt: skip
    found = read_layers(hidden, torch.zeros(1, 1, 8, 8))

    def names(**given):
        return [layer.name for layer in default_layers(found, "auto", **given)]

    assert names(several=True, samples=EXACT) == ["4", "6", "2"]
    assert names(several=True, samples=EXACT + 1) == ["4", "6"]
    assert names(several=False, samples=EXACT) == ["4"]
    found = {name: layer for name, layer in found.items() if layer.kind == "convolution"}
    assert names(several=True, samples=EXACT + 1) == ["2"]


def test_a_network_without_dense_layers_and_convolutions_is_read_by_its_first():
    net = nn.Sequential(nn.LayerNorm(4), nn.PReLU(), nn.Unflatten(1, (2, 2)), nn.Flatten())
    found = read_layers(net, torch.ones(1, 4))
    assert [each.name for each in default_layers(found, "auto", several=True, samples=9)] == ["0"]
