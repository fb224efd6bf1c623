"""The linear program of a column: against a solver of linear programs, and on gates of which many are wrong."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from vestige.core.rng import child
from vestige.reconstruct.weights.chain import Chain
from vestige.reconstruct.weights.two_layer.columns import accepted, column_space
from vestige.reconstruct.weights.two_layer.many_samples import fit_many_columns
from vestige.reconstruct.weights.two_layer.relaxation import (
    SLACK,
    Competitors,
    _clear,
    _program,
    in_simplex,
    opened,
    relaxed_columns,
)

N, H, C, WRONG = 60, 240, 5, 0.2


@pytest.fixture(scope="module")
def many():
    """A first layer that is exactly sum_i s_i x_i^T, four neurons a sample, with the multipliers of cross-entropy."""
    g = child(0, "many")
    x = torch.randn(N, N, generator=g, dtype=torch.float64)
    last = torch.randn(C, H, generator=g, dtype=torch.float64)
    label = torch.arange(N) % C
    q = 0.3 * torch.randn(N, C, generator=g, dtype=torch.float64)
    others = q.scatter(1, label[:, None], -torch.inf).softmax(1)
    gates = torch.rand(N, H, generator=g, dtype=torch.float64) < 0.5
    s = gates * ((F.one_hot(label, C) - others) @ last)
    return s.T @ x, last, label, gates, s


def chain_of(first: torch.Tensor, last: torch.Tensor) -> Chain:
    none = torch.zeros(H), torch.zeros(C)
    weights, singular = (first, last), torch.linalg.svdvals(first)
    return Chain(weights, none, (False, False), weights, none, torch.eye(first.shape[1]), singular, N, True)


def rough(gates: torch.Tensor) -> torch.Tensor:
    """Small pre-activations, for predictions near one in C, whose signs are the gates, WRONG of them flipped."""
    g = child(1, "rough")
    size = 0.01 * torch.rand(gates.shape, generator=g, dtype=torch.float64) + 0.001
    flip = torch.rand(gates.shape, generator=g, dtype=torch.float64) < WRONG
    return torch.where(gates ^ flip, size, -size)


def relaxed(first, last, label, gates):
    """Columns of candidates with these rough gates: a layer whose pre-activations at unit vectors they are."""
    return relaxed_columns(
        chain_of(rough(gates).T, last), column_space(chain_of(first, last), zero_sum=True), torch.eye(N), label
    )


def similarity(columns, s):
    return F.normalize(columns.s, dim=1) @ F.normalize(s, dim=1).T


def test_wrong_gates_are_corrected(many):
    first, last, label, gates, s = many
    columns = relaxed(first, last, label, gates)
    near = similarity(columns, s).max(1)
    assert (near.values > 0.97).sum() > 0.8 * N
    right = near.values > 0.97
    judged = opened(columns)[right]
    assert (((judged > 0) == gates[near.indices[right]]) | (judged == 0)).double().mean() > 1 - WRONG / 3


def test_the_best_explained_come_first(many):
    first, last, label, gates, s = many
    spoiled = torch.where(torch.arange(N)[:, None] % 2 == 0, gates, gates.roll(7, 1))
    near = similarity(relaxed(first, last, label, spoiled), s).max(1).values
    half = len(near) // 2
    assert near[:half].mean() > near[half:].mean() + 0.1


def test_random_layers_hold_no_such_column(many):
    """Null: the same gates and multipliers, and a column space that no training made."""
    _, last, label, gates, s = many
    first = torch.randn(H, N, generator=child(2, "null"), dtype=torch.float64)
    assert (similarity(relaxed(first, last, label, gates), s) > 0.97).sum() == 0


def test_many_samples_are_verified_and_a_random_layer_is_not(many):
    """A quarter as many samples as neurons: what is accepted is a sample's column; null: nothing is."""
    first, last, label, gates, s = many
    space = column_space(chain_of(first, last), zero_sum=True)
    chain = chain_of(rough(gates).T, last)
    columns = fit_many_columns(chain, space, torch.eye(N), label, 1.0, None, generator=child(5, "many"))
    sure = accepted(columns, space)
    near = similarity(columns[sure], s).abs().max(1)
    assert (near.values > 0.97).all() and len(near.indices.unique()) > 0.8 * N
    null = column_space(
        chain_of(torch.randn(H, N, generator=child(2, "null"), dtype=torch.float64), last), zero_sum=True
    )
    columns = fit_many_columns(chain, null, torch.eye(N), label, 1.0, None, generator=child(5, "many"))
    assert not accepted(columns, null).any()


def test_the_program_is_solved():
    """Against the simplex method: as far along the wish, within the bounds."""
    g = child(3, "program")
    full, wish = (torch.randn(2, 40, generator=g, dtype=torch.float64) for _ in range(2))
    columns = full * (wish + torch.randn(2, 40, generator=g, dtype=torch.float64) > 0)
    others = torch.randn(18, 40, generator=g, dtype=torch.float64)
    basis = torch.linalg.qr(torch.cat([columns, others]).T)[0]
    s, clear = _program(basis, wish, full), _clear(full)
    typical = full.abs().mean()
    for k in range(2):
        bound = full[k].abs() + SLACK * typical
        faint = full[k].abs().max().clamp(max=typical / 4)
        low = torch.where(clear[k], torch.where(full[k] > 0, 0.0, -bound), -faint)
        high = torch.where(clear[k], torch.where(full[k] > 0, bound, 0.0), faint)
        value = torch.where(clear[k], full[k].sign() * wish[k], 0.0)
        best = linprog(
            -(basis.T @ value).numpy(),
            A_ub=np.concatenate([basis.numpy(), -basis.numpy()]),
            b_ub=np.concatenate([high.numpy(), -low.numpy()]),
            bounds=(None, None),
        )
        assert s[k] @ value >= -0.98 * best.fun and -best.fun > 0
        assert (s[k] - s[k].clamp(low, high)).abs().max() < 0.05 * typical


@given(st.lists(st.floats(-3, 3), min_size=2, max_size=6))
def test_the_nearest_point_of_the_simplex(values):
    v = torch.tensor([values])
    p = in_simplex(v)
    assert (p >= 0).all()
    torch.testing.assert_close(p.sum(1), torch.ones(1))
    slack = v - p  # optimal: the same gap wherever p is positive, and no larger one elsewhere
    assert (slack <= slack[p > 1e-12].min() + 1e-9).all()


def test_competitors_are_the_last_layer_seen_from_the_label(many):
    _, last, label, _, _ = many
    competitors = Competitors.of(last)
    q = in_simplex(torch.randn(N, C - 1, generator=child(4, "q"), dtype=torch.float64))
    multipliers = torch.zeros(N, C).scatter(1, competitors.others[label], -q).scatter(1, label[:, None], 1.0)
    torch.testing.assert_close(competitors.full(q, label), multipliers @ last)
    exact = competitors.fitted(competitors.full(q, label), q, label)
    torch.testing.assert_close(exact, q)


def test_dead_neurons_take_no_part(many):
    first, last, _, _, _ = many
    space = column_space(chain_of(first, last), zero_sum=True)
    fewer = dataclasses.replace(space, alive=torch.arange(H + 3) < H)
    assert fewer.at_all(torch.ones(2, H)).sum(1).tolist() == [H, H] and fewer.at_all(torch.ones(2, H)).shape == (
        2,
        H + 3,
    )


def test_probabilities_are_fitted_by_ridge_regression_on_the_open_neurons():
    """Against one dense solve: the ridge is half of the mean squared norm of the parts, towards the last q."""
    g = child(7, "fitted")
    rows = torch.randn(4, 50, generator=g, dtype=torch.float64) * torch.tensor([[1.0], [5.0], [0.2], [2.0]]).double()
    competitors, label = Competitors.of(rows), torch.tensor([0, 2, 3])
    q = torch.rand(3, 3, generator=g, dtype=torch.float64).softmax(1)
    s = competitors.full(q, label) * (torch.rand(3, 50, generator=g, dtype=torch.float64) < 0.6)
    last = torch.full((3, 3), 1 / 3).double()
    found = competitors.fitted(s, last, label)
    for i in range(3):
        others = [k for k in range(4) if k != int(label[i])]
        part = (rows[label[i]] - rows[others]).T
        on = s[i] / (part @ last[i]) > 0.5
        ridge = part.square().sum(0).mean() / 2
        matrix = part[on].T @ part[on] + ridge * torch.eye(3)
        free = torch.linalg.solve(matrix, part[on].T @ s[i][on] + ridge * last[i])
        torch.testing.assert_close(found[i], in_simplex((free / free.sum())[None])[0])
