"""Weights, data and options at the edge of what numbers can be: an answer, or one sentence to act on."""

from functools import partial
from importlib import import_module

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import vestige as vg
from vestige.cli import run

SHAPES = {"1.weight": (6, 4), "1.bias": (6,), "3.weight": (3, 6)}


@pytest.fixture(autouse=True)
def short(monkeypatch, exact_arithmetic):
    """Searches of a few steps, in the precision of a user."""
    torch.set_default_dtype(torch.float32)
    for home, name in ((vg, "audit"), (import_module("vestige.audit"), "audit_unlearning")):
        monkeypatch.setattr(home, name, partial(getattr(home, name), steps=5))


def drawn(scale=1.0, dtype=torch.float32):
    draw = torch.Generator().manual_seed(0)
    return {name: (scale * torch.randn(shape, generator=draw)).to(dtype) for name, shape in SHAPES.items()}


def constant(value):
    return {name: torch.full(shape, value) for name, shape in SHAPES.items()}


WEIGHTS = {
    "drawn": drawn(),
    "ones": constant(1.0),
    "minus ones": constant(-1.0),
    "small": drawn(1e-15),
    "denormal": drawn(1e-40),
    "large": drawn(1e10),
    "huge": drawn(1e25),
    "half": drawn(dtype=torch.float16),
    "bfloat16": drawn(dtype=torch.bfloat16),
    "double": drawn(dtype=torch.float64),
    "no input": drawn() | {"1.weight": torch.zeros(6, 4)},
    "no output": drawn() | {"3.weight": torch.zeros(3, 6)},
    "dead": drawn() | {"1.bias": torch.full((6,), -100.0)},
    "one neuron": drawn() | {"1.weight": torch.eye(6, 4)[:1].expand(6, 4) * 0.5},
}
X, Y = np.random.default_rng(0).random((6, 4)), np.arange(6) % 3
DATA = {
    "plain": (X, Y),
    "one sample": (X[:1], Y[:1]),
    "one class": (X, Y * 0),
    "one sample six times": (X[:1].repeat(6, 0), Y),
    "constant": (np.full((6, 4), 0.5), Y),
    "zeros": (np.zeros((6, 4)), Y),
    "huge": (X * 1e30, Y),
    "tiny": (X * 1e-30, Y),
}
FEW = ["--restarts", "1", "--n-candidates", "4"]
VERBS = {
    "audit": [*FEW],
    "attack": ["--eps", "0.1"],
    "membership": [],
    "unlearn": ["--forget", "0", "--repair", "3", *FEW],
}


# Attacks and retraining for each case take a minute in all.
SOME = ["attack", "membership", *(pytest.param(verb, marks=pytest.mark.slow) for verb in ("audit", "unlearn"))]


def tried(line, capsys):
    status, said = run([str(part) for part in line]), capsys.readouterr()
    assert status in (0, 2), said.err
    assert status == 0 or said.err.startswith("error: ")
    return status, said.out + said.err


def files(folder, weights, x, y):
    save_file(weights, folder / "m.safetensors", {"architecture": "mlp:4-6-3", "loss": "cross_entropy"})
    np.savez(folder / "d.npz", x=x, y=y)
    np.savez(folder / "other.npz", x=np.random.default_rng(1).random((20, 4)), y=np.arange(20) % 3)
    return [folder / "m.safetensors", "--data", f"npz:{folder / 'd.npz'}", "--out", folder / "out"]


@pytest.mark.parametrize("verb", SOME)
@pytest.mark.parametrize("case", WEIGHTS)
def test_weights(case, verb, tmp_path, capsys):
    line = files(tmp_path, WEIGHTS[case], X, Y)
    tried([verb, *line, *VERBS[verb]], capsys)


@pytest.mark.parametrize("verb", SOME)
@pytest.mark.parametrize("case", DATA)
def test_data(case, verb, tmp_path, capsys):
    line = files(tmp_path, drawn(), *DATA[case])
    more = {"audit": ["--held-out", f"npz:{tmp_path / 'other.npz'}"]} if case in ("plain", "constant") else {}
    status, _ = tried([verb, *line, *VERBS[verb], *more.get(verb, [])], capsys)
    assert status == 0 or case != "plain" or verb == "unlearn"  # a drawn network fits nothing that could be forgotten


@pytest.mark.parametrize("case", ["ones", "large", "half", "no output", "dead"])
@pytest.mark.parametrize("verb", [["narrow"], ["prune", "--rows", "3"]])
def test_weights_that_are_rewritten(case, verb, tmp_path, capsys):
    files(tmp_path, WEIGHTS[case], X, Y)
    tried(
        ["construct", *verb, tmp_path / "m.safetensors", "--radius", "1", "--out", tmp_path / "o.safetensors"], capsys
    )


OPTIONS = {
    "attack": (
        ["--eps", "0"],
        ["--eps", "1e30"],
        ["--eps", "1e-30"],
        ["--eps", "nan"],
        ["--eps", "-1"],
        ["--n", "1000000000"],
        ["--batch-size", "1"],
        ["--mean", "1e30"],
        ["--std", "1e-30"],
        ["--range", "0", "1e38"],
        ["--range", "nan", "1"],
        ["--range", "1", "0"],
        ["--seed", "-1"],
        ["--seed", "12345678901234567890123"],
    ),
    "audit": (
        ["--weight-decay", "1e30", *FEW],
        ["--weight-decay", "nan", *FEW],
        ["--weight-decay", "inf", *FEW],
        ["--restarts", "1000000", "--n-candidates", "1000"],
        ["--n-candidates", "1000000"],
        ["--seed", "-1", *FEW],
        ["--seed", "12345678901234567890123", *FEW],
        ["--input-shape", "99999999999x1", *FEW],
    ),
}


@pytest.mark.parametrize(("verb", "options"), [(verb, options) for verb, many in OPTIONS.items() for options in many])
def test_options(verb, options, tmp_path, capsys):
    line = files(tmp_path, drawn(), X, Y)
    _, said = tried([verb, *line, *options], capsys)
    assert "nan" not in options or "error" in said


REFUSED = {
    "small": "as good as zero",
    "no input": "1.weight is all zero",
    "no output": "3.weight is all zero",
    "huge": "its training diverged",
}


@pytest.mark.parametrize("case", REFUSED)
def test_weights_that_hold_nothing_are_named(case, tmp_path, capsys):
    status, said = tried(["audit", *files(tmp_path, WEIGHTS[case], X, Y), *FEW], capsys)
    assert status == 2 and REFUSED[case] in said


def test_data_of_another_scale_are_named(tmp_path, capsys):
    status, said = tried(["attack", *files(tmp_path, drawn(), X * 1e30, Y), "--eps", "0.1"], capsys)
    assert status == 2 and "is their scale right" in said
