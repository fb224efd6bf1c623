"""Which layers are read, how much each counts, and where the samples' own losses do."""

import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from vestige.core.rng import child
from vestige.membership import membership_scores
from vestige.membership.choice import choose
from vestige.membership.pool import pool_of

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
    found = kinds(loss=torch.where(member, 0.6, torch.where(share > 0.97, 1.0, 0.5 * share)))
    assert found.weights["loss"] == 0 and found.weights["layer"] > 0


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


def test_where_no_dense_layer_is_hidden_the_last_one_and_the_losses_are_read():
    with torch.random.fork_rng():
        x, y = torch.randn(480, 1, 8, 8, generator=child(0, "images")), torch.arange(480) % 3
        net, member = convolutional(x, y, 60), torch.arange(120) < 60
    found = membership_scores(net, x[:120], y[:120], **CE)
    assert list(found.weights) == ["5", "loss"] and list(found.per_layer) == ["5"]
    losses = nn.functional.cross_entropy(net(x[:120]), y[:120], reduction="none").detach()
    assert auc(member, found.scores) >= max(auc(member, -losses), auc(member, found.per_layer["5"]))
    sides = [(side - side.mean()) / side.std(correction=0) for side in (found.per_layer["5"], (-losses).exp())]
    torch.testing.assert_close(found.scores, sum(sides))
    weighed = membership_scores(net, x[:120], y[:120], reference=(x[120:], y[120:]), **CE)
    assert list(weighed.weights) == ["5", "0", "loss"] and auc(member, weighed.scores) > 0.95
