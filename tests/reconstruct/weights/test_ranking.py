"""Verified samples first, each with the candidates near it; the rest in groups, sample by sample against a loop."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from vestige.core.rng import child
from vestige.reconstruct.weights.ranking import labels_of, rank_candidates

D, RESTARTS = 30, 4
RESTART = torch.arange(RESTARTS).repeat_interleave(5)


def gaussian(*shape, name):
    return torch.randn(*shape, generator=child(0, name), dtype=torch.float64)


TRUTH, NOISE = F.normalize(gaussian(5, D, name="truth"), dim=1), 0.02 * gaussian(RESTARTS, 5, D, name="noise")
X = (TRUTH + NOISE).flatten(0, 1)  # every restart finds all five samples
L = gaussian(5, 3, name="multipliers").repeat(RESTARTS, 1)
VERIFIED = TRUTH[:2], L[:2], torch.tensor([0.99, 0.95]).double()


def test_each_candidate_supports_its_sample():
    found = rank_candidates(X, L, RESTART, VERIFIED)
    assert len(found.samples) == 5 and found.verified.tolist() == [True, True, False, False, False]
    assert torch.equal(found.samples[:2], TRUTH[:2]) and torch.equal(found.confidence[:2], VERIFIED[2])
    assert found.support.tolist() == [RESTARTS] * 5
    cosine = F.normalize(X, dim=1) @ TRUTH.T
    torch.testing.assert_close(found.spread[:2], 1 - cosine.unflatten(0, (RESTARTS, 5)).diagonal(0, 1, 2).mean(0)[:2])
    own = (F.normalize(found.samples, dim=1) @ TRUTH.T).argmax(1)
    assert sorted(own.tolist()) == list(range(5))
    assert torch.equal(own[found.cluster], torch.arange(5).repeat(RESTARTS))
    torch.testing.assert_close(found.cotangents, L[own])


def test_without_a_verified_sample_all_are_groups_and_noise_is_grouped_with_nothing():
    none = TRUTH[:0], L[:0], VERIFIED[2][:0]
    assert not rank_candidates(X, L, RESTART, none).verified.any()
    noise = rank_candidates(gaussian(20, D, name="null"), L, RESTART, VERIFIED)
    assert noise.support.tolist()[:2] == [1, 1] and noise.spread[:2].tolist() == [0, 0]
    assert noise.confidence[2:].max() < 0.5


def test_the_first_few_keep_their_candidates_and_the_others_lose_theirs():
    whole = rank_candidates(X, L, RESTART, VERIFIED)
    part = whole.first(3)
    assert torch.equal(part.samples, whole.samples[:3]) and len(part.confidence) == len(part.verified) == 3
    assert torch.equal(part.cluster, torch.where(whole.cluster < 3, whole.cluster, -1))
    assert torch.equal(whole.first(None).cluster, whole.cluster)
    assert part.fields((5, 6))["samples"].shape == (3, 5, 6)


def test_the_likeliest_come_first_after_those_verified_and_keep_their_candidates():
    part = rank_candidates(X, L, RESTART, VERIFIED).first(4)
    mixed = replace(part, confidence=torch.tensor([0.3, 0.2, 0.4, 0.6]).to(X), verified=torch.arange(4) == 1)
    found = mixed.likeliest_first()
    order = [1, 3, 2, 0]
    assert found.confidence.tolist() == mixed.confidence[order].tolist() and found.verified.tolist()[0]
    assert torch.equal(found.samples, mixed.samples[order]) and torch.equal(found.cotangents, mixed.cotangents[order])
    kept = mixed.cluster >= 0
    assert torch.equal(found.cluster >= 0, kept) and not kept.all()
    assert torch.equal(found.samples[found.cluster[kept]], mixed.samples[mixed.cluster[kept]])


@pytest.mark.parametrize(("cotangents", "labels"), [([[2.0], [-1.0]], [1, 0]), ([[2.0, 1.0], [-1.0, 0.0]], [0, 1])])
def test_the_label_is_the_largest_multiplier_or_the_sign_of_the_only_one(cotangents, labels):
    assert labels_of(torch.tensor(cotangents)).tolist() == labels
