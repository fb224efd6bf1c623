import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import laplacian_kernel, polynomial_kernel, rbf_kernel
from sklearn.neighbors import KernelDensity
from sklearn.svm import SVC

from vestige.core.outcome import Outcome
from vestige.core.rng import child
from vestige.reconstruct.kernels.black_box import decimals_of
from vestige.reconstruct.kernels.from_queries import reconstruct_from_queries
from vestige.reconstruct.kernels.functions import (
    Exponential,
    Gaussian,
    Laplace,
    Polynomial,
    RandomFeatureKernel,
    ReLUTangent,
    kappa0,
    kappa1,
    parse_kernel,
)
from vestige.reconstruct.kernels.simultaneous_diagonalization import diagonalize


def gaussian(*shape, seed=0):
    return torch.randn(*shape, generator=child(seed, "gaussian"), dtype=torch.float64)


def interpolant(kernel, x, y):
    weight = torch.linalg.solve(kernel(x, x), y)
    return lambda z: kernel(torch.as_tensor(z), x) @ weight


def errors(found, x):
    """Relative error of each true point."""
    return torch.cdist(found.points, x).amin(0) / x.norm(dim=1) if len(found.points) else torch.full((len(x),), 9.0)


def recovered(found, x, within=0.05):
    return int((errors(found, x) <= within).sum())


X, KERNEL = gaussian(20, 50), Gaussian(0.02)
Y = gaussian(20, 3, seed=1)


# kernels


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Gaussian(0.3), lambda z, x: rbf_kernel(z, x, gamma=0.3)),
        (Laplace(0.3, norm=1), lambda z, x: laplacian_kernel(z, x, gamma=0.3)),
        (Polynomial(0.3, 0.5, 3), lambda z, x: polynomial_kernel(z, x, gamma=0.3, coef0=0.5, degree=3)),
    ],
)
def test_kernels_agree_with_scikit_learn(ours, theirs):
    z = gaussian(7, 5)
    torch.testing.assert_close(ours(z, X[:, :5]), torch.as_tensor(theirs(z.numpy(), X[:, :5].numpy())))


def test_arc_cosine_kernels_at_known_angles():
    u = torch.tensor([-1.0, 0.0, 1.0]).double()
    torch.testing.assert_close(kappa0(u), torch.tensor([0.0, 0.5, 1.0]).double())
    torch.testing.assert_close(kappa1(u), torch.tensor([0.0, 1 / math.pi, 1.0]).double())


@given(layers=st.integers(1, 5), tangent=st.booleans(), size=st.floats(0.1, 10))
def test_relu_kernels_are_homogeneous_and_keep_the_norm(layers, tangent, size):
    kernel = ReLUTangent(layers, tangent)
    torch.testing.assert_close(kernel(X, X).diagonal(), X.square().sum(1))
    torch.testing.assert_close(kernel(size * X, X), size * kernel(X, X))


def test_random_features_approach_the_gaussian_kernel():
    many = RandomFeatureKernel.draw(0.02, 50, 40_000, generator=child(0))
    assert (many(X, X) - KERNEL(X, X)).abs().max() < 0.03  # 40,000 features: standard error .005
    few = RandomFeatureKernel.draw(0.02, 50, 40, generator=child(0))
    assert (few(X, X) - KERNEL(X, X)).abs().max() > 0.1


@pytest.mark.parametrize("kernel", [Gaussian(0.02), Exponential(0.02)])
def test_exponential_type_means_what_the_pencil_takes_it_for(kernel):
    u, v = gaussian(2, 50, seed=5)
    scaled = [kernel(z[None], X)[0].log() + kernel.decay * z.square().sum() for z in (u + v, u, v, 0 * u)]
    torch.testing.assert_close(scaled[0] + scaled[3], scaled[1] + scaled[2])
    torch.testing.assert_close(scaled[1] - scaled[3], kernel.rate * X @ u)


def test_kernels_are_read_from_text():
    assert parse_kernel("rbf:gamma=0.003") == Gaussian(0.003) and parse_kernel("rbf") == Gaussian()
    assert parse_kernel("ntk:layers=2") == ReLUTangent(2) and parse_kernel("laplace-l2:gamma=1") == Laplace(1.0)
    assert parse_kernel("laplace-l1:gamma=1") == Laplace(1.0, norm=1)
    for word in ("laplace:gamma=1", "laplacian:gamma=1"):
        with pytest.raises(ValueError, match=r"laplace-l2.*laplace-l1"):
            parse_kernel(word)


def test_random_features_are_drawn_from_their_generator_alone():
    """None is seed 0: neither the global generator nor the caller's moves on."""
    before, own = torch.get_rng_state(), child(3)
    state = own.get_state()
    first, again, other = (RandomFeatureKernel.draw(0.1, 3, 4, generator=g) for g in (None, None, own))
    assert torch.equal(torch.get_rng_state(), before) and torch.equal(own.get_state(), state)
    assert torch.equal(first.weights, again.weights) and torch.equal(first.phases, again.phases)
    assert not torch.equal(first.weights, other.weights)


# simultaneous diagonalization


@given(n=st.integers(2, 12), q=st.integers(2, 5), seed=st.integers(0, 30))
def test_diagonalization_finds_the_common_basis(n, q, seed):
    v, d = gaussian(n, n, seed=seed) + 2 * torch.eye(n).double(), gaussian(q, n, seed=seed + 100)
    found = diagonalize(torch.stack([v @ part.diag() @ v.T for part in d]), child(0))
    overlap = (torch.nn.functional.normalize(v, dim=0).T @ found.vectors).abs()
    assert overlap.amax(1).min() > 1 - 1e-6
    assert sorted(overlap.argmax(1).tolist()) == list(range(n))


def test_matrices_without_a_common_basis_are_not_called_diagonal():
    noise = gaussian(4, 8, 8)
    assert diagonalize(noise + noise.mT, child(0)).left > 0.1


# the pencil


def test_gaussian_points_come_back_to_nine_digits():
    found = reconstruct_from_queries(interpolant(KERNEL, X, Y), KERNEL, n_features=50)
    assert errors(found, X).max() < 1e-9 and found.rank == 20 and len(found.points) == 20
    assert found.validated.all() and found.outcome is Outcome.CONVERGED and found.misfit < 1e-9
    match = torch.cdist(found.points, X).argmin(1)
    weight = torch.linalg.solve(KERNEL(X, X), Y)
    torch.testing.assert_close(found.coefficients, weight[match], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("outputs", [1, 2])
def test_few_outputs_take_shifts(outputs):
    found = reconstruct_from_queries(interpolant(KERNEL, X, Y[:, :outputs]), KERNEL, n_features=50)
    assert errors(found, X).max() < 1e-8 and found.rank == 20


def test_dot_product_exponentials_and_a_center_elsewhere():
    x, kernel = X + 0.5, Exponential(0.03)
    found = reconstruct_from_queries(interpolant(kernel, x, Y), kernel, n_features=50, center=torch.full((50,), 0.4))
    assert errors(found, x).max() < 1e-6
    weight = torch.linalg.solve(kernel(x, x), Y)
    torch.testing.assert_close(found.coefficients, weight[torch.cdist(found.points, x).argmin(1)], rtol=1e-4, atol=1e-6)


def test_zero_coefficients_are_invisible_and_the_rank_says_so():
    y = Y.clone()
    weight = torch.linalg.solve(KERNEL(X, X), y)
    weight[15:] = 0
    found = reconstruct_from_queries(lambda z: KERNEL(torch.as_tensor(z), X) @ weight, KERNEL, n_features=50)
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
    found = reconstruct_from_queries(predict, KERNEL, n_features=50, on_step=steps.append)
    assert found.queries == asked == steps[-1].index and all(step.total >= step.index for step in steps)
    short = reconstruct_from_queries(predict, KERNEL, n_features=50, max_queries=asked // 2)
    assert short.queries <= asked // 2 and short.outcome is Outcome.BUDGET_SPENT and "spent" in short.warnings[-1]


def test_callables_on_tensors_are_welcome():
    weight = torch.linalg.solve(KERNEL(X, X), Y)
    found = reconstruct_from_queries(lambda z: KERNEL(z, X) @ weight, KERNEL, n_features=50)
    assert recovered(found, X) == 20


def test_one_seed_one_result_and_the_generator_stays():
    score, generator = interpolant(KERNEL, X, Y), child(3)
    state = torch.get_rng_state(), generator.get_state()
    runs = [reconstruct_from_queries(score, KERNEL, n_features=50, generator=generator) for _ in range(2)]
    assert torch.equal(runs[0].points, runs[1].points)
    assert torch.equal(torch.get_rng_state(), state[0]) and torch.equal(generator.get_state(), state[1])
    other = reconstruct_from_queries(score, KERNEL, n_features=50, generator=child(4))
    assert not torch.equal(other.points, runs[0].points)


# nulls: the same check fails for what was not trained on


def test_a_model_of_other_data_does_not_give_these_points_away():
    found = reconstruct_from_queries(interpolant(KERNEL, gaussian(20, 50, seed=9), Y), KERNEL, n_features=50)
    assert found.validated.all() and recovered(found, X) == 0


def test_scores_of_another_kernel_validate_nothing():
    with pytest.raises(ValueError, match="not constant"):
        reconstruct_from_queries(interpolant(Laplace(0.1), X, Y), KERNEL, n_features=50)
    both = interpolant(lambda z, x: Gaussian(0.01)(z, x) + Gaussian(0.04)(z, x), X, Y)
    found = reconstruct_from_queries(both, KERNEL, n_features=50, max_points=60)
    assert recovered(found, X) == 0 and not found.validated.any() and found.warnings


def test_a_wrong_bandwidth_is_reported():
    found = reconstruct_from_queries(interpolant(KERNEL, X, Y), Gaussian(0.025), n_features=50, max_points=60)
    assert recovered(found, X) == 0 and any("wrong gamma" in warning for warning in found.warnings)


@pytest.mark.parametrize("outputs", [1, 3])
def test_the_bandwidth_is_found_from_queries(outputs):
    found = reconstruct_from_queries(interpolant(KERNEL, X, Y[:, :outputs]), "rbf", n_features=50)
    assert isinstance(found.kernel, Gaussian) and abs(found.kernel.gamma / 0.02 - 1) < 1e-9
    assert errors(found, X).max() < 1e-6


def test_no_bandwidth_is_found_where_there_is_none():
    with pytest.raises(ValueError, match=r"do not fall along rays|not constant"):
        reconstruct_from_queries(lambda z: np.sin(z[:, :2]), "rbf", n_features=50)


# real estimators

LABEL = np.arange(20) % 3


def test_kernel_ridge_regression():
    model = KernelRidge(alpha=0.1, kernel="rbf", gamma=0.02).fit(X.numpy(), Y.numpy())
    assert recovered(reconstruct_from_queries(model.predict, "rbf:gamma=0.02", n_features=50), X) == 20


@pytest.mark.parametrize(("shape", "scores"), [("ovo", "raw"), ("ovr", "votes")])
def test_support_vector_machine_of_three_classes(shape, scores):
    model = SVC(C=10, gamma=0.02, decision_function_shape=shape).fit(X.numpy(), LABEL)
    found = reconstruct_from_queries(model.decision_function, KERNEL, n_features=50, scores=scores)
    assert found.rank == len(model.support_)
    assert errors(found, torch.as_tensor(model.support_vectors_)).max() < 1e-4
    if shape == "ovo":
        torch.testing.assert_close(found.offset, torch.as_tensor(model.intercept_))


def test_support_vector_machine_of_two_classes():
    model = SVC(C=10, gamma=0.02).fit(X.numpy(), LABEL > 0)
    found = reconstruct_from_queries(model.decision_function, KERNEL, n_features=50)
    assert errors(found, torch.as_tensor(model.support_vectors_)).max() < 1e-4


def test_kernel_density_estimate():
    model = KernelDensity(bandwidth=5.0).fit(X.numpy())
    found = reconstruct_from_queries(model.score_samples, Gaussian(1 / 50), n_features=50, scores="log")
    assert errors(found, X).max() < 1e-6
    torch.testing.assert_close(found.coefficients, found.coefficients.mean().expand_as(found.coefficients))


def test_gaussian_process():
    kernel = ConstantKernel(2.0, "fixed") * RBF(5.0, "fixed")
    model = GaussianProcessRegressor(kernel, alpha=1e-3, normalize_y=True).fit(X.numpy(), Y[:, 0].numpy())
    found = reconstruct_from_queries(model.predict, Gaussian(1 / 50), n_features=50)
    assert errors(found, X).max() < 1e-4


# precision


def test_single_precision_degrades_and_is_reported():
    score = interpolant(KERNEL, X, Y)
    exact = reconstruct_from_queries(score, KERNEL, n_features=50)
    rough = reconstruct_from_queries(lambda z: score(z).float(), KERNEL, n_features=50)
    assert any("single precision" in warning for warning in rough.warnings)
    assert not any("precision" in warning for warning in exact.warnings)
    assert errors(rough, X).median() > 100 * errors(exact, X).median()


def test_rounding_is_a_defence_that_grows_as_decimals_go():
    score = interpolant(KERNEL, X, Y)
    shares, errs = [], []
    for decimals in (10, 6, 2):
        found = reconstruct_from_queries(lambda z, k=decimals: torch.round(score(z), decimals=k), KERNEL, n_features=50)
        assert any(f"rounded to {decimals} decimals" in warning for warning in found.warnings)
        shares.append(recovered(found, X))
        errs.append(float(errors(found, X).median()))
    assert shares[0] == 20 and shares[-1] == 0 and errs == sorted(errs)


@given(k=st.integers(0, 9))
def test_decimals_are_counted(k):
    values = torch.round(gaussian(50), decimals=k)
    assert decimals_of(values) == k and decimals_of(gaussian(50)) is None


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
        (lambda: attack(center=torch.zeros(3)), "n_features=50"),
        (lambda: Gaussian(-1.0), "gamma=-1"),
    ],
)
def test_bad_input_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def attack(predict=None, kernel=KERNEL, **options):
    return reconstruct_from_queries(predict or interpolant(KERNEL, X, Y), kernel, n_features=50, **options)


# the published descent


def images(n, size=4):
    """Small color images with the correlations of real ones: low-frequency noise, standardized."""
    nodes = gaussian(n, 3, 2, 2, seed=11)
    x = torch.nn.functional.interpolate(nodes, size=(size, size), mode="bilinear", align_corners=True)
    x = x.flatten(1) + 0.3 * gaussian(n, 3 * size * size, seed=12)
    return (x - x.mean()) / x.std()


def fitted(kernel, times, n=6, steps=2000, **options):
    x = images(600)
    own, others = x[:n], x[n:]
    predict = interpolant(kernel, own, torch.eye(n, 6).double() - 1 / 6)
    least = -(-n * (x.shape[1] + 6) // 6)
    found = reconstruct_from_queries(
        predict, kernel, n_features=x.shape[1], n=n, pool=others, steps=steps, solver="published",
        max_queries=times * least + 16 + 4 * n + 64 + 20, generator=child(1), **options,
    )  # fmt: skip
    return errors(found, own), found


@pytest.mark.slow
def test_more_queries_make_the_laplace_fit_more_exact():
    medians = [float(fitted(Laplace(1.2), times, steps=6000)[0].median()) for times in (1, 2, 4, 8)]
    assert medians[0] > 0.1 and medians[3] < 0.1 and medians[3] == min(medians)


@pytest.mark.parametrize("kernel", [Laplace(1.2), Gaussian(0.05)], ids=["laplace", "gaussian"])
def test_the_fit_recovers_what_noise_does_not(kernel):
    error, found = fitted(kernel, 8)
    assert (error < 0.2).sum() >= 3 and found.method == "optimization" and found.rank == 0
    x = images(600)
    noise = torch.cdist(gaussian(6, x.shape[1], seed=30), x[:6]).amin(0) / x[:6].norm(dim=1)
    assert noise.min() > 0.5
    assert any("not a distance" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    "kernel", [ReLUTangent(3), Polynomial(0.05), RandomFeatureKernel.draw(0.05, 48, 200, generator=child(0))]
)
def test_any_kernel_can_be_fitted_and_the_loss_falls(kernel):
    losses = [fitted(kernel, 4, steps=k, n=4)[1].misfit for k in (1, 600)]
    assert losses[1] < losses[0]


def test_too_few_queries_for_a_fit_say_the_number():
    predict = interpolant(Laplace(1.2), images(6), Y[:6])
    with pytest.raises(ValueError, match=r"n \(d \+ C\) / C = 102"):
        reconstruct_from_queries(predict, Laplace(1.2), n_features=48, n=6, max_queries=150)
    with pytest.raises(ValueError, match="give n"):
        reconstruct_from_queries(predict, Laplace(1.2), n_features=48)


# the cubic kernel


@pytest.mark.parametrize("outputs", [1, 3])
def test_cubic_kernels_give_their_points_and_coefficients_away(outputs):
    kernel = Polynomial(0.1)
    found = reconstruct_from_queries(interpolant(kernel, X, Y[:, :outputs]), kernel, n_features=50)
    assert found.method == "cubic" and found.rank == 20 and errors(found, X).max() < 1e-8
    weight = torch.linalg.solve(kernel(X, X), Y[:, :outputs])
    torch.testing.assert_close(found.coefficients, weight[torch.cdist(found.points, X).argmin(1)], rtol=1e-6, atol=1e-8)
    assert found.validated.all() and found.misfit < 1e-6


def test_a_cubic_support_vector_machine_with_its_intercept():
    model = SVC(kernel="poly", degree=3, coef0=1.0, gamma=0.05, C=10).fit(X.numpy(), LABEL > 0)
    found = reconstruct_from_queries(model.decision_function, "poly:gamma=0.05", n_features=50)
    assert errors(found, torch.as_tensor(model.support_vectors_)).max() < 1e-4


def test_more_points_than_dimensions_are_too_many_for_a_cubic_kernel():
    kernel, x = Polynomial(0.1), gaussian(12, 6, seed=2)
    with pytest.raises(ValueError, match="as many points as numbers"):
        reconstruct_from_queries(interpolant(kernel, x, Y[:12]), kernel, n_features=6, n=12)
    with pytest.raises(ValueError, match="6 points or more of 6 numbers"):
        reconstruct_from_queries(interpolant(kernel, x, Y[:12]), kernel, n_features=6)


def test_the_tangent_kernel_off_the_diagonal_is_that_of_three_layers_written_out():
    """Means of ReLU products and of common signs by quadrature over the angle, the recursion without a loop."""

    def relu_products(u):
        angle = math.acos(u)
        return quad(lambda t: math.cos(t) * math.cos(t - angle), angle - math.pi / 2, math.pi / 2)[0] / math.pi * 2

    def common_signs(u):
        return 1 - math.acos(u) / math.pi

    z, x = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.6, 0.8], [0.0, 1.0], [-0.6, 0.8], [-3.0, 0.4]])
    for k, row in enumerate(x):
        u = float(torch.nn.functional.cosine_similarity(z[0], row, dim=0))
        first = relu_products(u)
        second = relu_products(first)
        tangent = u * common_signs(u) * common_signs(first) + first * common_signs(first) + second
        length = float(z.norm() * row.norm())
        assert float(ReLUTangent(3)(z, x)[0, k]) == pytest.approx(length * tangent / 3)
        assert float(ReLUTangent(3, tangent=False)(z, x)[0, k]) == pytest.approx(length * second)


def test_the_tangent_kernel_is_that_of_a_wide_network():
    """Gradients of a three-layer network of width 1500: relative error 1 / sqrt(1500) a layer."""
    width, g = 1500, child(0, "wide")
    z, x = gaussian(2, 4, seed=8)
    sizes = [(width, 4), (width, width), (1, width)]
    weights = [torch.randn(*s, generator=g, dtype=torch.float64) for s in sizes]

    def layers(v):
        """Inputs of each layer and backward signals, in closed form."""
        first = weights[0] @ v
        second = weights[1] @ (first.relu() * (2 / width) ** 0.5)
        back = weights[2][0] * (second > 0) * (2 / width) ** 0.5
        return [v, first.relu() * (2 / width) ** 0.5, second.relu() * (2 / width) ** 0.5], [
            weights[1].T @ back * (first > 0) * (2 / width) ** 0.5,
            back,
            torch.ones(1).double(),
        ]

    (a, da), (b, db) = layers(z), layers(x)
    wide = sum(float(p @ q * (s @ t)) for p, q, s, t in zip(a, b, da, db, strict=True)) / 3
    limit = float(ReLUTangent(3)(z[None], x[None])[0, 0])
    assert abs(wide - limit) < 0.12 * float(z.norm() * x.norm())
