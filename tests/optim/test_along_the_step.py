"""The loss along a step: its curvature over the whole of it, and under autocast."""

import math

import pytest
import torch
from test_locally_optimal import network, objective, samples, sgd
from torch import nn

from vestige.optim import LocallyOptimalStep
from vestige.optim.line import Line, Look


def test_a_step_that_begins_flat_has_the_curvature_of_its_end():
    """f(s) = s^4 - s from 0: slope 1, no curvature there, and 2 (f(1) + 1) / 1 = 2 over a step of 1."""
    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)
    line = Line(lambda m, _: m.weight.sum() ** 4 - m.weight.sum(), net, None, [net.weight], [-torch.ones(1, 1)], 0)
    assert line.over_the_step(Look(0.0, 1.0, 0.0), 1.0) == pytest.approx(2.0)
    assert line.over_the_step(Look(0.0, 1.0, 1.9), 1.0) == 1.9  # null: nearly the same


def test_under_autocast_it_descends():
    def half(model, batch):
        with torch.autocast("cpu", torch.bfloat16):
            return objective(model, batch)

    net, batch = network().float(), tuple(t.float() if t.is_floating_point() else t for t in samples())
    step, losses = LocallyOptimalStep(sgd(net.parameters()), net, half, [batch]), []
    for _ in range(40):
        step.zero_grad()
        loss = half(net, batch)[1]
        loss.backward()
        losses.append(float(loss.detach()))
        step.step()
    assert losses[-1] < losses[0] / 2 and all(math.isfinite(p.rate) for p in step.history)
