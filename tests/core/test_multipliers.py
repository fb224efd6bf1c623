import pytest
import torch
from core_reference import mlp
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import lsq_linear

from vestige.core.kkt import weighted_gradient
from vestige.core.multipliers import clarke, nonnegative, ridge, run_chain
from vestige.core.relu_chain import read_relu_chain
from vestige.core.rng import child


def system(m, p, seed):
    generator = child(seed)
    rows, theta = torch.randn(m, p, generator=generator), torch.randn(p, generator=generator)
    return rows, theta, rows @ rows.T, rows @ theta


@given(m=st.integers(1, 8), p=st.integers(1, 8), seed=st.integers(0, 99))
def test_nonnegative_meets_the_optimality_conditions(m, p, seed):
    """lam >= 0, K lam - t >= 0, and their product 0; also where K is singular (m > p)."""
    _, _, gram, target = system(m, p, seed)
    lam = nonnegative(gram, target)
    slack = gram @ lam - target
    assert bool((lam >= 0).all())
    assert bool((slack >= -1e-8).all())
    assert float((lam * slack).abs().max()) < 1e-7


@given(m=st.integers(1, 8), p=st.integers(1, 8), seed=st.integers(0, 99))
def test_ridge_is_least_squares(m, p, seed):
    rows, theta, gram, target = system(m, p, seed)
    best = torch.linalg.lstsq(rows.T, theta, driver="gelsd").solution
    expected = (rows.T @ best - theta).square().sum()
    torch.testing.assert_close((rows.T @ ridge(gram, target) - theta).square().sum(), expected, atol=1e-6, rtol=0)


def test_ridge_shrinks():
    _, _, gram, target = system(5, 9, 0)
    norms = [float(ridge(gram, target, alpha).norm()) for alpha in (0.0, 0.1, 10.0)]
    assert norms == sorted(norms, reverse=True)


def test_ridge_is_relative_to_the_mean_of_the_diagonal():
    gram, target = torch.diag(torch.tensor([1.0, 3.0])), torch.tensor([3.0, 5.0])
    torch.testing.assert_close(ridge(gram, target, 0.5), target / torch.tensor([2.0, 4.0]))  # 0.5 * mean(1, 3) = 1


def test_a_zero_system_has_zero_multipliers():
    assert nonnegative(torch.zeros(3, 3), torch.zeros(3)).tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="NaN"):
        ridge(torch.full((2, 2), torch.nan), torch.zeros(2))


def kinky(n=4, d=6, h=5, out=2, seed=0):
    """A two-layer net whose W1 is exactly stationary for known multipliers and known fractional derivatives."""
    generator = child(seed, "kinky")
    x, rows = torch.randn(n, d, generator=generator), torch.randn(n, out, generator=generator)
    lam, gate = torch.rand(n, generator=generator) + 0.5, torch.rand(n, h, generator=generator)
    net = mlp(d, h, out, bias="none", seed=seed)
    with torch.no_grad():
        net[1].weight.copy_(((lam[:, None] * rows @ net[3].weight) * gate).T @ x)
    return net, x, rows, lam


def test_chain_residual_is_the_distance_for_any_gates():
    net, x, rows, _ = kinky()
    chain = run_chain(read_relu_chain(net), x)
    gate = torch.rand(4, 5, generator=child(1))
    w1, w2 = net[1].weight, net[3].weight
    expected = [
        (w1 - ((rows @ w2) * gate).T @ x).square().sum(),
        (w2 - rows.T @ (x @ w1.T).relu()).square().sum(),
    ]
    torch.testing.assert_close(chain.residuals(chain.backward(rows, [gate])), torch.stack(expected))


def test_clarke_finds_an_exact_point():
    """Every pair allowed to be fractional: the residual of W1 must go to zero."""
    net, x, rows, _ = kinky()
    chain = run_chain(read_relu_chain(net), x)
    point = clarke(chain, rows, torch.arange(4), use=[True, False], tolerance=1.0, steps=3000)
    cotangent = point.multipliers[:, None] * rows
    residual = chain.residuals(chain.backward(cotangent, point.gates))[0] / chain.theta_sq[0]
    assert float(residual) < 1e-7
    assert all(bool(((g >= 0) & (g <= 1)).all()) for g in point.gates)


@given(seed=st.integers(0, 9))
def test_clarke_with_known_multipliers_is_the_box_problem(seed):
    """Naive reference: bounded least squares, neuron by neuron, by scipy."""
    net, x, rows, lam = kinky(seed=seed)
    chain = run_chain(read_relu_chain(net), x)
    cotangent = lam[:, None] * rows
    point = clarke(chain, cotangent, torch.arange(4), multipliers=torch.ones(4), tolerance=0.3, use=[True, False])
    signal = (cotangent @ net[3].weight).detach()
    best = 0.0
    for j, w in enumerate(net[1].weight.detach()):
        kink, on = chain.kinks(0.3)[0][:, j], (chain.z[0][:, j] > 0).double()
        fixed = w - ((signal[:, j] * on)[~kink, None] * x[~kink]).sum(0)
        columns = (signal[:, j, None] * x)[kink].T
        best += (
            2 * lsq_linear(columns.numpy(), fixed.numpy(), (0, 1)).cost if kink.any() else float(fixed.square().sum())
        )
    found = chain.residuals(chain.backward(cotangent, point.gates))[0]
    assert float(found) == pytest.approx(best, rel=1e-5, abs=1e-9)


def test_clarke_is_never_worse_than_the_plain_derivative_in_deep_chains():
    net = mlp(6, 8, 7, 1, seed=3)
    x, y = torch.randn(5, 6, generator=child(4)), torch.tensor([1.0, -1, 1, -1, 1])[:, None]
    chain, index = run_chain(read_relu_chain(net), x), torch.arange(5)
    plain = [(z > 0).double() for z in chain.z[:-1]]
    gram, target = chain.gram(chain.backward(y, plain), index, [True] * 3)
    lam = nonnegative(gram, target)
    before = chain.residuals(chain.backward(lam[:, None] * y, plain)).sum()
    point = clarke(chain, y, index, tolerance=0.3)
    after = chain.residuals(chain.backward(point.multipliers[:, None] * y, point.gates)).sum()
    assert float(after) <= float(before) + 1e-9


@given(
    widths=st.lists(st.integers(1, 5), min_size=2, max_size=4),
    bias=st.sampled_from(["none", "first", "all"]),
    n=st.integers(1, 4),
    seed=st.integers(0, 9),
)
def test_the_gradient_of_plain_gates_is_autograd_s(widths, bias, n, seed):
    net, x = mlp(*widths, bias=bias, seed=seed), torch.randn(n, widths[0], generator=child(seed, "x"))
    coef = torch.randn(n, widths[-1], generator=child(seed, "coef"))
    chain = run_chain(read_relu_chain(net), x)
    found = chain.gradient(chain.backward(coef, [(z > 0).to(z) for z in chain.z[:-1]]))
    for name, expected in weighted_gradient(net, x, coef).items():
        torch.testing.assert_close(found[name], expected)


def test_the_ridge_is_relative_to_the_mean_of_the_diagonal():
    """Against one dense solve, for samples of very different gradients: their mean is not their largest."""
    gram = torch.diag(torch.tensor([1.0, 10.0, 100.0]).double()) + 0.1
    target = torch.tensor([1.0, -2.0, 3.0]).double()
    for alpha in (1e-3, 0.5):
        wanted = torch.linalg.solve(gram + alpha * gram.diagonal().mean() * torch.eye(3).double(), target)
        torch.testing.assert_close(ridge(gram, target, alpha), wanted)
