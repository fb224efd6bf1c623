"""`vestige construct recall`: file, certificate, facts of one's own, and mistakes."""

import pytest

from vestige.cli import run


@pytest.mark.parametrize("options", [[], ["--hops", "2", "--method", "chain"], ["--disjoint"], ["--dim", "90"]])
def test_a_network_is_written_and_verified(tmp_path, capsys, options):
    out = str(tmp_path / "recall.safetensors")
    assert run(["construct", "recall", "--entities", "20", "--relations", "2", *options, "--out", out]) == 0
    found = capsys.readouterr().out
    assert "claims hold" in found and "FAILS" not in found and "value relation -> hop 0" in found
    assert run(["verify", out]) == 0


def test_facts_of_ones_own(tmp_path, capsys):
    (tmp_path / "facts.csv").write_text("1,0\n0,0\n")
    out = str(tmp_path / "recall.safetensors")
    assert run(["construct", "recall", "--facts", str(tmp_path / "facts.csv"), "--out", out]) == 0
    assert "the same attribute under relation 1" in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--hops", "0"], "--hops 0 given"),
        (["--method", "guess"], "'guess' given; allowed are"),
        (["--entities", "1"], "at least 2 entities"),
        (["--facts", "no.csv"], "no.csv"),
    ],
)
def test_mistakes_are_one_line(tmp_path, capsys, options, message):
    out = str(tmp_path / "recall.safetensors")
    assert run(["construct", "recall", "--out", out, *options]) == 2
    said = capsys.readouterr().err
    assert message in said.replace("\n", " ") and "Traceback" not in said
