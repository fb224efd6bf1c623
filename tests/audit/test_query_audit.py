"""`vestige audit --kernel`: scores of a kernel machine, and nothing else of it."""

import json

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge
from sklearn.svm import SVC

from vestige.cli import run
from vestige.core.rng import child
from vestige.core.space import InputSpace
from vestige.data.load import load_data
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


def audit(folder, out, *more, model="ridge.safetensors"):
    return run(["audit", str(folder / model), "--out", str(out), *more])


def test_the_audit_recovers_and_reports(folder, tmp_path, capsys):
    truth = ("--data", f"npz:{folder / 'train.npz'}", "--held-out", f"npz:{folder / 'other.npz'}")
    assert audit(folder, tmp_path / "run", "--kernel", "auto", *truth) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["level"] == "leaks" and results["score"]["n_recovered"] == 12
    asked = results["queried"]
    assert asked["n_recovered"] == asked["validated"] == asked["shown"] == 12 and asked["queries"] > 100
    assert max(null["n_recovered"] for null in asked["nulls"]) == 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert "What came out of the scores" in page and "held-out queries" in page and "theory cover" not in page
    assert "scores alone" in capsys.readouterr().out


def test_without_data_the_points_are_shown_as_an_estimate(folder, tmp_path):
    assert audit(folder, tmp_path / "run", "--kernel", "rbf:gamma=0.05") == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["score"] is None and results["level"] == "some" and results["queried"]["validated"] == 12


def test_data_of_another_model_are_not_recovered(folder, tmp_path):
    other = ("--data", f"npz:{folder / 'other.npz'}", "--held-out", f"npz:{folder / 'train.npz'}")
    assert audit(folder, tmp_path / "run", "--kernel", "auto", *other) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["queried"]["n_recovered"] == 0 and results["score"]["n_recovered"] <= 1


def test_a_callable_of_the_users_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = f"{__name__}:scores"
    assert run(["audit", name, "--kernel", "rbf:gamma=0.5", "--input-shape", "16", "--out", str(tmp_path / "o")]) == 0
    results = json.loads((tmp_path / "o" / "results.json").read_text())
    assert results["queried"]["validated"] == 12


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("MODEL", "--kernel", "tophat"), "allowed are"),
        (("MODEL", "--kernel", "auto", "--input-shape", "3"), "takes 16 numbers"),
        (("tests.nowhere:scores", "--kernel", "rbf:gamma=1", "--input-shape", "3"), "did not load"),
        (("tests.nowhere:scores", "--kernel", "auto"), "is a callable"),
        (("OTHER", "--kernel", "auto"), "is a pickle"),
        (("MODEL", "--kernel", "auto", "--data", "digits"), "another data set"),
    ],
)
def test_bad_input_is_one_line(arguments, words, folder, tmp_path, capsys):
    paths = {"MODEL": str(folder / "ridge.safetensors"), "OTHER": str(folder / "train.npz")}
    status = run(["audit", *(paths.get(a, a) for a in arguments), "--out", str(tmp_path / "bad")])
    err = " ".join(capsys.readouterr().err.split())
    assert status == 2 and words in err


def test_other_estimators_are_refused(tmp_path):
    with pytest.raises(ValueError, match="not fitted"):
        save_kernel_model(SVC(), tmp_path / "m.safetensors")
    with pytest.raises(ValueError, match="KernelRidge, SVC"):
        save_kernel_model(object(), tmp_path / "m.safetensors")
