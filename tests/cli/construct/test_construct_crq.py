"""`vestige construct crq`: three solvers, their files, and mistakes."""

import pytest

from vestige.cli import run


@pytest.mark.parametrize(
    ("solver", "said"), [("deep", "label+answer"), ("chain", "layer 1, head 0"), ("rnn", "a stack of 3 slots")]
)
def test_a_solver_is_written_and_verified(tmp_path, capsys, solver, said):
    out = str(tmp_path / "solver.safetensors")
    assert run(["construct", "crq", "--nodes", "7", "--solver", solver, "--out", out]) == 0
    found = capsys.readouterr().out
    assert (said in found or solver == "deep") and "all" in found and "FAILS" not in found
    assert run(["verify", out]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--solver", "guess"], "given for Solver; allowed are"),
        (["--height", "0"], "--height 0 given"),
        (["--nodes", "0"], "at least 1"),
    ],
)
def test_mistakes_are_one_line(tmp_path, capsys, options, message):
    out = str(tmp_path / "solver.safetensors")
    assert run(["construct", "crq", "--nodes", "7", "--out", out, *options]) == 2
    said = capsys.readouterr().err
    assert message in said.replace("\n", " ") and "Traceback" not in said
