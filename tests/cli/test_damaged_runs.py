"""A run folder that a disk fault or a hand has damaged: each command goes on, or names the file and what to do."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file

from vestige.cli import run
from vestige.runs.folder import RunError, RunFolder


def other_keys(path):
    path.write_bytes(b'{"something": "else"}' if path.suffix == ".json" else save({"else": torch.zeros(2)}))


def pipe(path):
    path.unlink()
    os.mkfifo(path)


DAMAGES = {
    "a pipe": pipe,
    "deep": lambda path: path.write_bytes(b"[" * 100_000),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "empty": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
    "other keys": other_keys,
    "a list": lambda path: path.write_bytes(b"[1, 2]"),
}
FILES = ("manifest.json", "results.json", "adversarial.safetensors", "progress.jsonl")


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    """The folder of a finished attack, and the command that made it."""
    folder = tmp_path_factory.mktemp("runs")
    torch.manual_seed(0)
    state = {"0.weight": torch.randn(5, 4), "0.bias": torch.randn(5), "2.weight": torch.randn(3, 5)}
    save_file({name: t.float() for name, t in state.items()}, folder / "m.safetensors", {"architecture": "mlp:4-5-3"})
    np.savez(folder / "d.npz", x=np.random.default_rng(0).random((8, 4)), y=np.arange(8) % 3)
    line = ["attack", str(folder / "m.safetensors"), "--data", f"npz:{folder / 'd.npz'}", "--eps", "0.1", "--range"]
    line += ["0", "1", "--out"]
    assert run([*line, str(folder / "whole")]) == 0
    return folder / "whole", line


@pytest.fixture
def copy(attacked, tmp_path):
    whole, line = attacked
    shutil.copytree(whole, tmp_path / "r")
    return tmp_path / "r", [*line, str(tmp_path / "r")]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("case", DAMAGES)
def test_a_damaged_file_is_named_or_does_not_matter(case, file, copy, capsys):
    folder, line = copy
    if not (folder / file).exists():
        (folder / file).touch()
    DAMAGES[case](folder / file)
    for again in (["report", str(folder)], ["cite", str(folder)], line):
        status = run(again)
        error = capsys.readouterr().err
        assert status in (0, 2) and "bug in vestige" not in error
        assert status == 0 or (
            str(folder) in error and ("again" in error or "another folder" in error or "Give" in error)
        )


@pytest.mark.parametrize("gone", [("results.json",), ("adversarial.safetensors", "results.json")])
def test_what_is_advised_works(gone, attacked, copy, capsys):
    folder, line = copy
    for name in gone:
        (folder / name).unlink()
    assert run(line) == 0
    made = [json.loads((place / "results.json").read_text()) for place in (folder, attacked[0])]
    assert made[0] | {"seconds": 0} == made[1] | {"seconds": 0}


def test_a_manifest_of_another_kind_is_no_manifest(copy, capsys):
    folder, line = copy
    manifest = json.loads((folder / "manifest.json").read_text())
    for change in ({"state": "weird"}, {"environment": 3}, {"key": None}, {"started": []}):
        (folder / "manifest.json").write_text(json.dumps(manifest | change))
        assert run(["report", str(folder)]) == 2 and run(line) == 2
        assert "not a manifest of format 1" in " ".join(capsys.readouterr().err.split())


def test_tensors_of_another_run_are_not_taken(tmp_path):
    with RunFolder.open(tmp_path / "a", {"seed": 0}) as run:
        run.checkpoint().save({"x": torch.ones(2)})
        assert set(run.checkpoint().load() or {}) == {"x"}
    with RunFolder.open(tmp_path / "b", {"seed": 1}) as other:
        shutil.copy(tmp_path / "a" / "checkpoint.safetensors", tmp_path / "b")
        with pytest.raises(RunError, match="this run did not write it"):
            other.checkpoint().load()
