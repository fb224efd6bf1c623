"""Digits at the defaults, beside schedules with tuned rates."""

from importlib import import_module
from pathlib import Path

import pytest
import torch


@pytest.mark.slow
def test_defaults_are_within_a_point_of_the_best_schedule(monkeypatch):
    """From any first rate; null: a constant rate that was not tuned is far off."""
    torch.set_default_dtype(torch.float32)
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    benchmark = import_module("optim")

    def accuracy(kind, rate):
        return benchmark.run("digits", kind, rate, 0, False, {})["accuracy"]

    ours = [accuracy(benchmark.OURS, rate) for rate in (1e-6, 1.0)]
    tuned = [accuracy(kind, rate) for kind in ("cosine", "warm-up + cosine") for rate in (0.03, 0.1, 0.3)]
    assert min(ours) >= max(tuned) - 1 and max(ours) - min(ours) <= 1
    assert accuracy("constant", 1e-6) < max(tuned) - 50
