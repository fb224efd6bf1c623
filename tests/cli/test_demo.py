"""The demo convinces: three quarters of the digits, and no null comes near."""

import json
from importlib import import_module
from pathlib import Path

import pytest
import torch

from vestige.cli import run


@pytest.mark.slow
def test_demo_recovers_three_quarters(tmp_path, capsys):
    torch.set_default_dtype(torch.float32)  # as the command runs for a user
    assert run(["demo", "--out", str(tmp_path / "demo")]) == 0
    results = json.loads((tmp_path / "demo" / "audit" / "results.json").read_text())
    assert results["score"]["n_recovered"] >= 15
    assert all((null["n_recovered"] or 0) <= 1 for null in results["score"]["nulls"])
    assert "digits deleted" in capsys.readouterr().out
    assert (tmp_path / "demo" / "model.safetensors").exists()
    assert run(["demo", "--out", str(tmp_path / "demo")]) == 0  # trains the same weights, so it goes on in the folder


@pytest.mark.slow
def test_the_mean_is_what_a_bare_file_lacks(tmp_path, monkeypatch):
    """The metadata are stripped: without the mean the data do not fit, with it nearly everything comes back."""
    torch.set_default_dtype(torch.float32)
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    stranger = import_module("stranger")
    weights = tmp_path / "m.safetensors"
    assert run(["train", "--n", "20", "--out", str(weights)]) == 0
    found = stranger.audits(weights, "digits", restarts=None, steps=None)
    assert found["with"].score.n_recovered >= 15 and found["with"].level == "leaks"
    without = found["without"]
    assert without.score.n_recovered == 0 and "Inconclusive" in without.verdict and "--mean" in without.verdict
