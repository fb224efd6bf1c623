"""Columns with their inputs: nearest points as defined, pairs that are there, and none where none are."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vestige.core.rng import child
from vestige.reconstruct.weights.paired import projections
from vestige.reconstruct.weights.paired.projections import INPUTS, _met, nearest_points, pairs_near
from vestige.reconstruct.weights.two_layer.columns import ColumnSpace

N, H, R, Q = 16, 120, 16, 2
KINKS = 6  # neurons that each sample sits on


def draw(*shape: int, name: str) -> Tensor:
    return torch.randn(*shape, generator=child(0, "pairs", name), dtype=torch.float64)


def network() -> tuple[ColumnSpace, Tensor, Tensor, Tensor, Tensor]:
    """Column space, inputs, and of each sample the column, V^T l and the pre-activations, some on a kink."""
    slopes, last = F.normalize(draw(H, R, name="slopes"), dim=1), draw(Q, H, name="last")
    y = draw(N, R, name="y")
    for i in range(N):
        on = torch.linalg.qr(slopes[(7 * i + torch.arange(KINKS)) % H].T)[0]
        y[i] -= on @ (on.T @ y[i])
    u, full = y @ slopes.T, draw(N, Q, name="multipliers") @ last
    gates = torch.where(u.abs() < 1e-9, torch.rand(N, H, generator=child(0, "kink"), dtype=u.dtype), (u > 0).double())
    s = gates * full
    alive = torch.ones(H, dtype=torch.bool)
    return ColumnSpace(torch.linalg.qr(s.T)[0], last.T, alive, torch.ones(H).double()), slopes, s, full, u


def rough(true: Tensor, share: float, name: str) -> Tensor:
    """Vectors with this cosine to the true ones."""
    unit = F.normalize(true, dim=1)
    noise = draw(*true.shape, name=name)
    noise = F.normalize(noise - (noise * unit).sum(1, keepdim=True) * unit, dim=1)
    return share * unit + (1 - share**2) ** 0.5 * noise


def testnearest_points_points_arenearest_points():
    """Against a fine sampling of (1)."""
    s, u, full = (draw(40, 5, name=name) for name in ("s", "u", "f"))
    near_s, near_u, opened = nearest_points(s, u, full)
    away = torch.linspace(0, 6, 2001, dtype=torch.float64)
    part = torch.linspace(0, 1, 2001, dtype=torch.float64)
    closed = s[..., None].square() + INPUTS * (u[..., None] + away).square()
    to_open = (s - full)[..., None].square() + INPUTS * (u[..., None] - away).square()
    kink = (s[..., None] - part * full[..., None]).square() + INPUTS * u[..., None].square()
    least = torch.stack([d.amin(-1) for d in (closed, to_open, kink)]).amin(0)
    found = (s - near_s).square() + INPUTS * (u - near_u).square()
    assert torch.allclose(found, least, atol=1e-4)
    assert torch.equal(opened, (near_s == full) & (near_u >= 0))
    on = ((near_s == 0) & (near_u <= 0)) | opened | ((near_u == 0) & (near_s / full >= 0) & (near_s / full <= 1))
    assert on.all()


@pytest.mark.parametrize("reflect", [False, True])
def test_samples_are_found_from_rough_inputs(reflect):
    space, slopes, s, full, u = network()
    found = pairs_near(space, slopes, rough(u, 0.7, "u"), rough(full, 0.8, "full"), reflect=reflect)
    right = F.cosine_similarity(found.s, s).abs() > 0.999
    assert right.sum() >= N // 2
    assert found.met[right].median() > 0.95


def test_kinks_are_met_where_inputs_tell():
    """Columns whose inputs are right pass on every neuron; with kinks that are not, those are missed."""
    _, _, s, full, u = network()
    assert _met(s, full, u).mean() == 1
    moved = torch.where(u.abs() < 1e-9, u.abs().median(), u)
    assert (_met(s, full, moved).mean(1) <= 1 - 0.8 * KINKS / H).all()
    assert _met(-s, full, u).mean() < 0.6


def test_spaces_of_nobody_have_no_pairs():
    """Null: the same inputs, and columns that no sample has."""
    space, slopes, _, full, u = network()
    empty = replace(space, first=torch.linalg.qr(draw(H, N, name="nobody"))[0])
    for reflect in (False, True):
        assert pairs_near(empty, slopes, rough(u, 0.7, "u"), full, reflect=reflect).met.max() < 0.8


def test_more_steps_do_not_lose_what_is_found(monkeypatch):
    space, slopes, s, full, u = network()
    monkeypatch.setattr(projections, "STEPS", 50)
    found = pairs_near(space, slopes, u, full, reflect=False)
    assert (F.cosine_similarity(found.s, s).abs() > 0.999).all()
