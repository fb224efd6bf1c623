"""What a search returned, with samples that another method found."""

import torch

from vestige.core.outcome import Outcome
from vestige.core.rng import child
from vestige.reconstruct.weights.pool import Pool


def pool(solved: tuple[torch.Tensor, ...] | None) -> Pool:
    x = torch.randn(6, 9, generator=child(0, "pool"))
    return Pool(
        x=x,
        multipliers=x[:, :1],
        restart=torch.zeros(6, dtype=torch.long),
        residual=torch.zeros(1),
        residual_per_layer={},
        solved=None if solved is None else (solved[0], solved[1], solved[2], solved[3]),
        evaluations=0,
        outcome=Outcome.CONVERGED,
        requested=None,
    )


def test_further_samples_come_after_those_that_are_there_and_none_twice():
    first = torch.eye(9)[:2]
    there = (first, torch.ones(2, 1), torch.tensor([0.9, 0.8]), torch.tensor([True, False]))
    further = torch.stack([2 * first[1] + 0.1 * torch.eye(9)[5], torch.eye(9)[4]])
    x, multipliers, confidence, verified = pool(there).beside(further, -torch.ones(2, 1), torch.ones(2)).solved or there
    assert torch.equal(x, torch.cat([first, further[1:]]))
    assert multipliers[:, 0].tolist() == [1, 1, -1]
    assert confidence.tolist() == torch.tensor([0.9, 0.8, 1.0]).tolist()
    assert verified.tolist() == [True, False, False]


def test_samples_alone_are_all_there_is():
    found = torch.eye(9)[:3]
    x, _, confidence, verified = pool(None).beside(found, torch.ones(3, 1), torch.ones(3)).solved or (None,) * 4
    assert torch.equal(x, found) and confidence.sum() == 3 and not verified.any()
