import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage

from vestige.core.rng import child
from vestige.nets.fully_connected import mlp
from vestige.nets.training import train_to_margin
from vestige.reconstruct.weights.chain import span_chain
from vestige.reconstruct.weights.clusters import (
    COEFFICIENTS,
    INTERCEPT,
    cluster_candidates,
    features,
    group_labels,
    is_collapse,
)
from vestige.reconstruct.weights.joint import search


def gaussian(*shape, seed=0):
    return torch.randn(*shape, generator=child(seed, "gaussian"), dtype=torch.float64)


def pool(truth, *, restarts=6, chance=0.6, noise=0.3, junk=20, seed=0):
    """What restarts return: each finds each sample with probability `chance`, inexactly, beside unrelated vectors."""
    draw = child(seed, "pool")
    x, owner, restart = [], [], []
    for r in range(restarts):
        hit = (torch.rand(len(truth), generator=draw, dtype=torch.float64) < chance).nonzero().flatten()
        near = truth[hit] + noise * torch.randn(len(hit), truth.shape[1], generator=draw, dtype=torch.float64)
        x += [near, torch.randn(junk, truth.shape[1], generator=draw, dtype=torch.float64)]
        owner += [hit, torch.full((junk,), -1)]
        restart.append(torch.full((len(hit) + junk,), r))
    return torch.cat(x), torch.cat(owner), torch.cat(restart)


TRUTH = gaussian(16, 60)
X, OWNER, RESTART = pool(TRUTH)
LOUD = torch.ones(len(X), dtype=torch.float64)


def nearest(clusters, truth):
    return (F.normalize(clusters.representative, dim=1) @ F.normalize(truth, dim=1).T).max(1)


def test_groups_are_the_samples_and_come_first():
    found = cluster_candidates(X, RESTART, LOUD)
    value, index = nearest(found, TRUTH)
    assert (value[:16] > 0.9).double().mean() >= 0.75 and len(index[:16][value[:16] > 0.9].unique()) >= 12
    assert (found.confidence.diff() <= 0).all()
    likely = found.confidence >= 0.5
    assert likely.sum() >= 10 and (value[likely] > 0.9).all()
    assert (found.confidence[value < 0.8] < 0.2).all()


def test_every_candidate_is_in_one_group_and_the_numbers_are_its_own():
    found = cluster_candidates(3 * X, RESTART, LOUD)
    assert torch.cat(found.members).sort().values.equal(torch.arange(len(X)))
    for k in range(6):
        m = found.members[k]
        assert found.size[k] == len(m) and found.support[k] == len(RESTART[m].unique())
        unit = F.normalize(X[m], dim=1)
        direction = F.normalize(unit.mean(0), dim=0)
        torch.testing.assert_close(found.representative[k], direction * (3 * X[m]).norm(dim=1).median())
        torch.testing.assert_close(found.spread[k], 1 - (unit @ direction).mean())
        pairs = [float(unit[i] @ unit[j]) for i in range(len(m)) for j in range(i) if RESTART[m[i]] != RESTART[m[j]]]
        assert float(found.agreement[k]) == pytest.approx(sum(pairs) / len(pairs))
        expected = (int(found.support[k]) - 1) * sum(pairs) / len(pairs)
        assert float(found.evidence[k]) == pytest.approx(expected)


def test_grouping_is_scipys_on_its_own_distances():
    unit = F.normalize(X, dim=1)
    expected = fcluster(linkage(unit.numpy(), "average", metric="cosine"), 0.2, "distance")
    got = group_labels(unit, 0.2)
    assert torch.equal(got[:, None] == got, torch.from_numpy(expected[:, None] == expected))
    assert group_labels(unit[:1], 0.2).tolist() == [0]


def test_scale_order_and_rotation_do_not_matter():
    found = cluster_candidates(X, RESTART, LOUD)
    turn = torch.linalg.qr(gaussian(60, 60, seed=3)).Q
    order = torch.randperm(len(X), generator=child(1))
    again = cluster_candidates(5 * X[order] @ turn, RESTART[order] + 7, 2 * LOUD)
    torch.testing.assert_close(found.evidence, again.evidence)
    torch.testing.assert_close(found.confidence, again.confidence, atol=0.05, rtol=0)


def test_faint_candidates_are_weaker_evidence():
    faint = torch.where(OWNER == 0, 0.01, 1.0).double()
    before, after = (cluster_candidates(X, RESTART, size) for size in (LOUD, faint))
    place = [next(k for k, m in enumerate(c.members) if (OWNER[m] == 0).any()) for c in (before, after)]
    assert place[1] > place[0] and after.evidence[place[1]] < 0.02 * before.evidence[place[0]]


def test_confidence_is_the_fitted_probability():
    """Groups of exact copies: a = 1, cosines between groups from a rotation, chance negligible."""
    x = torch.eye(40, dtype=torch.float64)[:30]
    found = cluster_candidates(x.repeat(6, 1), torch.arange(6).repeat_interleave(30), torch.ones(180).double())
    odds = INTERCEPT + sum(
        c * v for c, v in zip(COEFFICIENTS, (math.log(5), math.log(1), -math.log(0.01), math.log(0.6)), strict=True)
    )
    expected = 1 / (1 + math.exp(-odds))
    assert found.support.eq(6).all() and found.confidence.max() <= expected
    torch.testing.assert_close(found.confidence, torch.full((30,), expected), atol=0.05, rtol=0, check_dtype=False)


@given(s=st.integers(2, 6), extra=st.integers(1, 6), a=st.floats(0.5, 0.99), better=st.floats(0.001, 0.01))
def test_more_restarts_and_closer_agreement_are_more_credible(s, extra, a, better):
    center = gaussian(2, 60)

    def odds(support, agreement, restarts):
        values = features(center, torch.tensor([support, 2]), torch.tensor([agreement, a]), restarts)
        return float(values[0] @ torch.tensor(COEFFICIENTS, dtype=torch.float64))

    restarts = s + extra
    assert odds(s + 1, a, restarts) > odds(s, a, restarts)
    assert odds(s, a + better, restarts) > odds(s, a, restarts)
    assert odds(s, a, restarts + 1) < odds(s, a, restarts)  # more restarts that do not confirm it


# what must not be believed


def test_restarts_that_share_nothing_have_no_confidence():
    unrelated = torch.cat([pool(gaussian(16, 60, seed=s), restarts=1, seed=s)[0] for s in range(6)])
    restart = torch.arange(6).repeat_interleave(len(unrelated) // 6 + 1)[: len(unrelated)]
    found = cluster_candidates(unrelated, restart, torch.ones(len(unrelated)).double())
    assert (found.confidence < 0.2).all()


def test_agreement_that_the_covariance_alone_explains_has_little_confidence():
    """Candidates on a line and a mean that all share agree closely, whatever the restart."""
    common = gaussian(1, 60) + 0.2 * gaussian(120, 60, seed=1)
    line = gaussian(120, 1, seed=2) * gaussian(1, 60, seed=3) + 0.02 * gaussian(120, 60, seed=4)
    for x in (common, line):
        found = cluster_candidates(x, torch.arange(120) % 6, torch.ones(120).double())
        assert found.support[0] == 6 and (found.confidence < 0.5).all()


def test_one_restart_confirms_nothing():
    found = cluster_candidates(X, torch.zeros(len(X), dtype=torch.long), LOUD)
    assert not found.confidence.any() and len(found) > 16
    assert found.size[0] == found.size.max()  # ranked all the same
    assert cluster_candidates(X[:1], RESTART[:1], LOUD[:1]).confidence.tolist() == [0]


# collapse


def test_class_means_are_a_collapse_and_samples_are_not():
    means = gaussian(2, 60, seed=5)
    collapsed = torch.cat([means.repeat(60, 1) + 0.1 * gaussian(120, 60, seed=6), gaussian(100, 60, seed=7)])
    assert is_collapse(collapsed, 2)
    assert not is_collapse(X, 2) and not is_collapse(X, 10)
    assert not is_collapse(gaussian(200, 60), 2)
    assert is_collapse(means[:1].repeat(60, 1) + 0.1 * gaussian(60, 60), 2)  # both classes on one point


def test_as_many_samples_as_twice_the_classes_are_no_collapse():
    """The 10 largest of 20 equal groups hold half of everything."""
    x = gaussian(20, 60).repeat(6, 1) + 0.1 * gaussian(120, 60, seed=8)
    assert not is_collapse(x, 10)
    assert is_collapse(x, 20)
    assert not is_collapse(x[:4], 2)


# inputs


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"restart": RESTART[1:]}, "one of each"),
        ({"candidates": X * torch.nan}, "NaN"),
        ({"cut": 0.0}, "cut"),
        ({"candidates": X[:0], "restart": RESTART[:0], "multiplier_size": LOUD[:0]}, "at least one"),
    ],
)
def test_bad_input_is_refused(change, words):
    given = {"candidates": X, "restart": RESTART, "multiplier_size": LOUD, **change}
    with pytest.raises(ValueError, match=words):
        cluster_candidates(given.pop("candidates"), given.pop("restart"), given.pop("multiplier_size"), **given)


def test_zero_vectors_stand_alone_and_precision_is_kept():
    found = cluster_candidates(torch.cat([X, torch.zeros(1, 60).double()]).float(), *(_longer(RESTART, LOUD)))
    assert found.representative.dtype == torch.float32 and torch.isfinite(found.representative).all()


def _longer(restart, loud):
    return torch.cat([restart, restart[:1]]), torch.cat([loud, loud[:1]]).float()


# a trained network (A7)


@pytest.mark.slow
def test_clusters_of_a_real_attack_are_training_samples():
    """20 Gaussian vectors in 128 dimensions, width 400: 20 largest clusters, at least .75 right and 12 distinct."""
    x, y = gaussian(20, 128), torch.arange(20) % 2
    x = x - x.mean(0)
    net = mlp([128, 400, 1], first_init=1e-3, generator=child(0), dtype=torch.float64)
    chain = span_chain(train_to_margin(net, x, y, weight_decay=1e-3, steps=4000).model, None, torch.float64)
    assert chain is not None
    end = search(
        chain,
        candidates=40,
        restarts=6,
        steps=1500,
        sample_norm=11.0,
        layer_weights=[1.0, 1.0],
        zero_sum=False,
        sharpness=(20.0, 60.0),
        generator=child(1),
    )
    candidates = (end.z @ chain.basis.T).flatten(0, 1)
    size = end.multipliers.flatten(0, 1).norm(dim=1)
    found = cluster_candidates(candidates, torch.arange(6).repeat_interleave(40), size)
    value, index = nearest(found, x)
    right = value[:20] > 0.8
    assert right.double().mean() >= 0.75 and len(index[:20][right].unique()) >= 12
    assert value[found.confidence >= 0.5].gt(0.8).double().mean() >= 0.75
    assert not is_collapse(candidates, 2)
