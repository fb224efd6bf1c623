"""What is shown first: verified samples, then groups; with many samples per neuron only what is likelier than not."""

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
    """As many samples as a third of the neurons; only its size is read."""
    weights, none = (torch.zeros(WIDTH, D), torch.zeros(2, WIDTH)), torch.zeros(0)
    return Chain(weights, (none, none), (False, False), weights, (none, none), torch.eye(D), none, N + 2, True)


def pool(verified):
    """R searches that found `N` samples at cosine .85, and as many unrelated candidates each."""
    truth = unit(N, D, name="truth")
    found = [torch.cat([near(truth, 0.85, f"search {k}"), unit(N, D, name=f"stray {k}")]) for k in range(R)]
    sure = near(truth[:verified], 0.99, "sure"), torch.ones(verified, 2), torch.linspace(0.2, 0.9, verified)
    one = torch.ones(R * 2 * N, 2)
    restart = torch.arange(R).repeat_interleave(2 * N)
    return truth, Pool(
        x=torch.cat(found), multipliers=one, restart=restart, residual=torch.ones(R), residual_per_layer={},
        verified=sure if verified else None, evaluations=1, outcome=Outcome.BUDGET_SPENT, requested=None,
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
