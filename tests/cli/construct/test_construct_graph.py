"""`vestige construct graph`: files of each task, and mistakes."""

import pytest

from vestige.cli import run


@pytest.mark.parametrize(
    ("nodes", "options"),
    [
        ("6", []),
        ("6", ["--task", "squares"]),
        ("6", ["--task", "connectivity"]),
        ("6", ["--task", "cycles"]),
        ("5", ["--task", "power", "--power", "2"]),
        ("6", ["--task", "two-cycles"]),
        ("8", ["--task", "copies"]),
    ],
)
def test_a_network_for_each_task(tmp_path, capsys, nodes, options):
    out = str(tmp_path / "graph.safetensors")
    assert run(["construct", "graph", "--nodes", nodes, *options, "--out", out]) == 0
    found = capsys.readouterr().out
    assert "claims hold" in found and "FAILS" not in found and "layer 0" in found
    assert run(["verify", out]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--task", "guess"], "given for GraphTask; allowed are"),
        (["--nodes", "2"], "at least 3"),
        (["--task", "copies", "--pattern", "0-1-2"], "edges between nodes from 0 on"),
        (["--task", "copies", "--pattern", "0--1"], "edges between nodes from 0 on"),
        (["--task", "copies"], "a 3-th power is needed"),
    ],
)
def test_mistakes_are_one_line(tmp_path, capsys, options, message):
    out = str(tmp_path / "graph.safetensors")
    assert run(["construct", "graph", "--nodes", "6", "--out", out, *options]) == 2
    said = capsys.readouterr().err
    assert message in said.replace("\n", " ") and "Traceback" not in said
