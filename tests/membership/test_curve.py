"""Curves against scikit-learn and known distributions; p-values and q-values in closed form; nulls at chance."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from overfitted import overfitted
from scipy.stats import norm
from sklearn.metrics import roc_auc_score, roc_curve

from vestige.core.rng import child
from vestige.membership import conformal_p_values, evaluate_membership, membership_nulls, membership_scores, q_values
from vestige.membership.blind import CLEAR, blind_auc
from vestige.nets.fully_connected import mlp


def normals(n, m, seed, shift=1.0):
    scores = torch.randn(n + m, generator=child(seed, "scores"))
    member = torch.arange(n + m) < n
    return scores + shift * member, member


@given(seed=st.integers(0, 50), n=st.integers(1, 30), m=st.integers(1, 30), ties=st.booleans())
def test_the_curve_is_that_of_scikit_learn(seed, n, m, ties):
    scores, member = normals(n, m, seed)
    scores = scores.round() if ties else scores
    found = evaluate_membership(scores, member, rates=(0.1, 0.5))
    false, true, _ = roc_curve(member.numpy(), scores.numpy(), drop_intermediate=False)
    torch.testing.assert_close(found.false_rate, torch.from_numpy(false))
    torch.testing.assert_close(found.true_rate, torch.from_numpy(true))
    assert found.auc == pytest.approx(roc_auc_score(member.numpy(), scores.numpy()))
    for rate in found.rates:
        passed = [t for f, t in zip(false, true, strict=True) if f <= rate.false]
        assert rate.true <= max(passed) + 1e-12 and rate.low <= rate.true <= rate.high


def test_intervals_hold_the_truth_as_often_as_they_say():
    """True rate at 1 % of normals one deviation apart; at level .9 at most 10 % of 300 runs may miss, +4 deviations."""
    truth, area = 1 - norm.cdf(norm.isf(0.01) - 1), norm.cdf(1 / 2**0.5)
    missed = areas = 0
    for seed in range(300):
        found = evaluate_membership(*normals(200, 1000, seed), rates=(0.01,), level=0.9)
        missed += not found.rates[0].low <= truth <= found.rates[0].high
        areas += not found.auc_interval[0] <= area <= found.auc_interval[1]
    assert missed <= 30 + 4 * 27**0.5 and areas <= 30 + 4 * 27**0.5


def test_a_lower_end_needs_one_other_above_the_threshold():
    """At level .9 each of four ends may miss by .025; none of m others is above 1 % with probability .99 ** m."""
    lows = [
        evaluate_membership(*normals(50, m, 0, shift=9.0), rates=(0.01,), level=0.9).at(0.01).low for m in (367, 368)
    ]
    assert 0.99**367 > 0.025 > 0.99**368 and lows[0] == 0 < lows[1]


def test_chance_is_the_diagonal():
    found = evaluate_membership(*normals(2000, 2000, 0, shift=0.0))
    assert found.auc_interval[0] < 0.5 < found.auc_interval[1]
    assert found.at(0.01).low < 0.01 < found.at(0.01).high
    assert evaluate_membership(*normals(2000, 2000, 0)).auc_interval[0] > 0.7


def test_too_few_others_are_said():
    found = evaluate_membership(*normals(20, 100, 0))
    assert len(found.warnings) == 1 and "0.001" in found.warnings[0] and found.at(0.001).low == 0


def test_what_has_no_curve_is_refused():
    scores, member = normals(5, 5, 0)
    for bad, match in (
        ({"scores": scores * torch.nan}, "NaN"),
        ({"member": member | True}, "needs both"),
        ({"rates": (0.0,)}, r"\(0, 1\)"),
        ({"level": 1.0}, r"\(0, 1\)"),
    ):
        with pytest.raises(ValueError, match=match):
            evaluate_membership(**({"scores": scores, "member": member} | bad))
    with pytest.raises(ValueError, match="this curve has"):
        evaluate_membership(scores, member).at(0.2)


@given(seed=st.integers(0, 50), m=st.integers(1, 20), ties=st.booleans())
def test_p_values_count_the_reference(seed, m, ties):
    scores, reference = (torch.randn(k, generator=child(seed, str(k))) for k in (7, m))
    if ties:
        scores, reference = scores.round(), reference.round()
    counted = [(1 + sum(r >= s for r in reference.tolist())) / (m + 1) for s in scores.tolist()]
    assert conformal_p_values(scores, reference).tolist() == pytest.approx(counted)


def test_q_values_are_those_of_benjamini_and_hochberg():
    p = torch.tensor([0.01, 0.04, 0.03, 0.5])
    torch.testing.assert_close(q_values(p), torch.tensor([0.04, 0.16 / 3, 0.16 / 3, 0.5]))


def test_nulls_are_at_chance():
    model, x, y, reference, member = overfitted()
    twin = mlp([40, 30, 3], bias="all", generator=child(9, "untrained"), dtype=torch.float64)
    nulls = membership_nulls(model, x, y, loss="cross_entropy", reference=reference, untrained=twin)
    found = membership_scores(model, x, y, loss="cross_entropy", reference=reference)
    assert set(nulls) == {"untrained", "unseen", "shuffled"}
    curve = evaluate_membership(
        found.scores, member, nulls={k: nulls[k].scores for k in ("untrained", "shuffled")}, rates=(0.05,)
    )
    assert curve.auc_interval[0] > 0.9
    assert curve.nulls["untrained"].auc_interval[0] < 0.5 < curve.nulls["untrained"].auc_interval[1]
    assert all(null.at(0.05).low < 0.05 for null in curve.nulls.values())
    assert [len(each.held(0.05)) for each in nulls.values()] == [0, 0, 0] and len(found.held(0.05)) > 30
    with pytest.raises(ValueError, match="at least 4"):
        membership_nulls(model, x, y, loss="cross_entropy", reference=(x[:3], y[:3]))


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_a_shift_is_seen_without_the_network(shift):
    """Fifty draws: at chance none may be clear."""
    clear = 0
    for seed in range(50):
        x = torch.randn(400, 30, generator=child(seed, "blind"))
        x[:200] += shift
        y = torch.randint(3, (400,), generator=child(seed, "labels"))
        auc, errors = blind_auc(x[:200], y[:200], x[200:], y[200:])
        assert 0.3 < auc
        clear += errors > CLEAR
    assert clear == (50 if shift else 0)
