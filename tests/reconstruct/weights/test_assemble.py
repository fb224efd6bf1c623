"""What is shown first: verified samples, then groups; with many samples per neuron only what is likelier than not."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from vestige.core.outcome import Outcome
from vestige.core.rng import child
from vestige.reconstruct.weights.assemble import LIKELY, SAME_OF_MANY, assemble
from vestige.reconstruct.weights.chain import Chain
from vestige.reconstruct.weights.pool import Pool

R, N, D, WIDTH = 3, 12, 40, 40


def unit(*shape, name):
    return F.normalize(torch.randn(*shape, generator=child(0, name)), dim=-1)


def near(x, cosine, name):
    """Vectors of that cosine to x."""
    other = torch.randn(x.shape, generator=child(0, name))
    other = F.normalize(other - (other * x).sum(-1, keepdim=True) * x, dim=-1)
    return cosine * x + (1 - cosine**2) ** 0.5 * other


@pytest.fixture(scope="module")
def many() -> Chain:
    """As many samples as a third of the neurons, which all differ; only its sizes are read."""
    weights, none = (torch.eye(WIDTH, D), torch.zeros(2, WIDTH)), torch.zeros(0)
    biases = torch.zeros(WIDTH), torch.zeros(2)
    return Chain(weights, biases, (False, False), weights, biases, torch.eye(D), none, N + 2, True)


def pool(verified, unexplained=0.0):
    """R searches that found `N` samples at cosine .85, and as many unrelated candidates each."""
    truth = unit(N, D, name="truth")
    found = [torch.cat([near(truth, 0.85, f"search {k}"), unit(N, D, name=f"stray {k}")]) for k in range(R)]
    sure = near(truth[:verified], 0.99, "sure"), torch.ones(verified, 2), torch.linspace(0.2, 0.9, verified)
    solved = *sure, torch.ones(verified, dtype=torch.bool)
    one = torch.ones(R * 2 * N, 2)
    restart = torch.arange(R).repeat_interleave(2 * N)
    return truth, Pool(
        x=torch.cat(found), multipliers=one, restart=restart, residual=torch.ones(R),
        residual_per_layer={"layer 1": unexplained},
        solved=solved if verified else None, evaluations=1, outcome=Outcome.BUDGET_SPENT, requested=None,
    )  # fmt: skip


def test_with_many_samples_only_the_likely_stand_beside_the_verified(many):
    truth, searched = pool(N // 2)
    found = assemble(searched, (D,), 2, many, ())
    assert found.verified.sum() == N // 2 and (found.confidence[~found.verified] >= LIKELY).all()
    assert (found.confidence[found.verified].diff() <= 0).all()
    shown = F.normalize(found.samples, dim=1) @ truth.T
    assert (shown.max(1).values > SAME_OF_MANY).all() and len(shown.argmax(1).unique()) == len(found.samples)


def test_candidates_near_a_verified_sample_support_it(many):
    _, searched = pool(N // 2)
    found = assemble(searched, (D,), 2, many, ())
    assert (found.support[found.verified] == R).double().mean() > 0.5
    assert (found.spread[found.verified] > 0.1).any()


def test_where_nothing_is_verified_as_many_are_shown_as_can_be_told_apart(many):
    """Null: groups alone."""
    _, searched = pool(0)
    found = assemble(searched, (D,), 2, many, ())
    assert not found.verified.any() and len(found.samples) == many.rank
    assert (found.cluster < many.rank).all()


def test_what_is_solved_for_is_not_yet_verified(many):
    """Its confidence stands, and it comes first, but after what is verified."""
    _, searched = pool(N // 2)
    assert searched.solved is not None
    *solved, sure = searched.solved
    found = assemble(replace(searched, solved=(*solved, torch.arange(len(sure)) == 0)), (D,), 2, many, ())
    assert found.verified.tolist() == [True] + [False] * (len(found.samples) - 1)
    assert torch.equal(found.samples[0], solved[0][0])


@pytest.mark.parametrize("unexplained", [0.2, 0.8, 3.0])
def test_what_layer_one_does_not_explain_lowers_all_confidence(many, unexplained):
    _, whole = pool(N // 2)
    _, part = pool(N // 2, unexplained)
    before, after = (assemble(each, (D,), 2, many, ()) for each in (whole, part))
    torch.testing.assert_close(after.confidence, max(0.0, 1 - unexplained) * before.confidence)
    assert after.verified.any() == (unexplained < 0.5) and bool(after.doubt) == (unexplained > 0.5)
    assert after.doubt == "" or any(after.doubt in warning for warning in after.warnings)


def test_fewer_different_neurons_than_two_a_sample_are_in_doubt(many):
    _, searched = pool(N // 2)
    weights = many.weights[0].clone()
    weights[many.rank + 3 :] = weights[0]
    found = assemble(searched, (D,), 2, replace(many, weights=(weights, many.weights[1])), ())
    assert found.directions == many.rank + 3 and "different neurons" in found.doubt and not found.verified.any()
    assert found.confidence.max() <= 3 / many.rank


def test_what_follows_from_the_range_does_not_need_the_equation(many):
    """Neither an unexplained layer nor few different neurons lower it; class means do."""
    _, given = pool(4, unexplained=0.9)
    of_two = assemble(replace(given, by_range=2), (D,), 2, many, ())
    assert of_two.confidence.tolist() == pytest.approx([0.9, 2 / 3, 0.1 * 1.3 / 3, 0.1 * 0.2])
    assert of_two.doubt == "" and of_two.warnings == () and not of_two.verified.any()
    assert assemble(given, (D,), 2, many, ()).doubt
    means = assemble(replace(given, by_range=2), (D,), 2, replace(many, rank=2), ())
    assert means.doubt and not means.confidence.any()


def test_no_more_samples_than_classes_are_class_means(many):
    _, searched = pool(N // 2)
    found = assemble(searched, (D,), many.rank, many, ())
    assert not found.confidence.any() and not found.verified.any() and "class means" in found.doubt


def test_candidates_that_diverged_are_no_candidates(many):
    """All of a search may have become infinite: then nothing is shown, and it is said."""
    truth, searched = pool(0)
    multipliers = searched.multipliers.clone()
    multipliers[: 2 * N, 0] = torch.inf
    some = assemble(replace(searched, multipliers=multipliers, outcome=Outcome.NOT_FINITE), (D,), 2, many, ())
    assert len(some.candidates) == (R - 1) * 2 * N and bool(torch.isfinite(some.samples).all())
    assert len(truth) == N and any("became NaN or infinite" in said for said in some.warnings)
    none = assemble(replace(searched, x=searched.x * torch.nan), (D,), 2, many, ())
    assert len(none.samples) == len(none.candidates) == 0
