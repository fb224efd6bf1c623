import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vestige.core.rng import child
from vestige.core.space import InputSpace, lp_norm, project_ball

MEANS = [0.3, torch.tensor([0.1, 0.2, 0.3]), torch.rand(3, 4, 4, dtype=torch.float64, generator=child(0))]


@pytest.mark.parametrize("mean", MEANS)
def test_maps_are_inverse(mean):
    space = InputSpace(mean=mean, std=0.5)
    x = torch.rand(5, 3, 4, 4, generator=child(1))
    torch.testing.assert_close(space.to_data(space.to_model(x)), x)
    low, high = space.bounds((3, 4, 4), x)
    assert low.shape == (3, 4, 4)
    torch.testing.assert_close(high - low, torch.full_like(low, 2.0))


def test_keeps_the_dtype_of_the_data():
    assert InputSpace(mean=torch.zeros(2)).to_model(torch.rand(3, 2, dtype=torch.float32)).dtype == torch.float32


@pytest.mark.parametrize(
    ("x", "cause"),
    [
        (torch.full((2, 3), 200.0), "divide by 255"),
        (torch.full((2, 3), -1.5), "normalized already"),
        (torch.full((2, 3), math.nan), "NaN"),
        (torch.zeros(2, 3, dtype=torch.uint8), "x / 255"),
        (torch.zeros(0, 3), "non-empty"),
    ],
)
def test_check_names_the_cause(x, cause):
    with pytest.raises(ValueError, match=cause):
        InputSpace().check(x)
    assert InputSpace().check(torch.rand(2, 3)) is None


@pytest.mark.parametrize("bad", [{"low": 1.0, "high": 0.0}, {"std": 0.0}, {"mean": math.nan}, {"low": math.nan}])
def test_refuses_impossible_spaces(bad):
    with pytest.raises(ValueError):
        InputSpace(**bad)


def test_refuses_a_mean_of_another_shape():
    with pytest.raises(ValueError, match="one value a channel"):
        InputSpace(mean=torch.zeros(5)).to_model(torch.rand(2, 3, 4, 4))


@given(p=st.sampled_from([1, 2, math.inf]), radius=st.floats(0, 10), seed=st.integers(0, 99))
def test_projection_is_feasible_idempotent_and_nearest(p, radius, seed):
    x = torch.randn(4, 6, generator=child(seed)) * 3
    z = project_ball(x, p, radius)
    assert bool((lp_norm(z, p) <= radius * (1 + 1e-12) + 1e-12).all())
    torch.testing.assert_close(project_ball(z, p, radius), z)
    # Variational inequality: <x - z, u - z> <= 0 for every u of the ball.
    u = project_ball(torch.randn(4, 6, generator=child(seed, "u")) * 3, p, radius)
    assert bool((((x - z) * (u - z)).sum(1) <= 1e-9).all())


def test_points_inside_stay():
    x = torch.tensor([[0.1, -0.2]])
    for p in (1, 2, math.inf):
        assert torch.equal(project_ball(x, p, 1.0), x)
    with pytest.raises(ValueError, match="allowed"):
        project_ball(x, 3, 1.0)
    with pytest.raises(ValueError, match="norm needs"):
        lp_norm(x, 0.5)
