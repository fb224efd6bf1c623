"""`vestige construct robust`: file, certificate, and mistakes."""

import numpy as np
import pytest

from vestige.cli import run
from vestige.construct.file.saved import load


@pytest.fixture
def points(tmp_path):
    """Six points of two classes, as an npz file."""
    draw = np.random.default_rng(0)
    np.savez(tmp_path / "points.npz", x=draw.random((6, 4)), y=np.arange(6) % 2)
    return f"npz:{tmp_path / 'points.npz'}"


def test_a_network_is_written_and_verified(points, tmp_path, capsys):
    out = str(tmp_path / "net.safetensors")
    assert run(["construct", "robust", "--data", points, "--width", "5", "--norm", "inf", "--out", out]) == 0
    said = capsys.readouterr().out
    assert "6 samples keep their label within l_inf radius" in said and "Width 5" in said
    assert "holds  radius" in said and "FAILS" not in said
    assert load(out).verify().holds
    assert run(["verify", out]) == 0


def test_equal_seeds_write_equal_files(points, tmp_path, capsys):
    files = [tmp_path / f"{k}.safetensors" for k in range(3)]
    for file, seed in zip(files, "001", strict=True):
        options = ["--n", "4", "--width", "5", "--seed", seed, "--out", str(file)]
        assert run(["construct", "robust", "--data", points, *options]) == 0
    first, second, third = (file.read_bytes() for file in files)
    assert first == second != third


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--eps", "9"], "is allowed for any function"),
        (["--eps", "wide"], "Invalid value for '--eps'"),
        (["--width", "3"], "4 to 7 are allowed"),
        (["--norm", "two"], "from 1 to inf"),
        (["--projection", "magic"], "'magic' given; allowed are"),
    ],
)
def test_mistakes_are_one_line(points, tmp_path, capsys, options, message):
    out = tmp_path / "net.safetensors"
    assert run(["construct", "robust", "--data", points, "--out", str(out), *options]) == 2
    said = capsys.readouterr().err
    assert message in said.replace("\n", " ") and "Traceback" not in said
    assert not out.exists()
