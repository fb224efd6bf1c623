import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vestige.attack.methods.balls import project, random_start, steepest
from vestige.attack.methods.halfspace import nearest
from vestige.core.space import lp_norm
from vestige.core.threat import Norm

NORMS = list(Norm)


@pytest.mark.parametrize(
    ("given_", "norm"), [("Linf", "linf"), (math.inf, "linf"), (2, "l2"), (2.0, "l2"), ("L1", "l1"), (1, "l1")]
)
def test_spellings(given_, norm):
    assert Norm(given_) == norm


@pytest.mark.parametrize("wrong", [3, "l3", "", True])
def test_other_norms_are_refused(wrong):
    with pytest.raises(ValueError, match="allowed are 'linf'"):
        Norm(wrong)


@given(st.integers(0, 1000), st.sampled_from(NORMS), st.floats(0.01, 3))
def test_projection_is_inside_idempotent_and_leaves_inner_points(seed, norm, eps):
    draw = torch.Generator().manual_seed(seed)
    x, moved = torch.rand((4, 1, 3, 3), generator=draw), torch.randn((4, 1, 3, 3), generator=draw)
    radius = torch.full((4,), eps)
    inside = project(moved, x, radius, (0.0, 1.0), norm)
    assert bool((lp_norm(inside - x, norm.p) <= eps * (1 + 1e-9)).all()) and bool(((inside >= 0) & (inside <= 1)).all())
    torch.testing.assert_close(project(inside, x, radius, (0.0, 1.0), norm), inside, atol=1e-9, rtol=0)


@given(st.integers(0, 1000))
def test_l1_projection_is_the_nearest_point(seed):
    draw = torch.Generator().manual_seed(seed)
    x, moved = torch.rand((1, 5), generator=draw), 2 * torch.randn((1, 5), generator=draw)
    radius = torch.tensor([0.7])
    found = project(moved, x, radius, (0.0, 1.0), Norm.L1)
    # No feasible point that random search draws is nearer.
    others = project(
        x + torch.randn((500, 5), generator=draw), x.expand(500, -1), radius.expand(500), (0.0, 1.0), Norm.L1
    )
    assert bool(((others - moved).norm(dim=1) >= (found - moved).norm() - 1e-9).all())


@pytest.mark.parametrize("norm", NORMS)
def test_steepest_direction_gains_the_dual_norm(norm):
    gradient = torch.tensor([[3.0, -4.0, 0.0], [1e-30, 0.0, 0.0], [0.0, 0.0, 0.0]])
    step = steepest(gradient, norm)
    gain = (gradient * step).sum(1)
    torch.testing.assert_close(gain, torch.linalg.vector_norm(gradient, ord=norm.dual, dim=1), atol=1e-40, rtol=1e-9)
    assert bool((step[2] == 0).all())


@pytest.mark.parametrize("norm", NORMS)
def test_starts_lie_on_the_sphere_where_the_box_is_far(norm):
    x = torch.zeros(3, 6)
    noise = torch.randn((3, 6), generator=torch.Generator().manual_seed(0))
    at = random_start(x, torch.full((3,), 0.5), (-9.0, 9.0), norm, noise)
    torch.testing.assert_close(lp_norm(at, norm.p), torch.full((3,), 0.5))


@given(st.integers(0, 1000), st.sampled_from(NORMS))
def test_half_space_is_reached_by_the_smallest_step(seed, norm):
    draw = torch.Generator().manual_seed(seed)
    w, room = torch.randn((3, 4), generator=draw), torch.rand((3, 4), generator=draw)
    low, high = -room, 1 - room
    best = (w * torch.where(w > 0, high, low)).sum(1)
    c = 0.6 * best
    d = nearest(w, c, low, high, norm)
    torch.testing.assert_close((w * d).sum(1), c, atol=1e-9, rtol=1e-6)
    assert bool(((d >= low - 1e-12) & (d <= high + 1e-12)).all())
    # No random feasible step that reaches c is smaller.
    tried = low[:, None] + (high - low)[:, None] * torch.rand((3, 4000, 4), generator=draw)
    size = torch.linalg.vector_norm(tried, ord=norm.p, dim=2).masked_fill((w[:, None] * tried).sum(2) < c[:, None], 9.0)
    assert bool((size.amin(1) >= lp_norm(d, norm.p) - 1e-9).all())


@pytest.mark.parametrize("norm", NORMS)
def test_half_space_out_of_reach_gives_the_corner(norm):
    d = nearest(
        torch.tensor([[1.0, -2.0]]), torch.tensor([9.0]), torch.tensor([[-0.2, -0.5]]), torch.tensor([[0.8, 0.5]]), norm
    )
    torch.testing.assert_close(d, torch.tensor([[0.8, -0.5]]))


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
def test_half_space_without_a_box_has_a_closed_form(norm):
    w, c, far = torch.tensor([[3.0, 4.0]]), torch.tensor([10.0]), torch.full((1, 2), math.inf)
    d = nearest(w, c, -far, far, norm)
    assert float(lp_norm(d, norm.p)) == pytest.approx(10 / (7 if norm is Norm.LINF else 5))
