"""Points from scores, to the last digit; a model of other data, another kernel and a wrong one fail the same checks."""

import numpy as np
import pytest
import torch
from kernel_reference import errors, gaussian, interpolant, recovered

from vestige.core.outcome import Outcome
from vestige.core.rng import child
from vestige.reconstruct.kernels.from_queries import reconstruct_from_queries
from vestige.reconstruct.kernels.functions import Exponential, Gaussian, Laplace, Polynomial

X, KERNEL = gaussian(20, 50), Gaussian(0.02)
Y = gaussian(20, 3, seed=1)


def test_gaussian_points_come_back_to_nine_digits():
    found = reconstruct_from_queries(interpolant(KERNEL, X, Y), KERNEL, input_shape=(50,))
    assert errors(found, X).max() < 1e-9 and found.rank == 20 and len(found.points) == 20
    assert found.validated.all() and found.outcome is Outcome.CONVERGED and found.misfit < 1e-9
    match = torch.cdist(found.points, X).argmin(1)
    weight = torch.linalg.solve(KERNEL(X, X), Y)
    torch.testing.assert_close(found.coefficients, weight[match], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("outputs", [1, 2])
def test_few_outputs_take_shifts(outputs):
    found = reconstruct_from_queries(interpolant(KERNEL, X, Y[:, :outputs]), KERNEL, input_shape=(50,))
    assert errors(found, X).max() < 1e-8 and found.rank == 20


def test_dot_product_exponentials_and_a_center_elsewhere():
    x, kernel = X + 0.5, Exponential(0.03)
    found = reconstruct_from_queries(
        interpolant(kernel, x, Y), kernel, input_shape=(50,), center=torch.full((50,), 0.4)
    )
    assert errors(found, x).max() < 1e-6
    weight = torch.linalg.solve(kernel(x, x), Y)
    torch.testing.assert_close(found.coefficients, weight[torch.cdist(found.points, x).argmin(1)], rtol=1e-4, atol=1e-6)


def test_zero_coefficients_are_invisible_and_the_rank_says_so():
    y = Y.clone()
    weight = torch.linalg.solve(KERNEL(X, X), y)
    weight[15:] = 0
    found = reconstruct_from_queries(lambda z: KERNEL(torch.as_tensor(z), X) @ weight, KERNEL, input_shape=(50,))
    assert found.rank == 15 and recovered(found, X[:15]) == 15 and recovered(found, X[15:]) == 0


def test_every_query_is_counted():
    asked = 0
    score = interpolant(KERNEL, X, Y)

    def predict(z):
        nonlocal asked
        asked += len(z)
        assert isinstance(z, np.ndarray) and z.dtype == np.float64
        return score(z).numpy()

    steps = []
    found = reconstruct_from_queries(predict, KERNEL, input_shape=(50,), on_step=steps.append)
    assert found.queries == asked == steps[-1].index and all(step.total >= step.index for step in steps)
    short = reconstruct_from_queries(predict, KERNEL, input_shape=(50,), max_queries=asked // 2)
    assert short.queries <= asked // 2 and short.outcome is Outcome.BUDGET_SPENT and "spent" in short.warnings[-1]


def test_callables_on_tensors_are_welcome():
    weight = torch.linalg.solve(KERNEL(X, X), Y)
    found = reconstruct_from_queries(lambda z: KERNEL(z, X) @ weight, KERNEL, input_shape=(50,))
    assert recovered(found, X) == 20


def test_one_seed_one_result_and_the_generator_stays():
    score, generator = interpolant(KERNEL, X, Y), child(3)
    state = torch.get_rng_state(), generator.get_state()
    runs = [reconstruct_from_queries(score, KERNEL, input_shape=(50,), generator=generator) for _ in range(2)]
    assert torch.equal(runs[0].points, runs[1].points)
    assert torch.equal(torch.get_rng_state(), state[0]) and torch.equal(generator.get_state(), state[1])
    other = reconstruct_from_queries(score, KERNEL, input_shape=(50,), generator=child(4))
    assert not torch.equal(other.points, runs[0].points)


def test_a_model_of_other_data_does_not_give_these_points_away():
    found = reconstruct_from_queries(interpolant(KERNEL, gaussian(20, 50, seed=9), Y), KERNEL, input_shape=(50,))
    assert found.validated.all() and recovered(found, X) == 0


def test_scores_of_another_kernel_validate_nothing():
    with pytest.raises(ValueError, match="not constant"):
        reconstruct_from_queries(interpolant(Laplace(0.1), X, Y), KERNEL, input_shape=(50,))
    both = interpolant(lambda z, x: Gaussian(0.01)(z, x) + Gaussian(0.04)(z, x), X, Y)
    found = reconstruct_from_queries(both, KERNEL, input_shape=(50,), n_candidates=60)
    assert recovered(found, X) == 0 and not found.validated.any() and found.warnings


def test_a_wrong_bandwidth_is_reported():
    found = reconstruct_from_queries(interpolant(KERNEL, X, Y), Gaussian(0.025), input_shape=(50,), n_candidates=60)
    assert recovered(found, X) == 0 and any("wrong gamma" in warning for warning in found.warnings)


@pytest.mark.parametrize("outputs", [1, 3])
def test_the_bandwidth_is_found_from_queries(outputs):
    found = reconstruct_from_queries(interpolant(KERNEL, X, Y[:, :outputs]), "rbf", input_shape=(50,))
    assert isinstance(found.kernel, Gaussian) and abs(found.kernel.gamma / 0.02 - 1) < 1e-9
    assert errors(found, X).max() < 1e-6


def test_no_bandwidth_is_found_where_there_is_none():
    with pytest.raises(ValueError, match=r"do not fall along rays|not constant"):
        reconstruct_from_queries(lambda z: np.sin(z[:, :2]), "rbf", input_shape=(50,))


# the cubic kernel


@pytest.mark.parametrize("outputs", [1, 3])
def test_cubic_kernels_give_their_points_and_coefficients_away(outputs):
    kernel = Polynomial(0.1)
    found = reconstruct_from_queries(interpolant(kernel, X, Y[:, :outputs]), kernel, input_shape=(50,))
    assert found.method == "cubic" and found.rank == 20 and errors(found, X).max() < 1e-8
    weight = torch.linalg.solve(kernel(X, X), Y[:, :outputs])
    torch.testing.assert_close(found.coefficients, weight[torch.cdist(found.points, X).argmin(1)], rtol=1e-6, atol=1e-8)
    assert found.validated.all() and found.misfit < 1e-6


def test_more_points_than_dimensions_are_too_many_for_a_cubic_kernel():
    kernel, x = Polynomial(0.1), gaussian(12, 6, seed=2)
    with pytest.raises(ValueError, match="at most as many points"):
        reconstruct_from_queries(interpolant(kernel, x, Y[:12]), kernel, input_shape=(6,), n=12)
    with pytest.raises(ValueError, match="6 points or more of 6 numbers"):
        reconstruct_from_queries(interpolant(kernel, x, Y[:12]), kernel, input_shape=(6,))


# bad input


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: attack(lambda z: np.array(["cat"] * len(z))), "classes"),
        (lambda: attack(lambda z: np.zeros(len(z), dtype=int)), "classes"),
        (lambda: attack(lambda z: np.zeros(len(z))), "one constant"),
        (lambda: attack(lambda z: torch.softmax(torch.as_tensor(z)[:, :3], 1)), "probabilities"),
        (lambda: attack(lambda z: np.full(len(z), np.nan)), "NaN"),
        (lambda: attack(lambda z: np.ones(3) / 3), "for 16 queries"),
        (lambda: attack(lambda z: z @ np.ones(7)), "does not take"),
        (lambda: attack(lambda z: z[:, :2]), "not constant"),
        (lambda: attack(kernel="rbf:width=2"), "could not be read"),
        (lambda: attack(kernel="tophat"), "allowed are"),
        (lambda: attack(n=0), "n=0"),
        (lambda: attack(tolerance=2.0), "tolerance=2"),
        (lambda: attack(center=torch.zeros(3)), "has 3 numbers; one input has 50"),
        (lambda: Gaussian(-1.0), "gamma=-1"),
    ],
)
def test_bad_input_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def attack(predict=None, kernel=KERNEL, **options):
    return reconstruct_from_queries(predict or interpolant(KERNEL, X, Y), kernel, input_shape=(50,), **options)
