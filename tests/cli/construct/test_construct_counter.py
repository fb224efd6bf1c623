"""`vestige construct counter`: file, certificate, and mistakes."""

import pytest
import torch

from vestige.cli import run
from vestige.construct.file.saved import load


@pytest.mark.parametrize("options", [["--dim", "8"], ["--dim", "4"], ["--most-frequent", "--dim", "4"]])
def test_a_counter_is_written_and_verified(tmp_path, capsys, options):
    out = str(tmp_path / "counter.safetensors")
    assert run(["construct", "counter", "--vocab", "8", "--length", "12", *options, "--out", out]) == 0
    said = capsys.readouterr().out
    assert "layer 0, head 0: query" in said and "float32 100.0%" in said and "FAILS" not in said
    assert load(out).network(torch.tensor([[3, 1, 3, 3]])).round() == 3
    assert run(["verify", out]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dim", "4", "--method", "histogram"], "a histogram needs dim >= 8"),
        (["--dtype", "float8"], "allowed are float64, float32"),
        (["--length", "3000", "--dtype", "bfloat16"], "bits of mantissa are needed"),
        (["--method", "guess"], "'guess' given; allowed are"),
    ],
)
def test_mistakes_are_one_line(tmp_path, capsys, options, message):
    out = tmp_path / "counter.safetensors"
    assert run(["construct", "counter", "--vocab", "8", "--length", "12", "--out", str(out), *options]) == 2
    said = capsys.readouterr().err
    assert message in said.replace("\n", " ") and "Traceback" not in said
    assert not out.exists()
