"""`vestige landscape` and `vestige overfit` on the terminal."""

import pytest

from vestige.cli import run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["landscape", "neuron", "--dimension", "3", "--restarts", "4", "--steps", "100"], "4 of 4 starts learn"),
        (["landscape", "teacher", "--k", "3", "--restarts", "3", "--steps", "1000"], "0 of 3 runs"),
        (["overfit", "--fit", "nearest_neighbor", "--noise", "0.2,0.4", "--sizes", "40", "--repeats", "2"], "at d = 1"),
    ],
)
def test_a_verdict_tables_and_a_report(arguments, said, tmp_path, capsys):
    assert run([*arguments, "--out", str(tmp_path / "run")]) == 0
    assert said in capsys.readouterr().out and (tmp_path / "run" / "report.html").is_file()
    assert run(["report", str(tmp_path / "run")]) == 0


def test_mistakes_are_one_line(tmp_path, capsys):
    assert run(["overfit", "--noise", "much", "--out", str(tmp_path / "a")]) == 2
    assert "numbers with commas" in capsys.readouterr().err
    assert run(["landscape", "neuron", "--inputs", "cube", "--out", str(tmp_path / "b")]) == 2
