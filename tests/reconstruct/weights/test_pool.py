"""What a search returned, with samples that another method found."""

import torch

from vestige.core.outcome import Outcome
from vestige.core.rng import child
from vestige.reconstruct.weights.joint import Joint
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


def test_samples_by_their_range_replace_those_near_them_that_are_not_verified():
    at = torch.eye(9)[:3]
    there = (at, torch.ones(3, 1), torch.tensor([0.9, 0.8, 0.7]), torch.tensor([True, False, False]))
    near = torch.stack([at[0] + 0.1 * torch.eye(9)[5], at[1] + 0.1 * torch.eye(9)[5], torch.eye(9)[6]])
    both = pool(there).preferring(near, -torch.ones(3, 1), torch.full((3,), 0.95))
    assert both.solved is not None and both.by_range == 2
    assert torch.equal(both.solved[0], torch.stack([at[0], at[2], near[1], near[2]]))
    assert both.solved[3].tolist() == [True, False, False, False]
    alone = pool(None).preferring(near, -torch.ones(3, 1), torch.full((3,), 0.95))
    assert alone.solved is not None and alone.by_range == len(alone.solved[0]) == 3


def test_samples_alone_are_all_there_is():
    found = torch.eye(9)[:3]
    x, _, confidence, verified = pool(None).beside(found, torch.ones(3, 1), torch.ones(3)).solved or (None,) * 4
    assert torch.equal(x, found) and confidence.sum() == 3 and not verified.any()


def test_further_searches_are_numbered_on():
    z = torch.randn(2, 3, 4, generator=child(1, "further"))
    basis = torch.linalg.qr(torch.randn(9, 4, generator=child(2, "basis")))[0]
    joint = Joint(z, z[..., :1], torch.full((2, 2), 0.5), 10, Outcome.BUDGET_SPENT)
    both = pool(None).with_joints([joint], basis)
    assert torch.equal(both.x, torch.cat([pool(None).x, (z @ basis.T).flatten(0, 1)]))
    assert both.restart.tolist() == [0] * 6 + [1] * 3 + [2] * 3 and both.residual.tolist() == [0, 0.5, 0.5]
    assert len(both.multipliers) == 12 and both.evaluations == 20
    assert pool(None).with_joints([], basis).evaluations == 0
