"""`vestige construct narrow`: from a model file to a file that `vestige verify` accepts."""

import pytest
import torch

from vestige.cli import run
from vestige.nets.checkpoint import save_model
from vestige.nets.fully_connected import mlp


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(mlp([2, 11, 1], dtype=torch.float32), path)
    return str(path)


@pytest.mark.parametrize(
    "options",
    [["--exact"], ["--radius", "1", "--tolerance", "0.1"], ["--radius", "1", "--width", "d+2", "--delta", "0.1"]],
    ids=" ".join,
)
def test_what_is_written_verifies(model, options, tmp_path, capsys):
    path = str(tmp_path / "narrow.safetensors")
    assert run(["construct", "narrow", model, *options, "--out", path]) == 0
    said = capsys.readouterr().out
    assert "given: width 11, 2 layers" in said and "claims hold" in said and "FAILS" not in said
    assert f"wrote {path}" in said.replace("\n", "")
    assert run(["verify", path]) == 0
    assert "claims hold" in capsys.readouterr().out


def test_mistakes_are_one_line(model, tmp_path, capsys):
    path = str(tmp_path / "narrow.safetensors")
    assert run(["construct", "narrow", model, "--out", path]) == 2
    assert "no radius given" in capsys.readouterr().err
    assert run(["construct", "narrow", model, "--exact", "--max-depth", "5", "--out", path]) == 2
    assert "12 layers of weights" in capsys.readouterr().err
    assert not (tmp_path / "narrow.safetensors").exists()
