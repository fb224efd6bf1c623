"""Our own training with locally optimal steps."""

import torch

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
