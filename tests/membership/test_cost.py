"""The seconds that are told: sums of measured parts, and before the work."""

import pytest
import torch
from overfitted import overfitted

from vestige.core.rng import child
from vestige.membership import cost, membership_scores
from vestige.membership.coefficients import LANDMARKS, PART
from vestige.membership.rows import Dense


def rows(n, parameters):
    draw = child(0, "rows")
    return Dense(torch.randn(1, n, 2, generator=draw), torch.zeros(1, n, parameters // 2), torch.zeros(parameters))


@pytest.mark.parametrize(
    ("n", "parameters", "expected"),
    [
        (256, 5000, 1 + 1),
        (1024, 5000, 4 + 8),
        (1024, 256, 2 * 2 + 2 * 2 / 4 + 1 / 8),
        (5120, 5000, 60 * 10 + 5120 * (PART + LANDMARKS) / 512**2 + 5120 * (PART**2 + 2 * LANDMARKS**2) / 512**3),
    ],
)
def test_parts_of_a_second_each_add_up(monkeypatch, n, parameters, expected):
    monkeypatch.setattr(cost, "_clock", lambda work: float(work() is not None))
    assert cost.expected_seconds(rows(n, parameters)) == pytest.approx(expected)


def test_a_layer_too_wide_to_factorize_is_told_as_a_large_pool(monkeypatch):
    monkeypatch.setattr(cost, "_clock", lambda work: 1.0)
    monkeypatch.setattr(cost, "EXACT", 200)
    squares, cubes = 1024 * (PART + LANDMARKS), 1024 * (PART**2 + 2 * LANDMARKS**2)
    assert cost.expected_seconds(rows(1024, 256)) == pytest.approx(60 * 2 + squares / 512**2 + cubes / 512**3)


def test_the_time_of_each_layer_is_told_before_the_work():
    model, x, y, reference, _ = overfitted()
    steps = []
    membership_scores(model, x, y, reference=reference, layers=["1", "3"], loss="cross_entropy", on_step=steps.append)
    assert [(step.index, step.total) for step in steps] == [(1, 2), (2, 2)]
    assert all(0 < step.value < 60 and "320 gradients, about" in step.note for step in steps)
