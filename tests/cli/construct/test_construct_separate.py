"""`vestige construct separate`: a table with one-sided verdicts, and targets that are refused by name."""

import pytest

from vestige.cli import run


def test_verdicts_are_told(capsys):
    assert run(["construct", "separate", "sawtooth:8", "neuron:6", "--steps", "0", "--restarts", "1"]) == 0
    printed = capsys.readouterr().out
    assert "sawtooth 8: no weak signal" in printed
    assert "neuron 6: something shows" in printed and "does not follow" in printed


@pytest.mark.parametrize(
    "text", ["wave:4", "parity:5", "parity:6:2", "staircase:6:3", "inner:3", "inner:3:1", "ball:3"]
)
def test_every_kind_is_read(text, capsys):
    assert run(["construct", "separate", text, "--steps", "0", "--restarts", "1", "--samples", "64"]) == 0
    assert "verdict" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["sawtooth", "saw:3", "parity:x", "parity:-3", "ball:3:4:5", "neuron:99999999"])
def test_other_targets_are_refused(text, capsys):
    assert run(["construct", "separate", text]) == 2
    assert "allowed are sawtooth:DEPTH" in capsys.readouterr().err


def test_a_depth_of_zero_is_refused(capsys):
    assert run(["construct", "separate", "sawtooth:0"]) == 2
    assert "depth=0 given" in capsys.readouterr().err
