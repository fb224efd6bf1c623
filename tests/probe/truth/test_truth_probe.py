"""Probes: closed forms, transfer between topics that share a direction, and none where they do not."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

import vestige as vg

P = vg.probe


def topic(direction, count=200, seed=0, offset=0.0):
    draw = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % 2
    x = torch.randn(count, 16, generator=draw) + offset + 2.0 * (2 * y[:, None] - 1) * direction
    return x, y


AXES = torch.eye(16)


@pytest.mark.parametrize("kind", ["mass_mean", "logistic"])
def test_a_direction_is_found(kind):
    x, y = topic(AXES[3])
    probe = P.TruthProbe(kind).fit(x.numpy(), y.numpy())
    found = probe.direction_ / np.linalg.norm(probe.direction_)
    assert found[3] > 0.9 and probe.score(*(t.numpy() for t in topic(AXES[3], seed=1))) > 0.95
    assert cross_val_score(clone(probe), x.numpy(), y.numpy(), cv=3).mean() > 0.95


def test_whitening_takes_out_what_varies_for_another_reason():
    draw = torch.Generator().manual_seed(0)
    y = torch.arange(400) % 2
    noise = torch.randn(400, generator=draw)
    x = torch.stack([noise + 0.5 * (2 * y - 1), 3 * noise + 0.5 * torch.randn(400, generator=draw)], 1)
    plain, white = (P.TruthProbe(whiten=w).fit(x.numpy(), y.numpy()).score(x.numpy(), y.numpy()) for w in (False, True))
    assert white > 0.98 > 0.7 > plain


def test_contrast_needs_no_labels_but_for_the_sign():
    x, y = topic(AXES[5], offset=1.0)
    swap = (
        torch.rand(100, generator=torch.Generator().manual_seed(1)) < 0.5
    )  # a statement and its opposite, either true
    pairs = torch.stack([torch.arange(0, 200, 2) + swap.long(), torch.arange(1, 200, 2) - swap.long()], 1).numpy()
    probe = P.TruthProbe("ccs").fit(x.numpy(), y.numpy(), pairs=pairs)
    assert probe.score(x.numpy(), y.numpy()) > 0.9
    other = P.TruthProbe("ccs").fit(x.numpy(), 1 - y.numpy(), pairs=pairs)
    np.testing.assert_allclose(other.direction_, -probe.direction_)


def test_a_shared_direction_transfers_and_an_orthogonal_one_does_not():
    same, other = topic(AXES[0], seed=1, offset=3.0), topic(AXES[7], seed=2)
    first = topic(AXES[0])
    x, y = (torch.cat(parts) for parts in zip(first, same, other, strict=True))
    names = ["a"] * 200 + ["b"] * 200 + ["c"] * 200
    found = P.probe_transfer(x, y, names)
    assert found.topics == ("a", "b", "c")
    assert found.auc[0, 1] > 0.95 and found.auc[1, 0] > 0.95 and bool((found.auc.diag() > 0.95).all())
    assert 0.3 < found.auc[0, 2] < 0.7 and bool((found.shuffled - 0.5).abs().max() < 0.15)
    assert found.left_out[0] > 0.9 and found.left_out[2] < 0.75
    assert "its own group" in found.warnings[0]


def test_a_topics_own_mean_is_taken_out():
    """Two topics, of which the mostly true one lies where the other topic's true statements do not."""
    parts = []
    for seed, offset, often in ((0, -20.0, 1), (1, 20.0, 0)):
        x, y = topic(AXES[0], seed=seed)
        kept = (y == often) | (torch.arange(200) < 40)
        parts.append((x[kept] + offset * AXES[0], y[kept]))
    parts.append(topic(AXES[0], seed=2))
    x, y = (torch.cat(part) for part in zip(*parts, strict=True))
    names = [name for name, (_, labels) in zip("abc", parts, strict=True) for _ in labels]
    assert P.probe_transfer(x, y, names).left_out[2] > 0.95


def test_groups_keep_copies_on_one_side():
    """Noise, each sample ten times: copies on both sides look like truth, groups show that there is none."""
    draw = torch.Generator().manual_seed(3)
    x = torch.randn(40, 60, generator=draw).repeat_interleave(10, 0)
    y = (torch.randperm(40, generator=draw) % 2).repeat_interleave(10)
    groups = [str(i) for i in range(40) for _ in range(10)]
    leaking, clean = (P.probe_transfer(x, y, ["a"] * 400, groups=g, kind="logistic").auc.item() for g in (None, groups))
    assert leaking > 0.95 and clean < 0.75


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x, y: P.TruthProbe().fit(x, y * 0), "labels of 1 class"),
        (lambda x, y: P.TruthProbe("ccs").fit(x, y), "without pairs"),
        (lambda x, y: P.TruthProbe("ccs").fit(x, y, pairs=np.arange(12).reshape(6, 2)), "left side"),
        (lambda x, y: P.TruthProbe("none").fit(x, y), "'mass_mean'"),
        (lambda x, y: P.probe_transfer(torch.tensor(x), torch.tensor(y), ["a"] * 3), "one of each"),
        (lambda x, y: P.probe_transfer(torch.tensor(x), torch.tensor(y) * 0, ["a"] * 12), "true and false ones"),
        (lambda x, y: P.probe_transfer(torch.tensor(x), torch.tensor(y), ["a"] * 12, kind="ccs"), "pairs"),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make(np.random.default_rng(0).standard_normal((12, 3)), np.arange(12) % 2)
