"""Averages over searches: nearer to what the searches share than each of them; unrelated ones tell nothing."""

import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from vestige.core.rng import child
from vestige.reconstruct.weights.two_layer.many_samples import SAME, agreed

R, M, D = 3, 40, 30


def searches(seed, shared=M // 2):
    """Candidates of R searches in shuffled order: noisy views of the same `shared` samples, the rest unrelated."""
    g = child(seed, "searches")
    samples = F.normalize(torch.randn(shared, D, generator=g, dtype=torch.float64), dim=1)
    label = torch.arange(shared) % 4
    z, of = [], []
    for _ in range(R):
        noise = 0.7 * F.normalize(torch.randn(shared, D, generator=g, dtype=torch.float64), dim=1)
        others = F.normalize(torch.randn(M - shared, D, generator=g, dtype=torch.float64), dim=1)
        order = torch.randperm(M, generator=g)
        z.append(torch.cat([samples + noise, others])[order])
        of.append(torch.cat([label, torch.randint(4, (M - shared,), generator=g)])[order])
    return samples, torch.stack(z), torch.stack(of)


def nearest(z, samples):
    return (F.normalize(z, dim=-1) @ samples.T).flatten(0, -2).max(0).values


@given(st.integers(0, 2**31))
def test_averages_are_nearer_than_the_best_candidate(seed):
    samples, z, label = searches(seed)
    mean, _ = agreed(z, label)
    assert nearest(mean, samples).median() > nearest(z, samples).median() + 0.03


@given(st.integers(0, 2**31))
def test_what_searches_share_comes_first(seed):
    samples, z, label = searches(seed)
    mean, of = agreed(z, label)
    best = (mean @ samples.T).max(1)
    first = slice(0, len(samples))
    assert best.values[first].mean() > best.values[len(samples) :].mean() + 0.2
    near = best.values > 0.9
    assert (of[near] == best.indices[near] % 4).all()


@given(st.integers(0, 2**31))
def test_unrelated_searches_tell_nothing(seed):
    """Null: samples that the searches never saw."""
    _, z, label = searches(seed, shared=0)
    unseen = F.normalize(torch.randn(M, D, generator=child(seed, "unseen"), dtype=torch.float64), dim=1)
    assert nearest(agreed(z, label)[0], unseen).median() < 0.7


def test_candidates_of_another_class_are_never_mixed_in():
    """The nearest one is of another class: the average is with the second nearest."""
    first, twin, second = F.normalize(torch.randn(3, D, generator=child(7, "classes"), dtype=torch.float64), dim=1)
    z = torch.stack([torch.stack([first, -second]), torch.stack([F.normalize(first + 0.1 * twin, dim=0), second])])
    mean, label = agreed(z, torch.tensor([[0, 2], [1, 0]]))
    torch.testing.assert_close(mean[label == 0][0], F.normalize(first + second, dim=0))
    assert label.tolist().count(0) == 1


def test_one_search_is_itself_longest_first_and_without_copies():
    z = torch.diag(torch.tensor([1.0, 3.0, 2.0])).repeat(1, 2).reshape(1, 6, 3)
    mean, label = agreed(z, torch.tensor([[0, 0, 1, 1, 2, 2]]))
    torch.testing.assert_close(mean, torch.eye(3)[[1, 2, 0]])
    assert label.tolist() == [1, 2, 0]
    assert ((mean @ mean.T).fill_diagonal_(0) < SAME).all()
