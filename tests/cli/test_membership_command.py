"""What `vestige membership` prints and writes; what it finds: tests/audit."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from vestige.cli import run
from vestige.core.rng import child
from vestige.nets.checkpoint import save_model
from vestige.nets.fully_connected import mlp


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A network that memorized 30 points of 40 dimensions, and 200 others."""
    folder, draw = tmp_path_factory.mktemp("members"), np.random.default_rng(0)
    x, y = draw.uniform(size=(260, 40)), np.arange(260) % 2
    np.savez(folder / "asked.npz", x=x[:60], y=y[:60])
    np.savez(folder / "unseen.npz", x=x[60:], y=y[60:])
    net = mlp([40, 40, 2], bias="all", generator=child(0, "start"), dtype=torch.float64)
    known, labels = torch.from_numpy(4 * x[:30] - 2), torch.from_numpy(y[:30])
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(300):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(known), labels).backward()
        optimizer.step()
    with torch.no_grad():  # the same network on data in [0, 1]
        net[1].bias.sub_(2 * net[1].weight.sum(1))
        net[1].weight.mul_(4)
    save_model(net, folder / "m.safetensors", metadata={"loss": "cross_entropy"})
    return folder


def ask(files, out, *more, reference="unseen.npz"):
    known = [] if reference is None else ["--reference", f"npz:{files / reference}"]
    data = ["--data", f"npz:{files / 'asked.npz'}", "--range", "0", "1", "--out", str(out)]
    return run(["membership", str(files / "m.safetensors"), *data, *known, *more])


def test_the_verdict_the_surest_and_the_files_are_printed(files, tmp_path, capsys):
    assert ask(files, tmp_path / "r") == 0
    shown = capsys.readouterr().out
    results = json.loads((tmp_path / "r" / "results.json").read_text())
    assert results["verdict"] in shown and "the surest: " in shown and results["membership"]["n_held"] > 5
    assert "report.html" in shown and "samples.safetensors" in shown
    (tmp_path / "r" / "report.html").unlink()
    assert run(["report", str(tmp_path / "r")]) == 0
    assert results["verdict"] in (tmp_path / "r" / "report.html").read_text()


def test_without_reference_it_says_so(files, tmp_path, capsys):
    assert ask(files, tmp_path / "r", reference=None) == 0
    assert "ranked" in capsys.readouterr().out


def test_mistakes_are_one_line(files, tmp_path, capsys):
    assert ask(files, tmp_path / "r", reference="asked.npz") == 2
    assert "error: 60 of the reference samples are among the candidates" in capsys.readouterr().err
    assert ask(files, tmp_path / "s", "--base", str(files / "m.safetensors")) == 2
    assert "same weights" in capsys.readouterr().err
