"""The demo convinces: three quarters of the digits, and no null comes near."""

import json

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
