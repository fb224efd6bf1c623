import numpy as np
import pytest
import torch
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern
from sklearn.kernel_ridge import KernelRidge
from sklearn.neighbors import KernelDensity
from sklearn.svm import SVC

from vestige.core.rng import child
from vestige.core.space import InputSpace
from vestige.nets.fully_connected import mlp
from vestige.reconstruct.kernels.machine import load_kernel_model, save_kernel_model
from vestige.reconstruct.kernels.scoring import score_points

from vestige.nets.checkpoint import save_model  # isort: skip

X = np.random.default_rng(0).standard_normal((30, 6))
Y = np.arange(30) % 4
PROCESS = GaussianProcessRegressor(ConstantKernel(2.0) * RBF(3.0), alpha=0.1, normalize_y=True, optimizer=None)


@pytest.mark.parametrize(
    ("estimator", "answers"),
    [
        (SVC(decision_function_shape="ovo").fit(X, Y), "decision_function"),
        (SVC(C=3, gamma=0.2).fit(X, Y > 1), "decision_function"),
        (SVC(kernel="poly", coef0=1, gamma=0.1).fit(X, Y > 1), "decision_function"),
        (KernelRidge(kernel="rbf").fit(X, np.eye(4)[Y]), "predict"),
        (KernelDensity(bandwidth=2.0).fit(X), "score_samples"),
        (PROCESS.fit(X, Y * 1.0), "predict"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_the_file_answers_as_the_estimator_does(estimator, answers, tmp_path):
    save_kernel_model(estimator, tmp_path / "m.safetensors", input_shape=(1, 2, 3), space=InputSpace(0, 1, mean=0.5))
    model = load_kernel_model(tmp_path / "m.safetensors")
    z = np.random.default_rng(1).standard_normal((9, 6))
    difference = model.predict(z).numpy() - getattr(estimator, answers)(z).reshape(9, -1)
    assert np.ptp(difference, axis=0).max() < 1e-12  # a density's constant is left out
    assert answers == "score_samples" or abs(difference).max() < 1e-12
    assert model.input_shape == (1, 2, 3) and model.space is not None and model.n_features == 6


def test_what_cannot_be_written_or_read_is_refused(tmp_path):
    for estimator, words in (
        (SVC(kernel="sigmoid").fit(X, Y), "sigmoid"),
        (KernelDensity(kernel="tophat").fit(X), "tophat"),
        (GaussianProcessRegressor(Matern(), optimizer=None).fit(X, Y), "isotropic RBF"),
    ):
        with pytest.raises(ValueError, match=words):
            save_kernel_model(estimator, tmp_path / "m.safetensors")
    save_model(mlp([3, 2]), tmp_path / "net.safetensors")
    with pytest.raises(ValueError, match="not a kernel model"):
        load_kernel_model(tmp_path / "net.safetensors")


# scoring


def points(*shape, seed=0):
    return torch.randn(*shape, generator=child(seed, "points"), dtype=torch.float64)


def test_errors_are_relative_to_the_distance_from_the_mean():
    x = points(8, 5) + 100
    moved = x + 0.04 * (x - x.mean(0))
    score = score_points(moved.flip(0), x, held_out=points(50, 5, seed=1) + 100)
    torch.testing.assert_close(score.error, torch.full((8,), 0.04, dtype=torch.float64))
    assert score.n_recovered == 8 and score.precision == 1 and score.match.tolist() == list(range(7, -1, -1))
    assert all(null.n_recovered == 0 for null in score.nulls)
    assert score_points(x + 0.06 * (x - x.mean(0)), x).n_recovered == 0


def test_one_point_counts_once():
    x = points(1, 5).expand(3, 5) + 1e-6 * points(3, 5)
    assert score_points(x[:1], x, within=10.0).n_recovered == 1


def test_nothing_offered_recovers_nothing():
    score = score_points(points(0, 5), points(4, 5))
    assert score.n_recovered == 0 and score.error.isinf().all() and score.precision == 0


def test_bad_truth_is_refused():
    with pytest.raises(ValueError, match="finite points"):
        score_points(points(2, 5), points(0, 5))
    with pytest.raises(ValueError, match="have shape"):
        score_points(points(2, 5), points(3, 5), null={"others": points(2, 4)})
