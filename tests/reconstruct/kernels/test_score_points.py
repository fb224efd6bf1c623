"""Relative errors of recovered points in closed form, and the nulls beside them."""

import pytest
import torch

from vestige.core.rng import child
from vestige.reconstruct.kernels.scoring import score_points

X = torch.randn(12, 30, generator=child(0, "x"), dtype=torch.float64)


def test_errors_are_relative_to_the_distance_from_the_mean():
    direction = torch.nn.functional.normalize(torch.randn(12, 30, generator=child(1), dtype=torch.float64), dim=1)
    size = (X - X.mean(0)).norm(dim=1)
    share = torch.linspace(0.01, 0.12, 12).double()
    order = torch.randperm(12, generator=child(2))
    score = score_points((X + (share * size)[:, None] * direction)[order], X)
    torch.testing.assert_close(score.error, share)
    assert torch.equal(order[score.match], torch.arange(12))
    assert score.n_recovered == 5 and score.recovered.tolist() == [True] * 5 + [False] * 7
    assert score.precision == pytest.approx(5 / 12)


def test_a_shift_of_all_points_changes_nothing_and_a_scale_neither():
    near = X + 0.01 * torch.randn(12, 30, generator=child(3), dtype=torch.float64)
    first = score_points(near, X).error
    torch.testing.assert_close(score_points(near + 5, X + 5).error, first)
    torch.testing.assert_close(score_points(near * 7, X * 7).error, first)


def test_one_point_serves_one_true_point_and_points_without_a_partner_are_lost():
    score = score_points(X[:1].repeat(3, 1), X)
    assert score.n_recovered == 1 and score.error[0] == 0 and (score.error[1:] > 0.5).all()
    assert score.match.ge(0).sum() == 3 and score.precision == 1.0
    assert torch.isinf(score_points(X[:0], X).error).all() and score_points(X[:0], X).precision == 0


def test_most_pairs_within_the_bar_come_before_the_nearest_pairs():
    """A is near both true points and B near the first alone: giving A to the first would lose the second."""
    x = torch.tensor([[1.0, 0.0], [1.06, 0.0], [-9.0, 0.0]])
    a, b = torch.tensor([1.01, 0.0]), torch.tensor([0.96, 0.0])
    score = score_points(torch.stack([a, b]), x, within=0.05)
    assert score.n_recovered == 2


def test_nulls_fail():
    others = torch.randn(50, 30, generator=child(4), dtype=torch.float64)
    score = score_points(X, X, held_out=others)
    assert score.n_recovered == 12
    assert {null.name for null in score.nulls} >= {"held-out samples", "white noise", "permuted truth"}
    assert all(null.n_recovered == 0 and null.least > 0.3 for null in score.nulls)
