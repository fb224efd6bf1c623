"""Models of scikit-learn give their points away; rounded answers give less."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kernel_reference import errors, gaussian, interpolant, recovered
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.neighbors import KernelDensity
from sklearn.svm import SVC

from vestige.reconstruct.kernels.from_queries import reconstruct_from_queries
from vestige.reconstruct.kernels.functions import Gaussian
from vestige.reconstruct.kernels.probing import decimals_of

X, KERNEL = gaussian(20, 50), Gaussian(0.02)
Y = gaussian(20, 3, seed=1)
LABEL = np.arange(20) % 3


def test_kernel_ridge_regression():
    model = KernelRidge(alpha=0.1, kernel="rbf", gamma=0.02).fit(X.numpy(), Y.numpy())
    assert recovered(reconstruct_from_queries(model.predict, "rbf:gamma=0.02", input_shape=(50,)), X) == 20


@pytest.mark.parametrize(("shape", "scores"), [("ovo", "raw"), ("ovr", "votes")])
def test_support_vector_machine_of_three_classes(shape, scores):
    model = SVC(C=10, gamma=0.02, decision_function_shape=shape).fit(X.numpy(), LABEL)
    found = reconstruct_from_queries(model.decision_function, KERNEL, input_shape=(50,), scores=scores)
    assert found.rank == len(model.support_)
    assert errors(found, torch.as_tensor(model.support_vectors_)).max() < 1e-4
    if shape == "ovo":
        torch.testing.assert_close(found.offset, torch.as_tensor(model.intercept_))


def test_support_vector_machine_of_two_classes():
    model = SVC(C=10, gamma=0.02).fit(X.numpy(), LABEL > 0)
    found = reconstruct_from_queries(model.decision_function, KERNEL, input_shape=(50,))
    assert errors(found, torch.as_tensor(model.support_vectors_)).max() < 1e-4


def test_kernel_density_estimate():
    model = KernelDensity(bandwidth=5.0).fit(X.numpy())
    found = reconstruct_from_queries(model.score_samples, Gaussian(1 / 50), input_shape=(50,), scores="log")
    assert errors(found, X).max() < 1e-6
    torch.testing.assert_close(found.coefficients, found.coefficients.mean().expand_as(found.coefficients))


def test_gaussian_process():
    kernel = ConstantKernel(2.0, "fixed") * RBF(5.0, "fixed")
    model = GaussianProcessRegressor(kernel, alpha=1e-3, normalize_y=True).fit(X.numpy(), Y[:, 0].numpy())
    found = reconstruct_from_queries(model.predict, Gaussian(1 / 50), input_shape=(50,))
    assert errors(found, X).max() < 1e-4


def test_a_cubic_support_vector_machine_with_its_intercept():
    model = SVC(kernel="poly", degree=3, coef0=1.0, gamma=0.05, C=10).fit(X.numpy(), LABEL > 0)
    found = reconstruct_from_queries(model.decision_function, "poly:gamma=0.05", input_shape=(50,))
    assert errors(found, torch.as_tensor(model.support_vectors_)).max() < 1e-4


# precision


def test_single_precision_degrades_and_is_reported():
    score = interpolant(KERNEL, X, Y)
    exact = reconstruct_from_queries(score, KERNEL, input_shape=(50,))
    rough = reconstruct_from_queries(lambda z: score(z).float(), KERNEL, input_shape=(50,))
    assert any("single precision" in warning for warning in rough.warnings)
    assert not any("precision" in warning for warning in exact.warnings)
    assert errors(rough, X).median() > 100 * errors(exact, X).median()


def test_rounding_is_a_defence_that_grows_as_decimals_go():
    score = interpolant(KERNEL, X, Y)
    shares, errs = [], []
    for decimals in (10, 6, 2):
        found = reconstruct_from_queries(
            lambda z, k=decimals: torch.round(score(z), decimals=k), KERNEL, input_shape=(50,)
        )
        assert any(f"rounded to {decimals} decimals" in warning for warning in found.warnings)
        shares.append(recovered(found, X))
        errs.append(float(errors(found, X).median()))
    assert shares[0] == 20 and shares[-1] == 0 and errs == sorted(errs)


@given(k=st.integers(0, 9))
def test_decimals_are_counted(k):
    values = torch.round(gaussian(50), decimals=k)
    assert decimals_of(values) == k and decimals_of(gaussian(50)) is None
