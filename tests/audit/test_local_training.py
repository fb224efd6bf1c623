"""Our own training with locally optimal steps."""

import pytest
import torch
from safetensors.torch import load_file

from vestige.audit import training
from vestige.audit.training import locally_optimal
from vestige.cli import run
from vestige.core.rng import child
from vestige.nets.fully_connected import mlp
from vestige.nets.training import train_to_margin


def test_it_descends_further_than_a_constant_step():
    draw = child(0, "local")
    x, y = torch.randn(6, 4, generator=draw), torch.arange(6) % 2
    start = mlp([4, 12, 1], bias="none", first_init=1e-2, generator=draw).double()
    options = {"weight_decay": 1e-3, "schedule": "constant", "steps": 150, "momentum": 0.9}
    plain = train_to_margin(start, x, y, learning_rate=0.01, **options)
    local = train_to_margin(start, x, y, step_size=locally_optimal, **options)
    assert local.accuracy == 1.0 and local.loss < plain.loss / 2


def test_another_word_is_refused(capsys):
    assert run(["train", "--step-size", "long"]) == 2
    assert "schedule and auto" in capsys.readouterr().err


def trained(path, *options):
    assert run(["train", "--n", "10", "--arch", "mlp:64-30-10", "--out", str(path), *options]) == 0
    return load_file(path)


def test_from_the_command_line(tmp_path, monkeypatch, capsys):
    """Twice the same weights, all samples right, and null: not those of a cycle of as many steps."""
    torch.set_default_dtype(torch.float32)  # as the command runs for a user
    monkeypatch.setattr(training, "STEPS", 200)
    first, again = (trained(tmp_path / f"{k}.safetensors", "--step-size", "auto") for k in range(2))
    assert "accuracy 100.0% after 200 steps" in capsys.readouterr().out
    cycle = trained(tmp_path / "cycle.safetensors")
    assert all(torch.equal(t, again[name]) for name, t in first.items())
    assert not all(torch.equal(t, cycle[name]) for name, t in first.items())


@pytest.mark.slow
def test_it_ends_no_higher_than_the_cycle(tmp_path, capsys):
    torch.set_default_dtype(torch.float32)
    ends = []
    for kind in ("auto", "schedule"):
        trained(tmp_path / "m.safetensors", "--step-size", kind)
        ends.append(float(capsys.readouterr().out.split("cross_entropy ")[1].split(",")[0]))
    assert ends[0] <= 1.01 * ends[1]
