"""Models that refuse inputs unlike their data: the attack can stay within a ball, and says where that is not enough."""

import pytest
import torch

from vestige.core.outcome import Outcome
from vestige.core.rng import child
from vestige.reconstruct.kernels.from_queries import reconstruct_from_queries
from vestige.reconstruct.kernels.functions import Gaussian, Laplace
from vestige.reconstruct.kernels.scoring import score_points

N, D = 12, 30
X = torch.randn(N, D, generator=child(0, "x"), dtype=torch.float64)
KERNEL = Gaussian(1 / D)
REACH = 0.1 * float(X.norm(dim=1).max())


def model(outputs=3, constant=0.0, reach=REACH, center=0.0):
    """Scores, NaN outside the ball."""
    weight = torch.randn(N, outputs, generator=child(1, "weight"), dtype=torch.float64)

    def predict(z):
        z = torch.as_tensor(z)
        scores = KERNEL(z - center, X) @ weight + constant
        scores[(z - center).norm(dim=1) > reach] = torch.nan
        return scores

    return predict


@pytest.mark.parametrize("outputs", [1, 3])
def test_a_small_ball_is_enough(outputs):
    """No query leaves it, or the model's NaN would end the attack; held-out points in place of the true ones fail."""
    found = reconstruct_from_queries(model(outputs), KERNEL, input_shape=(D,), reach=REACH)
    score = score_points(found.points, X, held_out=torch.randn(N, D, generator=child(2)).double())
    assert score.n_recovered == N and score.error.max() < 1e-3
    assert max(null.n_recovered for null in score.nulls) == 0
    assert found.outcome is Outcome.CONVERGED


def test_the_ball_is_around_the_center():
    center = torch.full((D,), 5.0, dtype=torch.float64)
    found = reconstruct_from_queries(model(center=center), KERNEL, input_shape=(D,), reach=REACH, center=center)
    assert score_points(found.points, X + center).error.max() < 1e-3


def test_a_refusal_that_was_not_expected_names_the_option():
    with pytest.raises(ValueError, match=r"NaN .* give reach"):
        reconstruct_from_queries(model(), KERNEL, input_shape=(D,))


def test_a_constant_that_cannot_be_asked_for_is_no_silent_success():
    """Null: nothing is validated when the scores hold what the equations do not have."""
    found = reconstruct_from_queries(model(constant=3.0), KERNEL, input_shape=(D,), reach=REACH, n_candidates=40)
    assert found.outcome is not Outcome.CONVERGED and found.warnings
    assert not bool(found.validated.any())


@pytest.mark.parametrize(
    ("kernel", "options"),
    [
        (KERNEL, {"reach": 0.0}),
        (KERNEL, {"reach": torch.inf}),
        (Laplace(0.1), {"reach": 1.0, "n": 3}),
        ("rbf", {"reach": 1.0}),
        (KERNEL, {"reach": 1.0, "solver": "published", "n": 3}),
    ],
)
def test_bad_input_is_refused(kernel, options):
    with pytest.raises(ValueError, match="reach="):
        reconstruct_from_queries(model(), kernel, input_shape=(D,), **options)
