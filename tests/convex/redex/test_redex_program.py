"""Solvers of a RedEx layer against each other, their bound against weak duality, and the spec's optimal values."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vestige.convex import kravchuk_polynomials, parity_staircase, redex_norm, symmetric_squares, to_redex
from vestige.convex.redex.layer import least_r
from vestige.convex.redex.problem import Problem, feasible, lower_bound
from vestige.convex.redex.program import solve_program
from vestige.convex.redex.proximal import solve_proximal
from vestige.convex.redex.splitting import solve_splitting


def drawn(seed, *, m=40, d=5, patches=1, k=1, **penalties):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(m, patches, d))
    y = np.stack([x[:, 0, i] * x[:, -1, i + 1] for i in range(k)], 1) + 0.1 * rng.normal(size=(m, k))
    return Problem(x, y, **({"trace": 0.05, "ridge": 0.02} | penalties))


def symmetric(*shape, seed=0):
    a = np.random.default_rng(seed).normal(size=shape)
    return torch.from_numpy(a + np.swapaxes(a, -1, -2))


@given(st.integers(0, 5))
def test_one_output_is_the_semidefinite_program(seed):
    """Algorithm 5 equals Algorithm 2 with R = |A|: both values to 1e-5, and each is certified."""
    problem = drawn(seed)
    program, proximal = solve_program(problem), solve_proximal(problem)
    assert abs(program.objective - proximal.objective) < 1e-5 * program.objective
    assert proximal.gap <= 1e-6 and program.gap <= 1e-5 and not proximal.warnings


@pytest.mark.parametrize(
    "options", [{"k": 2}, {"patches": 2}, {"k": 2, "patches": 2}, {"trace_bound": 0.5}, {"k": 2, "trace_bound": 0.5}]
)
def test_splitting_reaches_the_program(options):
    problem = drawn(0, **options)
    program, low = solve_program(problem), solve_splitting(problem, gap=1e-3)
    assert low.gap <= 1e-3 and abs(low.objective / program.objective - 1) < 1e-3
    assert low.bound <= program.objective * (1 + 1e-7) and program.bound <= low.objective * (1 + 1e-7)


@given(st.integers(0, 20), st.integers(1, 2))
def test_no_point_is_below_a_bound(seed, k):
    """Weak duality, from residuals of anywhere: bounds from one point, values at another."""
    problem, a = drawn(seed, k=k), symmetric(2, k, 1, 5, 5, seed=seed).numpy()
    ends = [feasible(problem, each, np.zeros((5, 5)))[1] for each in 0.2 * a]
    bound = lower_bound(problem, 0.2 * a[0], ends[0])
    assert bound <= problem.objective(0.2 * a[1], ends[1]) and bound <= solve_program(problem).objective * (1 + 1e-7)


def test_null_zeros_are_not_certified():
    problem = drawn(0)
    zero = np.zeros((1, 1, 5, 5))
    value = problem.objective(zero, zero[0, 0])
    assert value == pytest.approx(float((problem.y**2).mean()))
    assert value - lower_bound(problem, zero, zero[0, 0]) > 0.1 * value


@given(st.integers(0, 10), st.integers(1, 3))
def test_the_round_trip_of_theorem_3(seed, k):
    a = symmetric(k, 4, 4, seed=seed)
    r = torch.from_numpy(np.array(least_r(a.numpy()))) if k > 1 else _absolute(a[0])
    r = (r + r.mT) / 2 + 1e-6 * torch.eye(4)
    layer, x = to_redex(a, r), torch.randn(20, 4)
    assert torch.allclose(layer(x), torch.einsum("nd,kde,ne->nk", x, a, x), atol=1e-10 * float(a.abs().max()) * 50)
    assert float(torch.linalg.matrix_norm(layer.p, 2).max()) <= 1 + 1e-5
    assert float(layer.v.square().sum()) == pytest.approx(float(r.trace()), rel=1e-6)
    gram = layer.v @ layer.v.mT
    assert float((gram - gram.diag().diag()).abs().max()) < 1e-10 * float(gram.max())


def _absolute(a):
    values, vectors = torch.linalg.eigh(a)
    return (vectors * values.abs()) @ vectors.mT


def test_where_r_has_no_part_the_layer_has_none():
    a = torch.zeros(1, 3, 3)
    a[0, :2, :2] = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    layer = to_redex(a, torch.diag(torch.tensor([1.0, 1.0, 0.0])))
    assert layer.v.shape == (2, 3) and layer(torch.tensor([[2.0, 3.0, 9.0]])).item() == pytest.approx(12.0)
    with pytest.raises(ValueError, match="-R <= A <= R"):
        to_redex(a, torch.diag(torch.tensor([1.0, 0.5, 0.0])))
    with pytest.raises(ValueError, match="symmetric"):
        to_redex(torch.triu(torch.ones(1, 3, 3)), torch.eye(3))


def test_the_norm_is_the_trace_norm_and_has_its_closed_form_for_matrices_that_commute():
    a = symmetric(1, 5, 5)
    assert redex_norm(a) == pytest.approx(float(torch.linalg.svdvals(a[0]).sum()), abs=1e-10)
    assert redex_norm(torch.cat([a, a])) == pytest.approx(redex_norm(a), abs=1e-6)
    u, values = torch.linalg.qr(torch.randn(5, 5))[0], torch.randn(3, 5)
    together = torch.stack([(u * v) @ u.mT for v in values])
    assert redex_norm(together) == pytest.approx(float(values.abs().amax(0).sum()), abs=1e-6)
    with pytest.raises(ValueError, match="symmetric"):
        redex_norm(torch.triu(torch.ones(2, 3, 3)))


def test_it_is_a_norm():
    a, b = symmetric(2, 4, 4, seed=1), symmetric(2, 4, 4, seed=2)
    assert redex_norm(a + b) <= redex_norm(a) + redex_norm(b) + 1e-6
    assert redex_norm(-3 * a) == pytest.approx(3 * redex_norm(a), rel=1e-6)


def least_trace_of_the_first_layer(k):
    """min Tr R over A_0, A_1 that give p_0 and p_2 of all signs exactly, constant sqrt 2."""
    cp = pytest.importorskip("cvxpy", reason="the extra `convex`")
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * k).numpy()
    x = np.hstack([np.full((2**k, 1), math.sqrt(2)), signs])
    place = ((signs.sum(1) + k) / 2).astype(int)
    y = kravchuk_polynomials(k)[[0, 2]].numpy()[:, place]
    a, r = [cp.Variable((k + 1, k + 1), symmetric=True) for _ in range(2)], cp.Variable((k + 1, k + 1), symmetric=True)
    fits = [cp.sum(cp.multiply(np.outer(row, row), a[o])) == y[o, i] for i, row in enumerate(x) for o in range(2)]
    between = [r + sign * each >> 0 for each in a for sign in (1, -1)]
    cp.Problem(cp.Minimize(cp.trace(r)), fits + between).solve(solver=cp.CLARABEL)
    return float(np.trace(r.value))


def test_the_errata_of_lemma_15():
    """The least trace is 1/2 + 1 / sqrt(2 - 2/k) for k >= 4; "2 + 2/k" as printed is wrong, and so is k = 2."""
    for k, value in ((4, 1.316497), (6, 1.274597)):
        assert 0.5 + 1 / math.sqrt(2 - 2 / k) == pytest.approx(value, abs=1e-6)
        found = least_trace_of_the_first_layer(k)
        assert found == pytest.approx(value, abs=1e-5)
        assert abs(found - (0.5 + 1 / math.sqrt(2 + 2 / k))) > 0.1
    assert least_trace_of_the_first_layer(2) == pytest.approx(1.0, abs=1e-5)


def test_the_erratum_of_the_first_layers_r():
    """R = J / sqrt(2 - 2/k) + I_0 / 2 lies above both matrices; with the printed 1/2 on J it does not."""
    k = 6
    j, first = torch.zeros(k + 1, k + 1), torch.zeros(k + 1, k + 1)
    j[1:, 1:], first[0, 0] = 1 / k, 1
    c = 1 / math.sqrt(2 - 2 / k)
    a = torch.stack([first / 2, c * (j - first / 2)])
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * k)
    x = torch.cat([torch.full((2**k, 1), math.sqrt(2)), signs], 1)
    wanted = kravchuk_polynomials(k)[[0, 2]][:, ((signs.sum(1) + k) / 2).long()].T
    layer = to_redex(a, c * j + first / 2)
    assert torch.allclose(layer(x), wanted, atol=1e-10)
    assert float(layer.v.square().sum()) == pytest.approx(0.5 + c)
    with pytest.raises(ValueError, match="-R <= A <= R"):
        to_redex(a, c * j / 2 + first / 2)


@pytest.mark.parametrize("k", [2, 4, 5])
def test_kravchuk_polynomials_are_orthonormal(k):
    p = kravchuk_polynomials(k)
    weight = torch.tensor([math.comb(k, i) / 2**k for i in range(k + 1)])
    assert torch.allclose((p * weight) @ p.mT, torch.eye(k + 1), atol=1e-12)


def test_the_staircase():
    x, y, hidden = parity_staircase(400, dimension=9, k=4, generator=torch.Generator().manual_seed(3))
    assert torch.allclose(y[:, -1], x[:, hidden].prod(1)) and y.shape == (400, 3) and len(hidden.unique()) == 4
    for k, d in ((3, 9), (10, 9), (0, 9)):
        with pytest.raises(ValueError, match="even k"):
            parity_staircase(5, dimension=d, k=k)
    with pytest.raises(ValueError, match="at least one sign"):
        kravchuk_polynomials(0)


def test_symmetric_squares_keep_inner_products():
    a, b = torch.randn(4, 3), torch.randn(4, 3)
    assert torch.allclose((symmetric_squares(a) * symmetric_squares(b)).sum(1), (a * b).sum(1).square())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ridge": 0.0}, "ridge > 0"),
        ({"trace": -1.0}, "trace_penalty"),
        ({"trace_bound": 0.0}, "positive bound"),
        ({"m": 1}, "at least 2"),
    ],
)
def test_refused_problems(change, said):
    with pytest.raises(ValueError, match=said):
        drawn(0, **change)


def test_refused_inputs_and_ways():
    problem = drawn(0)
    with pytest.raises(ValueError, match="scale them"):
        Problem(problem.x * 1e7, problem.y, 0.1, 0.1)
    with pytest.raises(ValueError, match=r"3,660 numbers .* GiB .* solver='splitting'"):
        solve_program(drawn(0, d=60))
    for other in (drawn(0, k=2), drawn(0, patches=2), drawn(0, trace_bound=1.0)):
        with pytest.raises(ValueError, match="splitting"):
            solve_proximal(other)
    assert "gap" in solve_proximal(problem, steps=1).warnings[0]


def test_what_the_program_says_is_passed_on(monkeypatch):
    cp = pytest.importorskip("cvxpy", reason="the extra `convex`")
    monkeypatch.setattr(cp.Problem, "status", "optimal_inaccurate")
    assert "optimal_inaccurate" in solve_program(drawn(0)).warnings[0]
    monkeypatch.setattr(cp.Problem, "solve", lambda *_, **__: None)
    with pytest.raises(ValueError, match="ended with status"):
        solve_program(drawn(0))


def test_inputs_that_say_nothing():
    """Zeros: nothing beats zeros, and the bound proves it."""
    problem = drawn(0, k=2)
    empty = Problem(0 * problem.x, problem.y, problem.trace, problem.ridge)
    found = solve_splitting(empty)
    assert found.objective == pytest.approx(float((problem.y**2).sum(1).mean())) and found.gap <= 1e-3
    assert not found.a.any()
