"""A search that cannot be held is refused before it begins, and one that can is not."""

import pytest
from torch import nn

from vestige.audit import memory
from vestige.audit.memory import available, check_memory
from vestige.audit.target import read_target


@pytest.fixture
def target():
    return read_target(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1)), input_shape=(4,), loss="mse")


def test_what_is_needed_is_counted(target, monkeypatch):
    """4 + 6 + 6 + 1 = 17 numbers of 4 bytes a candidate, 6 copies, and 8 bytes for each pair."""
    needed = 6 * 30 * 17 * 4 + 8 * 30**2
    monkeypatch.setattr(memory, "available", lambda: float(needed))
    check_memory(target, 10, 3)
    check_memory(target, 30, None)
    monkeypatch.setattr(memory, "available", lambda: needed - 1.0)
    for counts in ((10, 3), (30, 1)):
        with pytest.raises(ValueError, match="such as 29 in all"):
            check_memory(target, *counts)
    check_memory(target, None, None)


def test_this_machine_has_memory(target):
    assert 2**28 < available() < 2**50
    with pytest.raises(ValueError, match="30,000,000 candidates need"):
        check_memory(target, 10_000_000, 3)
