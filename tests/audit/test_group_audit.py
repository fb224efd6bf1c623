"""`--group` from training to the score modulo the group, and its mistakes."""

import json

import pytest
import torch

from vestige.cli.app import run
from vestige.nets.architecture import parse_architecture
from vestige.nets.checkpoint import load_model, save_model
from vestige.nets.groups import Rotations


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "m.safetensors"
    net = parse_architecture("c4@1x8x8:mlp:64-20-10", dtype=torch.float32)
    save_model(net, path, metadata={"input_shape": "[1, 8, 8]", "loss": "cross_entropy"})
    return path


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--group", "c5"], "are known"),
        (["--group", "d4"], "not invariant to d4"),
        (["--group", "shifts:3"], "does not act"),
        (["--group", "set:4"], "does not act"),
        (["--group", "c4", "--backbone", "minilm"], "Give one of them"),
    ],
)
def test_mistakes_are_one_line(options, words, model, capsys):
    assert run(["audit", str(model), *options]) == 2
    assert words in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_trained_audited_and_scored_modulo_the_group(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.set_default_dtype(torch.float32)  # as the command has it
    assert run(["train", "--data", "digits", "--n", "10", "--group", "c4", "--out", "m.safetensors"]) == 0
    loaded = load_model("m.safetensors")
    assert loaded.architecture == "c4@1x8x8:mlp:64-1000-10"
    mean = loaded.tensors["mean"]
    torch.testing.assert_close(Rotations().project(mean[None])[0], mean)
    how = ["--group", "c4", "--restarts", "1", "--n-candidates", "10", "--out", "run"]
    assert run(["audit", "m.safetensors", *how, "--data", "digits"]) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["score"]["metric"] == "NCC modulo c4"
    assert "symmetrised noise" in {null["name"] for null in results["score"]["nulls"]}
    assert (tmp_path / "run" / "report.html").exists()
