"""Every command on files that were made to harm or were not meant for it: one line, and nothing that runs or grows."""

import os
import pickle
import resource
import zipfile

import numpy as np
import pytest
import torch
from corpus import FILES, Touch
from counting import counted
from safetensors.torch import save_file

from vestige.cli import run

WEIGHTS = {"1.weight": torch.ones(5, 4), "1.bias": torch.ones(5), "3.weight": torch.ones(3, 5)}


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "m.safetensors"
    torch.manual_seed(0)
    state = {name: torch.randn(t.shape, dtype=torch.float32) for name, t in WEIGHTS.items()}
    save_file(state, path, {"architecture": "mlp:4-5-3", "space": '{"low": 0, "high": 1}', "loss": "cross_entropy"})
    return path


def weights(path, factor=1.0, **metadata):
    save_file(
        {name: factor * t.float() for name, t in WEIGHTS.items()}, path, {"architecture": "mlp:4-5-3", **metadata}
    )


MODELS = {
    "a shape of gigabytes": (lambda p: weights(p, input_shape="[9999, 40000]"), "399,960,000 numbers"),
    "zeros": (lambda p: weights(p, 0.0), "zero, so that they hold nothing"),
    "almost zeros": (lambda p: weights(p, 1e-42), "zero, so that they hold nothing"),
    "diverged": (lambda p: weights(p, 1e30), "diverged"),
    "a pickle": (lambda p: p.write_bytes(pickle.dumps(Touch(p.with_name("touched")))), "pickle"),
    "control characters": (lambda p: weights(p, architecture="\x1b[2Jmlp:4"), "architecture"),
    "code": (lambda p: weights(p, architecture="os:getcwd"), "never imported"),
    "code in a file": (lambda p: weights(p, architecture="./x.py:run"), "never imported"),
    "a page": (lambda p: p.write_text("<html>not found</html>"), "web page"),
    "nothing": (lambda p: None, "not there"),
    "a folder": (lambda p: p.mkdir(), "a folder"),
    "a folder of weights": (lambda p: [p.mkdir(), weights(p / "inside.safetensors")], "holds inside.safetensors"),
}
VERBS = {
    "audit": lambda m, out: ["audit", m, "--data", "digits", "--out", out],
    "reconstruct": lambda m, out: ["reconstruct", m, "--out", out],
    "attack": lambda m, out: ["attack", m, "--out", out],
    "membership": lambda m, out: ["membership", m, "--data", "digits", "--out", out],
    "unlearn": lambda m, out: ["unlearn", m, "--data", "digits", "--forget", "1", "--out", out],
    "kernel": lambda m, out: ["audit", m, "--kernel", "auto", "--out", out],
    "verify": lambda m, out: ["verify", m],
    "rank": lambda m, out: ["rank", m],
    "narrow": lambda m, out: ["construct", "narrow", m, "--out", f"{out}.safetensors"],
    "prune": lambda m, out: ["construct", "prune", m, "--out", f"{out}.safetensors"],
}
READ_OTHERWISE = (
    "kernel",
    "verify",
    "rank",
    "narrow",
    "prune",
)  # what is refused there may be refused for another reason


SMALL = ("zeros", "almost zeros", "diverged", "a shape of gigabytes")


@pytest.fixture(scope="module", autouse=True)
def imported(tmp_path_factory):
    """Every verb has run once, so that what it imports counts for no case."""
    path = tmp_path_factory.mktemp("warm") / "m.safetensors"
    path.write_bytes(FILES["overlap"][0])
    for line in VERBS.values():
        run([str(part) for part in line(path, path.parent / "out")])


def memory():
    """The most that this process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def refused(line, capsys, said=""):
    held = memory()
    with counted() as calls:
        status = run([str(part) for part in line])
    error = capsys.readouterr().err
    assert status == 2, error
    assert error.startswith("error: ") and "Traceback" not in error and "\x1b" not in error
    assert "weights_only" not in error and said in " ".join(error.split())
    assert memory() - held < 2**27 and calls() < 1_000_000


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("case", MODELS)
def test_a_model_is_refused_in_one_line_by_every_verb(case, verb, tmp_path, capsys):
    make, said = MODELS[case]
    path = tmp_path / "strange.safetensors"
    make(path)
    if verb in READ_OTHERWISE and case in SMALL:
        return  # no faults of a network that is rewritten or looked at
    refused(VERBS[verb](path, tmp_path / "out"), capsys, "" if verb in READ_OTHERWISE else said)
    assert not (tmp_path / "touched").exists() and not (tmp_path / "out" / "results.json").exists()


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("case", FILES)
def test_no_bytes_get_further_than_one_line(case, verb, tmp_path, capsys):
    path = tmp_path / "strange.safetensors"
    path.write_bytes(FILES[case][0])
    refused(VERBS[verb](path, tmp_path / "out"), capsys)
    assert [p.name for p in tmp_path.iterdir()] == ["strange.safetensors"]


SPECIAL = {
    "pipe": lambda p: os.mkfifo(p),
    "device": lambda p: p.symlink_to("/dev/zero"),
    "loop": lambda p: p.symlink_to(p),
    "dangling": lambda p: p.symlink_to(p.with_name("nowhere")),
    "sparse": lambda p: sparse(p, 9 * 2**30),
}


def sparse(path, size):
    with path.open("wb") as file:
        file.truncate(size)


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX files; run it on Linux or macOS")
@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("verb", [*VERBS, "convert", "report", "data", "csv"])
def test_what_is_no_plain_file_is_not_opened(kind, verb, model, tmp_path, capsys):
    path = tmp_path / "strange.safetensors"
    SPECIAL[kind](path)
    lines = {
        "convert": ["convert", path, tmp_path / "o.safetensors"],
        "report": ["report", path],
        "data": ["attack", model, "--data", f"npz:{path}"],
        "csv": ["attack", model, "--data", f"csv:{path}"],
    }
    refused(lines[verb] if verb in lines else VERBS[verb](path, tmp_path / "out"), capsys)


def archived(path, **arrays):
    np.savez(path, **arrays)


DATA = {
    "an identifier as a label": (lambda p: archived(p, x=np.zeros((4, 4)), y=[0, 1, 2, 10**12]), "1,000,000,000,000"),
    "many classes": (lambda p: archived(p, x=np.zeros((4, 4)), y=[0, 1, 2, 200_000_000]), "200,000,000"),
    "labels from 1": (lambda p: archived(p, x=np.zeros((4, 4)), y=[1, 2, 3, 3]), "Counted from 1?"),
    "another range": (lambda p: archived(p, x=np.full((4, 4), -1.0), y=[0, 1, 2, 2]), "allowed is [0, 1]"),
    "digits as bytes": (lambda p: archived(p, x=np.full((4, 2, 2), 16, np.uint8), y=[0, 1, 2, 2]), "--range 0 16"),
    "objects": (lambda p: archived(p, x=np.array([{}]), y=[0]), "objects"),
    "no arrays of these names": (lambda p: archived(p, image=np.zeros((4, 4))), "holds image"),
    "another size": (lambda p: archived(p, x=np.zeros((4, 9)), y=[0, 1, 2, 2]), "another data set?"),
    "not a number": (lambda p: archived(p, x=np.full((4, 4), np.nan), y=[0, 1, 2, 2]), "NaN"),
    "random bytes": (lambda p: p.write_bytes(bytes(range(256))), "cannot be read"),
    "nothing": (lambda p: None, "is not there"),
}


@pytest.mark.parametrize("verb", ["audit", "attack", "unlearn"])
@pytest.mark.parametrize("case", DATA)
def test_data_are_refused_in_one_line_by_every_verb(case, verb, model, tmp_path, capsys):
    make, said = DATA[case]
    path = tmp_path / "d.npz"
    make(path)
    line = [f"npz:{path}" if part == "digits" else part for part in VERBS[verb](model, tmp_path / "out")]
    line += [] if "--data" in line else ["--data", f"npz:{path}"]
    refused(line, capsys, said)


def test_a_member_that_claims_more_than_it_holds_is_not_allocated(model, tmp_path, capsys):
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        for name in "xy":
            with archive.open(f"{name}.npy", "w") as file:
                header = {"descr": "|u1", "fortran_order": False, "shape": (2**40,)}
                np.lib.format.write_array_header_1_0(file, header)
    refused(["attack", model, "--data", f"npz:{tmp_path / 'd.npz'}"], capsys, "claims")


@pytest.mark.parametrize("kind", ["claims", "complex"])
def test_a_file_of_means_is_checked_before_it_is_read(kind, model, tmp_path, capsys):
    path = tmp_path / "mean.npy"
    if kind == "complex":
        np.save(path, np.ones(4) * 1j)
    else:
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (2**40,)})
    refused(["attack", model, "--mean", path], capsys, "it claims" if kind == "claims" else "complex")


@pytest.mark.parametrize(
    "line",
    [
        ["reconstruct", "m.safetensors", "--n-candidates", "1000000000"],
        ["reconstruct", "m.safetensors", "--restarts", "1000000000000000000000"],
        ["audit", "m.safetensors", "--threads", "100000"],
        ["audit", "m.safetensors", "--mean", "half"],
        ["audit", "m.safetensors", "--std", "0"],
        ["audit", "m.safetensors", "--mean", "0.1,0.2,0.3"],
        ["audit", "m.safetensors", "--data", "imagenet"],
        ["convert", "m.safetensors", "n.safetensors", "--key", "ema"],
    ],
)
def test_options_that_cannot_be_are_refused(line, model, monkeypatch, capsys):
    monkeypatch.chdir(model.parent)
    refused(line, capsys)


def test_a_class_that_is_absent_is_no_mistake(model, tmp_path):
    x = np.random.default_rng(0).random((8, 4))
    np.savez(tmp_path / "d.npz", x=x, y=np.arange(8) % 2)
    line = ["attack", str(model), "--data", f"npz:{tmp_path / 'd.npz'}", "--eps", "0.1", "--out", str(tmp_path / "out")]
    assert run(line) == 0 and (tmp_path / "out" / "report.html").is_file()
