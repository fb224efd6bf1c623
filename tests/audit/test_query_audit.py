"""The audit of a kernel machine: it is asked for scores, and nothing else of it is looked at."""

import inspect
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge
from sklearn.svm import SVC

import vestige as vg
from vestige.audit.fit import fit_of_scores
from vestige.audit.kernel_machine import read_machine
from vestige.core.rng import child
from vestige.core.space import InputSpace
from vestige.data.load import load_data
from vestige.reconstruct.kernels.black_box import Scores
from vestige.reconstruct.kernels.functions import Gaussian
from vestige.reconstruct.kernels.machine import save_kernel_model

POINTS = torch.rand(12, 16, generator=child(0, "points"), dtype=torch.float64)


def scores(z):
    """A black box of the user's own."""
    kernel = Gaussian(0.5)
    weight = torch.linalg.solve(kernel(POINTS, POINTS), torch.eye(12, 3).double())
    return (kernel(torch.as_tensor(z), POINTS) @ weight).numpy()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A ridge regression on twelve small images, their file, and a file of images that it never saw."""
    place = tmp_path_factory.mktemp("kernel")
    x, y = POINTS.reshape(12, 1, 4, 4).numpy(), np.arange(12) % 3
    np.savez(place / "train.npz", x=x, y=y)
    np.savez(place / "other.npz", x=np.random.default_rng(0).random((60, 1, 4, 4)), y=np.arange(60) % 3)
    flat = load_data(f"npz:{place / 'train.npz'}").x.double().reshape(12, -1).numpy()
    space = InputSpace(0.0, 1.0, mean=0.5, std=0.25)
    model = KernelRidge(alpha=1e-3, kernel="rbf", gamma=0.05).fit((flat - 0.5) / 0.25, np.eye(3)[y])
    save_kernel_model(model, place / "ridge.safetensors", input_shape=(1, 4, 4), space=space)
    return place


def truth(folder, train="train", other="other"):
    return {"data": f"npz:{folder / train}.npz", "held_out": f"npz:{folder / other}.npz"}


def test_the_audit_recovers_and_reports(folder, tmp_path):
    found = vg.audit_queries(folder / "ridge.safetensors", out=tmp_path / "run", **truth(folder))
    assert found.level == "leaks" and found.score.n_recovered == 12 and "scores alone" in found.verdict
    queried = found.results["queried"]
    assert queried["n_recovered"] == queried["validated"] == queried["shown"] == 12 and queried["queries"] > 100
    assert max(null["n_recovered"] for null in queried["nulls"]) == 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert "What came out of the scores" in page and "held-out queries" in page and "theory cover" not in page
    again = vg.audit_queries(folder / "ridge.safetensors", out=tmp_path / "run", **truth(folder))
    assert again.results == found.results and torch.equal(again.samples, found.samples)
    assert again.reconstruction is None and again.source[0].arxiv == "2505.19019"


def test_without_data_the_points_are_shown_as_an_estimate(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = vg.audit_queries(folder / "ridge.safetensors", kernel="rbf:gamma=0.05")
    assert found.score is None and found.level == "some" and int(found.reconstruction.validated.sum()) == 12
    assert found.folder is None and not list(tmp_path.iterdir())


def test_data_of_another_model_are_not_recovered(folder):
    """Null: the training data of nobody."""
    found = vg.audit_queries(folder / "ridge.safetensors", **truth(folder, "other", "train"))
    assert found.point_score.n_recovered == 0 and found.score.n_recovered <= 1


def test_data_are_asked_whether_they_belong_to_the_machine(folder):
    machine, theirs = read_machine(folder / "ridge.safetensors", "auto"), load_data(f"npz:{folder / 'train.npz'}")
    fits = fit_of_scores(machine, theirs)
    assert fits is not None and fits.fits and fits.accuracy == 1
    inverted = fit_of_scores(machine, replace(theirs, x=1 - theirs.x))
    assert inverted is not None and not inverted.fits and inverted.chance == 1 / 3
    rolled = fit_of_scores(machine, replace(theirs, y=theirs.y.roll(1)))
    assert rolled is not None and rolled.accuracy == 0
    assert fit_of_scores(replace(machine, scores=Scores.LOG), theirs) is None  # a density knows no classes
    assert fit_of_scores(machine, replace(theirs, y=theirs.y * 0)) is None


@pytest.mark.parametrize("model", [scores, f"{__name__}:scores"], ids=["itself", "by name"])
def test_a_callable_of_the_users_own(model):
    found = vg.audit_queries(model, kernel="rbf:gamma=0.5", input_shape=(16,))
    assert found.results["queried"]["validated"] == 12
    assert found.results["model"]["path"] == f"{__name__}:scores"


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ("MODEL", {"kernel": "tophat"}, "allowed are"),
        ("MODEL", {"input_shape": (3,)}, "takes 16 numbers"),
        ("tests.nowhere:scores", {"kernel": "rbf:gamma=1", "input_shape": (3,)}, "did not load"),
        ("tests.nowhere:scores", {}, "is a callable"),
        ("OTHER", {}, "is NumPy arrays"),
        ("MODEL", {"data": "digits"}, "another data set"),
        ("MODEL", {"held_out": "digits"}, "Give data too"),
    ],
)
def test_bad_input_is_refused(model, options, words, folder, tmp_path):
    paths = {"MODEL": folder / "ridge.safetensors", "OTHER": folder / "train.npz"}
    with pytest.raises(ValueError, match=words):
        vg.audit_queries(paths.get(model, model), out=tmp_path / "bad", **options)
    assert not (tmp_path / "bad" / "results.json").exists()


def test_an_estimator_itself_is_refused():
    with pytest.raises(ValueError, match=r"a SVC given; give its function .* model\.decision_function"):
        inspect.unwrap(read_machine)(SVC(), "auto")  # tests check types before the function can


def test_other_estimators_are_refused(tmp_path):
    with pytest.raises(ValueError, match="not fitted"):
        save_kernel_model(SVC(), tmp_path / "m.safetensors")
    with pytest.raises(ValueError, match="KernelRidge, SVC"):
        save_kernel_model(object(), tmp_path / "m.safetensors")
