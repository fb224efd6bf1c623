"""The network of largest margin on the line: closed forms, duality, and a grid of neurons as reference."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from vestige.convex import max_margin_1d
from vestige.core.rng import child


def noisy(m, p=0.2, seed=0):
    g = child(seed, "line", str(m))
    return torch.rand(m, generator=g), torch.where(torch.rand(m, generator=g) < p, -1, 1)


def on_a_grid(x, y, count=4000):
    """The same program over a fixed grid of neurons: never below the optimum."""
    angle = np.linspace(-math.pi, math.pi, count, endpoint=False)
    rows = y.numpy()[:, None] * np.maximum(x.numpy()[:, None] * np.cos(angle) + np.sin(angle), 0)
    return linprog(np.ones(2 * count), A_ub=np.hstack([-rows, rows]), b_ub=-np.ones(len(x)), method="highs").fun


def test_one_and_two_samples_have_closed_forms():
    """Norm 1 / sqrt(x^2 + 1) for one sample; two of different labels need one neuron each if they are far apart."""
    for x in (0.0, 2.0, -3.0):
        found = max_margin_1d(torch.tensor([x]), torch.tensor([-1]))
        assert found.norm == pytest.approx(1 / math.sqrt(x * x + 1), rel=1e-9) and found.neurons == 1
    found = max_margin_1d(torch.tensor([-100.0, 100.0]), torch.tensor([0, 1]))
    assert found.norm == pytest.approx(2 / math.sqrt(10001), rel=1e-4) and found.neurons == 2


@pytest.mark.parametrize("m", [5, 20])
def test_a_fine_grid_comes_near_from_above(m):
    x, y = noisy(m, seed=3)
    found, grid = max_margin_1d(x, y), on_a_grid(x, y)
    assert found.bound <= found.norm * (1 + 1e-12) and found.norm <= grid * (1 + 1e-9)
    assert grid < 1.2 * found.norm and on_a_grid(x, y, 400) > grid


@given(seed=st.integers(0, 30), m=st.integers(2, 25))
def test_network_margin_norm_and_bound_agree(seed, m):
    x, y = noisy(m, seed=seed)
    found = max_margin_1d(x, y)
    assert found.outcome == "converged" and found.certificate.holds
    with torch.no_grad():
        assert float((y * found.model(x[:, None])[:, 0]).min()) > 1 - 1e-6
    half = sum(float(p.detach().square().sum()) for p in found.model.parameters()) / 2
    assert half == pytest.approx(found.norm, rel=1e-6)
    assert float(found.multipliers.min()) >= -1e-9
    wrong = max_margin_1d(x, -y)  # the same network with the other sign
    assert wrong.norm == pytest.approx(found.norm, rel=1e-5)


def test_reflection_changes_nothing_but_the_side():
    x, y = noisy(15, seed=1)
    assert max_margin_1d(-x, y).norm == pytest.approx(max_margin_1d(x, y).norm, rel=1e-5)
    assert max_margin_1d(x + 1, y).norm != pytest.approx(max_margin_1d(x, y).norm, rel=1e-2)  # biases cost


def test_bad_input_is_refused():
    x = torch.tensor([0.0, 0.0])
    with pytest.raises(ValueError, match="different labels"):
        max_margin_1d(x, torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="labels"):
        max_margin_1d(x, torch.tensor([0, 2]))
    with pytest.raises(ValueError, match="finite"):
        max_margin_1d(torch.tensor([math.inf]), torch.tensor([1]))
