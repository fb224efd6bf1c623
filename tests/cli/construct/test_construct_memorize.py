"""`vestige construct memorize`: from data to a file that `vestige verify` accepts."""

import pytest

from vestige.cli import run


def read(folder):
    return (folder / "run" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "options",
    [[], ["--random-labels", "--strategy", "bits"], ["--strategy", "depth", "--depth", "60"], ["--strategy", "wide"]],
    ids=lambda options: " ".join(options) or "defaults",
)
def test_what_is_written_verifies(options, tmp_path, capsys):
    path = str(tmp_path / "net.safetensors")
    line = ["construct", "memorize", "--data", "digits", "--n", "60", *options, "--out", path]
    assert run([*line, "--report", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert said.startswith("60 points:") and "claims hold" in said and "FAILS" not in said
    assert f"wrote {path}" in said.replace("\n", "") and "claims of its maker hold" in read(tmp_path)
    assert run(["verify", path]) == 0
    assert "claims hold" in capsys.readouterr().out


def test_mistakes_are_one_line(tmp_path, capsys):
    path = str(tmp_path / "net.safetensors")
    start = ["construct", "memorize", "--data", "digits", "--n", "60", "--out", path]
    assert run([*start, "--strategy", "depth", "--depth", "5"]) == 2
    assert "layers. Give --depth " in capsys.readouterr().err
    assert run([*start, "--strategy", "bits", "--bits", "5"]) == 2
    assert "bits are needed" in capsys.readouterr().err
    assert not (tmp_path / "net.safetensors").exists()
