"""A network that memorized six points of eight dimensions, its data, and data that it never saw."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from vestige.audit.training import fit, save, untrained
from vestige.audit.truth import read_data
from vestige.core import descent
from vestige.data.dataset import DataSet


@dataclass(frozen=True)
class Case:
    """Files of one model: its weights, its data and data it never saw."""

    folder: Path

    @property
    def model(self) -> Path:
        return self.folder / "m.safetensors"

    @property
    def data(self) -> str:
        return f"npz:{self.folder / 'train.npz'}"

    @property
    def held_out(self) -> str:
        return f"npz:{self.folder / 'other.npz'}"

    @property
    def train(self) -> DataSet:
        return read_data(self.data)


@pytest.fixture(scope="session")
def case(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    draw = np.random.default_rng(0)
    x, y = draw.uniform(size=(40, 1, 2, 4)), np.arange(40) % 2
    np.savez(folder / "train.npz", x=x[:6], y=y[:6])
    np.savez(folder / "other.npz", x=x[6:], y=y[6:])
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        made = Case(folder)
        chosen = made.train
        start = untrained(chosen, architecture="mlp:8-32-1")
        save(fit(start, chosen, weight_decay=1e-3), chosen, made.model, {})
    finally:
        torch.set_default_dtype(before)
    return made


@pytest.fixture
def eager(monkeypatch):
    """State is saved at every step, not every few seconds."""
    monkeypatch.setattr(descent, "SECONDS", 0.0)


class Interrupter:
    """An on_step callback that stops once, like Ctrl-C, at a step of a phase; it counts the steps of each phase."""

    def __init__(self, phase="", after=0):
        self.phase, self.after, self.counts = phase, after, {}

    def __call__(self, step):
        name = step.note.partition(":")[0]
        self.counts[name] = self.counts.get(name, 0) + 1
        if self.after and name == self.phase and self.counts[name] >= self.after:
            raise KeyboardInterrupt


@pytest.fixture(scope="session")
def interrupter():
    return Interrupter


@pytest.fixture(autouse=True)
def single_precision(exact_arithmetic):
    """As the audit runs for a user; fixtures of a module are made in it too."""
    torch.set_default_dtype(torch.float32)
