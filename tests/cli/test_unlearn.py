"""`vestige unlearn` from end to end on a tiny network: files, metadata, resume, refusals, the audit's offer."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from vestige.audit import weights as pipeline
from vestige.audit.summary import offer
from vestige.audit.unlearning import _picked
from vestige.cli import run
from vestige.nets.checkpoint import load_model

FAST = ("--restarts", "1", "--n-candidates", "6", "--repair", "20")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model that memorised six points of twelve dimensions, and its data."""
    tmp_path, before = tmp_path_factory.mktemp("unlearn"), torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    draw = np.random.default_rng(0)
    x, y = draw.uniform(size=(40, 1, 3, 4)), np.arange(40) % 2
    np.savez(tmp_path / "train.npz", x=x[:6], y=y[:6])
    np.savez(tmp_path / "other.npz", x=x[6:], y=y[6:])
    train = ["train", "--data", f"npz:{tmp_path / 'train.npz'}", "--arch", "mlp:12-32-1"]
    assert run([*train, "--out", str(tmp_path / "m.safetensors")]) == 0
    torch.set_default_dtype(before)
    return tmp_path


@pytest.fixture
def files(trained, tmp_path, monkeypatch):
    """The same with an attack of a moment and a folder of their own."""
    torch.set_default_dtype(torch.float32)
    for path in trained.iterdir():
        shutil.copy(path, tmp_path)
    real = pipeline.reconstruct_from_weights
    monkeypatch.setattr(pipeline, "reconstruct_from_weights", lambda *a, **k: real(*a, **k, steps=30))
    return tmp_path


def unlearn(files, forget, *more):
    data = ("--data", f"npz:{files / 'train.npz'}", "--held-out", f"npz:{files / 'other.npz'}")
    where = ("--out", str(files / "run"))
    return run(["unlearn", str(files / "m.safetensors"), *data, "--forget", forget, *where, *FAST, *more])


def test_positions_are_forgotten_and_the_new_weights_say_so(files, capsys):
    assert unlearn(files, "1,4") == 0
    shown, results = capsys.readouterr().out, json.loads((files / "run" / "results.json").read_text())
    assert results["forgotten"] == [1, 4] and results["n_kept"] == 4 and results["outcome"] == "erased"
    assert results["verdict"] in shown and set(results["attacks"]) == {"before", "after", "retrained"}
    compared = results["evaluation"]["compared"]
    assert compared["retain_accuracy"]["unlearned"] == 1
    assert compared["forget_margin"]["unlearned"] < 0.5 < compared["forget_margin"]["untouched"]
    assert results["certificate"]["provable"] is False and results["heuristic"]
    with safe_open(files / "run" / "model.safetensors", framework="pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["forgotten"]) == [1, 4] and metadata["unlearned_from"] == results["model"]["sha256"]
    new, old = (load_model(path) for path in (files / "run" / "model.safetensors", files / "m.safetensors"))
    assert new.input_shape == old.input_shape and torch.equal(new.tensors["mean"], old.tensors["mean"])
    assert not torch.equal(next(new.model.parameters()), next(old.model.parameters()))
    assert load_file(files / "run" / "samples.safetensors")["truth"].shape == (6, 1, 3, 4)
    page = (files / "run" / "report.html").read_text()
    assert "<script" not in page and page.count("data:image/png") >= 6 and "retrained" in page


def test_it_resumes_and_refuses_another_request_in_the_same_folder(files, capsys):
    assert unlearn(files, "0") == 0
    first = (files / "run" / "results.json").read_bytes()
    assert unlearn(files, "0") == 0 and run(["report", str(files / "run")]) == 0
    assert (files / "run" / "results.json").read_bytes() == first
    assert unlearn(files, "1") == 2
    assert "another configuration" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("forget", "message"),
    [
        ("0,1,2,3,4,5", "names all 6"),
        ("9", "0 to 5"),
        ("some", "leaked:5"),
        ("leaked:0", "leaked:5"),
        ("-1", "leaked:5"),
    ],
)
def test_mistakes_are_one_line(files, capsys, forget, message):
    assert unlearn(files, forget) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_those_that_leak_most_are_picked():
    similarity, recovered = torch.tensor([0.9, 0.2, 0.95, 0.8]), torch.tensor([True, False, True, True])
    assert _picked("leaked", similarity, recovered).tolist() == [0, 2, 3]
    assert _picked("leaked:2", similarity, recovered).tolist() == [0, 2]
    assert _picked("3,1,3", similarity, recovered).tolist() == [1, 3]
    with pytest.raises(ValueError, match="no sample leaks"):
        _picked("leaked", similarity, ~recovered & recovered)
    with pytest.raises(ValueError, match="leaked:1 takes"):
        _picked("leaked", similarity, recovered | ~recovered)


@pytest.mark.parametrize(
    ("recovered", "command"),
    [
        (3, "vestige unlearn 'm y.safetensors' --data ... --forget leaked"),
        (8, "vestige unlearn 'm y.safetensors' --data ... --forget leaked:2"),
        (0, None),
    ],
)
def test_the_audit_offers_it_where_something_leaked(recovered, command):
    assert offer("m y.safetensors", torch.arange(8) < recovered) == command


def test_the_offer_of_an_audit_stands_on_the_terminal_in_the_results_and_on_the_page(files, monkeypatch, capsys):
    real = pipeline.compare

    def leaky(*args, **options):
        score = real(*args, **options)
        return replace(score, recovered=torch.arange(6) < 2)

    arguments = ["audit", str(files / "m.safetensors"), "--data", f"npz:{files / 'train.npz'}", *FAST[:4]]
    assert run([*arguments, "--out", str(files / "nothing")]) == 0
    assert json.loads((files / "nothing" / "results.json").read_text())["unlearn"] is None
    assert "vestige unlearn" not in capsys.readouterr().out + (files / "nothing" / "report.html").read_text()
    monkeypatch.setattr(pipeline, "compare", leaky)
    assert run([*arguments, "--out", str(files / "some")]) == 0
    command = json.loads((files / "some" / "results.json").read_text())["unlearn"]
    assert command == "vestige unlearn m.safetensors --data ... --forget leaked"
    assert f"To take them out: {command}" in capsys.readouterr().out
    assert f"<code>{command}</code>" in (files / "some" / "report.html").read_text()


@pytest.mark.slow
def test_the_forgotten_sample_of_a_real_digit_network_is_gone(tmp_path, capsys):
    torch.set_default_dtype(torch.float32)
    model = str(tmp_path / "m.safetensors")
    assert run(["train", "--n", "20", "--out", model]) == 0
    assert run(["unlearn", model, "--data", "digits", "--forget", "leaked:3", "--out", str(tmp_path / "run")]) == 0
    attacks = json.loads((tmp_path / "run" / "results.json").read_text())["attacks"]
    assert (
        attacks["before"]["forgotten"] == 3 and attacks["after"]["forgotten"] == attacks["retrained"]["forgotten"] == 0
    )
    assert attacks["after"]["kept"] >= 12 and attacks["retrained"]["kept"] >= 12
    assert "recovered 3 before and 0 after" in capsys.readouterr().out
