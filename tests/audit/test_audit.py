"""The audit from end to end on a tiny network: files, resume, refusal, and nothing leaks into the attack."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from vestige.audit import weights as pipeline
from vestige.cli import run
from vestige.core.files import sha256_of
from vestige.nets.checkpoint import save_model
from vestige.nets.mlp import mlp
from vestige.runs.folder import RunFolder, RunState

FAST = ("--restarts", "2", "--n-candidates", "6")


@pytest.fixture
def few_steps(monkeypatch):
    """An attack in a moment: what is tested here is the command, not what it finds."""
    real = pipeline.reconstruct_from_weights

    def watched(model, input_shape, **options):
        watched.options = options
        return real(model, input_shape, **options, steps=50)

    monkeypatch.setattr(pipeline, "reconstruct_from_weights", watched)
    return watched


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A model that memorised six points of eight dimensions, its data, and data it never saw."""
    folder = tmp_path_factory.mktemp("audit")
    draw = np.random.default_rng(0)
    x, y = draw.uniform(size=(40, 1, 2, 4)), np.arange(40) % 2
    np.savez(folder / "train.npz", x=x[:6], y=y[:6])
    np.savez(folder / "other.npz", x=x[6:], y=y[6:])
    model = folder / "m.safetensors"
    with_default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        arguments = ["train", "--data", f"npz:{folder / 'train.npz'}", "--arch", "mlp:8-32-1", "--out", str(model)]
        assert run(arguments) == 0
    finally:
        torch.set_default_dtype(with_default)
    return folder


def audit(files, out, *more):
    data = ("--data", f"npz:{files / 'train.npz'}", "--held-out", f"npz:{files / 'other.npz'}")
    return run(["audit", str(files / "m.safetensors"), "--out", str(out), *FAST, *data, *more])


def test_audit_leaves_a_report_and_results(files, tmp_path, few_steps, capsys):
    assert audit(files, tmp_path / "r") == 0
    shown = capsys.readouterr().out
    results = json.loads((tmp_path / "r" / "results.json").read_text())
    assert results["verdict"] in shown and "held-out" in shown and "report.html" in shown
    assert results["score"]["n"] == 6 and len(results["score"]["similarity"]) == 6
    assert results["model"]["loss_source"] == "from the model file"
    at_truth = results["stationarity"]
    assert 0 <= at_truth["residual_clarke"] <= at_truth["residual"] + 1e-9
    assert set(at_truth["residual_clarke_per_layer"]) == set(at_truth["residual_per_layer"])
    robustness = results["robustness"]
    assert robustness["n"] == 34 and robustness["data"] == "held-out samples"
    assert 0 <= robustness["robust_accuracy"] <= robustness["clean_accuracy"] <= 1
    theory = robustness["theory"]
    assert theory["universal"]["radius"] > 0 and theory["universal"]["kkt_residual"] is not None
    assert theory["off_subspace"]["codimension"] == 3  # six centred samples in eight dimensions
    tensors = load_file(tmp_path / "r" / "samples.safetensors")
    assert tensors["truth"].shape == (6, 1, 2, 4) and tensors["samples"].shape[1:] == (1, 2, 4)
    page = (tmp_path / "r" / "report.html").read_text()
    assert "How easily is it fooled?" in page and "Why it is fooled" in page
    assert "<script" not in page and results["verdict"] in page.replace("&#39;", "'")
    assert RunFolder.read(tmp_path / "r").progress()


def test_the_attack_never_sees_the_data(files, tmp_path, few_steps):
    assert audit(files, tmp_path / "with") == 0
    assert not {"x", "y", "data", "x_true", "held_out"} & set(few_steps.options)
    with_data = load_file(tmp_path / "with" / "samples.safetensors")["samples"]
    assert run(["audit", str(files / "m.safetensors"), "--out", str(tmp_path / "without"), *FAST]) == 0
    assert torch.equal(with_data, load_file(tmp_path / "without" / "samples.safetensors")["samples"])


def test_a_finished_run_is_not_done_again(files, tmp_path, few_steps):
    assert audit(files, tmp_path / "r") == 0
    (tmp_path / "r" / "report.html").unlink()
    few_steps.options = None
    assert audit(files, tmp_path / "r") == 0
    assert few_steps.options is None and (tmp_path / "r" / "report.html").exists()


def test_another_seed_or_weight_or_row_is_refused(files, tmp_path, few_steps, capsys):
    assert audit(files, tmp_path / "r") == 0
    assert audit(files, tmp_path / "r", "--seed", "1") == 2
    assert "seed: 0 there, 1 now" in capsys.readouterr().err
    x, y = (np.load(files / "train.npz")[key] for key in ("x", "y"))
    x[0, 0, 0, 0] += 0.01
    np.savez(tmp_path / "changed.npz", x=x, y=y)
    again = ["audit", str(files / "m.safetensors"), "--out", str(tmp_path / "r"), *FAST]
    assert run([*again, "--data", f"npz:{tmp_path / 'changed.npz'}"]) == 2
    assert "data: " in capsys.readouterr().err


def test_the_model_file_is_left_alone(files, tmp_path, few_steps):
    before, state = sha256_of(files / "m.safetensors"), torch.get_rng_state()
    assert audit(files, tmp_path / "r") == 0
    assert sha256_of(files / "m.safetensors") == before and torch.equal(torch.get_rng_state(), state)


def test_another_range_is_told_to_the_attack_and_is_another_run(files, tmp_path, few_steps, capsys):
    arguments = ["reconstruct", str(files / "m.safetensors"), "--out", str(tmp_path / "r"), *FAST]
    assert run([*arguments, "--range", "-2", "2.5"]) == 0
    space = few_steps.options["space"]
    assert (space.low, space.high) == (-2.0, 2.5) and isinstance(space.mean, torch.Tensor)
    assert run(arguments) == 2
    assert "input_range: " in capsys.readouterr().err


def test_reconstruct_writes_samples_and_no_report(files, tmp_path, few_steps):
    assert run(["reconstruct", str(files / "m.safetensors"), "--out", str(tmp_path / "r"), *FAST]) == 0
    assert {p.name for p in (tmp_path / "r").iterdir()} >= {"manifest.json", "results.json", "samples.safetensors"}
    assert not (tmp_path / "r" / "report.html").exists()


def test_report_and_cite_from_the_folder(files, tmp_path, few_steps, capsys):
    assert audit(files, tmp_path / "r") == 0
    first = (tmp_path / "r" / "report.html").read_bytes()
    assert run(["report", str(tmp_path / "r")]) == 0
    assert (tmp_path / "r" / "report.html").read_bytes() == first
    capsys.readouterr()
    assert run(["cite", str(tmp_path / "r")]) == 0
    assert "eprint" in capsys.readouterr().out


def test_data_of_another_shape_is_refused(files, tmp_path, capsys):
    out = ["--out", str(tmp_path / "r"), *FAST]
    assert run(["audit", str(files / "m.safetensors"), "--data", "digits", *out]) == 2
    assert "1x8x8" in capsys.readouterr().err


def test_labels_out_of_range_are_refused(files, tmp_path, capsys):
    x = np.load(files / "train.npz")["x"]
    np.savez(tmp_path / "three.npz", x=x, y=np.arange(6) % 3)
    arguments = ["audit", str(files / "m.safetensors"), "--data", f"npz:{tmp_path / 'three.npz'}"]
    assert run([*arguments, "--out", str(tmp_path / "r"), *FAST]) == 2
    assert "label" in capsys.readouterr().err


def test_layers_outside_the_theory_are_audited_with_a_warning(tmp_path, capsys, monkeypatch):
    layers = "nn.Flatten(), nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1)"
    code = f"from torch import nn\ndef build():\n    return nn.Sequential({layers}).float()\n"
    (tmp_path / "own_code.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    save_model(importlib.import_module("own_code").build(), tmp_path / "bn.safetensors")
    arguments = ["audit", str(tmp_path / "bn.safetensors"), "--arch", "own_code:build", "--input-shape", "4"]
    assert run([*arguments, "--out", str(tmp_path / "r"), *FAST]) == 0
    shown = capsys.readouterr().out
    assert "BatchNorm1d" in shown and "claims fall" in shown
    assert json.loads((tmp_path / "r" / "results.json").read_text())["theory"]["homogeneous"] is False


@pytest.mark.parametrize("content", [b"<html>not found</html>", b"", b"\x80\x02}q\x00.", b"\x08\0\0\0\0\0\0\0{"])
def test_files_that_are_no_weights(content, tmp_path, capsys):
    (tmp_path / "m.safetensors").write_bytes(content)
    assert run(["audit", str(tmp_path / "m.safetensors"), "--out", str(tmp_path / "r")]) == 2
    assert capsys.readouterr().err.startswith("error: ") and not (tmp_path / "r").exists()


def test_nan_weights(tmp_path, capsys):
    model = mlp((4, 3, 1), dtype=torch.float32)
    state = {k: v.detach().clone() for k, v in model.state_dict().items()}
    next(iter(state.values()))[0, 0] = float("nan")
    save_file(state, tmp_path / "m.safetensors")
    assert run(["audit", str(tmp_path / "m.safetensors"), "--out", str(tmp_path / "r")]) == 2
    assert "NaN" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals; run it on Linux or macOS")
@pytest.mark.slow
def test_killed_and_resumed_equals_undisturbed(files, tmp_path):
    model = str(files / "m.safetensors")

    def start(out):
        command = [sys.executable, "-m", "vestige", "audit", model, "--out", str(out), *FAST]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    whole = start(tmp_path / "whole")
    assert whole.communicate(timeout=300) and whole.returncode == 0
    broken = tmp_path / "broken"
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        process, begun = start(broken), time.monotonic()
        seen = len(RunFolder.read(broken).progress()) if (broken / "manifest.json").exists() else 0
        while process.poll() is None and time.monotonic() - begun < 120:
            if (broken / "manifest.json").exists() and len(RunFolder.read(broken).progress()) > seen:
                break
            time.sleep(0.01)
        process.send_signal(number)
        process.communicate(timeout=120)
    last = start(broken)
    assert last.communicate(timeout=300) and last.returncode == 0
    assert RunFolder.read(broken).state is RunState.FINISHED
    first, second = (load_file(folder / "samples.safetensors") for folder in (tmp_path / "whole", broken))
    assert all(torch.equal(first[key], second[key]) for key in first)
