import copy

import pytest
import torch
from core_reference import cnn, mlp
from torch import nn

from vestige.core.cite import citation
from vestige.core.margins import loss_cotangent, loss_value, multiplier_cotangent
from vestige.core.residual import stationarity
from vestige.core.rng import child


@pytest.fixture(scope="module")
def decayed():
    """A8's network: two layers, logistic loss, weight decay, plain gradient descent written out (two seconds)."""
    torch.set_default_dtype(torch.float64)
    generator = child(0, "d")
    x, y = torch.randn(16, 40, generator=generator), torch.randint(2, (16,), generator=generator)
    net, wd, rate, sign = mlp(40, 120, 1), 1e-3, 0.5, 2.0 * y - 1
    w, b, v = (p.detach() for p in net.parameters())
    w.mul_(0.01), b.mul_(0.01)
    for _ in range(20_000):
        z = x @ w.T + b
        a = z.relu()
        c = -sign * torch.sigmoid(-sign * (a @ v[0])) / 16
        back = (c[:, None] * v) * (z > 0)
        steps = back.T @ x + wd * w, back.sum(0) + wd * b, (c @ a)[None] + wd * v
        for p, step in zip((w, b, v), steps, strict=True):
            p.sub_(step, alpha=rate)
    return net, x, y, wd


def test_clarke_explains_what_autograd_cannot(decayed):
    """A8: a quarter of the pairs sit at kinks; |W1 - sum| / |W1| is far from 0 for autograd and below .1 for Clarke.

    Autograd's value changes from step to step, as pairs hop over the kink: .32 to .51 over four seeds and two step
    sizes, against .025 to .091, with .20 to .32 of the pairs at the kink.
    """
    net, x, y, wd = decayed
    plain = stationarity(net, x, y, loss="logistic", weight_decay=wd)
    best = stationarity(net, x, y, loss="logistic", weight_decay=wd, subgradient="clarke")
    assert 0.25 < plain.residual_per_layer["1"] ** 0.5 < 0.6
    assert best.residual_per_layer["1"] ** 0.5 < 0.1
    assert plain.residual > 10 * best.residual
    assert 0.2 < plain.kink_fraction < 0.4
    assert any("kink" in warning for warning in plain.warnings)
    assert not best.warnings
    assert "2510.14844" in citation(best)
    gates = best.kink_coefficients["1"]
    assert gates.shape == (16, 120)
    assert 0.1 < float(((gates > 0.01) & (gates < 0.99)).double().mean()) < 0.4
    # The result does not hinge on the tolerance, once it covers how far a step moves a pair over the kink.
    for tolerance in (5e-3, 5e-2):
        other = stationarity(
            net, x, y, loss="logistic", weight_decay=wd, subgradient="clarke", kink_tolerance=tolerance
        )
        assert other.residual == pytest.approx(best.residual, rel=0.1)


def test_multipliers_of_the_margin_agree_with_those_of_the_loss(decayed):
    net, x, y, wd = decayed
    known = stationarity(net, x, y, loss="logistic", weight_decay=wd)
    solved = stationarity(net, x, y, loss="logistic", subgradient="clarke")
    assert float((solved.multipliers - known.multipliers).norm() / known.multipliers.norm()) < 0.1
    assert torch.equal(solved.sample, torch.arange(16))
    assert bool(solved.support.all())
    assert solved.balancedness == pytest.approx({"1": 1.0, "3": 1.0}, abs=0.05)


def test_other_weights_and_other_labels_do_not_pass(decayed):
    """The null methods: an untrained network, and the trained one with shuffled labels."""
    net, x, y, _ = decayed
    other = mlp(40, 120, 1, seed=5)
    for found in (
        stationarity(other, x, y, loss="logistic", subgradient="clarke"),
        stationarity(net, x, 1 - y, loss="logistic", subgradient="clarke"),
        stationarity(net, torch.randn(16, 40, generator=child(8)), y, loss="logistic", subgradient="clarke"),
    ):
        assert found.residual > 0.5
        assert any("far from stationary" in warning for warning in found.warnings)


def test_smooth_network_with_squared_loss_reproduces_its_weights():
    """A10: s_i = -l'_i / (n wd) to 1e-4 at convergence; no kinks, no homogeneity, late biases and all."""
    generator = child(1, "smooth")
    x, y = torch.randn(8, 5, generator=generator), torch.randn(8, 2, generator=generator)
    net, wd = mlp(5, 12, 2, bias="all", activation=nn.Softplus), 0.02
    params = list(net.parameters())
    optimizer = torch.optim.LBFGS(params, max_iter=1000, tolerance_grad=1e-10, tolerance_change=0, history_size=50)

    def closure():
        optimizer.zero_grad()
        value = loss_value(net(x), y, "mse") + wd / 2 * sum(p.square().sum() for p in params)
        value.backward()
        return value

    optimizer.step(closure)
    found = stationarity(net, x, y, loss="mse", weight_decay=wd)
    assert found.residual**0.5 < 1e-4
    assert all(r**0.5 < 1e-4 for r in found.residual_per_layer.values())
    assert found.margins is None
    assert found.kink_fraction == 0
    torch.testing.assert_close(found.cotangent, multiplier_cotangent(net(x).detach(), y, "mse", wd))
    free = stationarity(net, x, y, loss="mse")
    assert free.residual <= found.residual + 1e-9
    assert stationarity(net, x, y.flip(0), loss="mse", weight_decay=wd).residual > 0.1


def test_two_classes_agree_with_their_difference(decayed):
    """A11: f = (-g/2, g/2) has the margins of g; all and strongest competitors are one and the same."""
    net, x, y, _ = decayed
    double = copy.deepcopy(net)
    double[3] = nn.Linear(120, 2, bias=False)
    with torch.no_grad():
        double[3].weight.copy_(torch.cat([-net[3].weight, net[3].weight]) / 2)
    binary = stationarity(net, x, y, loss="logistic", layers=["1"])
    for competitors in ("max", "all"):
        found = stationarity(double, x, y, loss="cross_entropy", layers=["1"], competitors=competitors)
        torch.testing.assert_close(found.multipliers, binary.multipliers, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(found.margins, binary.margins)
        assert found.residual == pytest.approx(binary.residual)
    decay = stationarity(double, x, y, loss="cross_entropy", weight_decay=1e-3)
    torch.testing.assert_close(
        decay.multipliers, stationarity(net, x, y, loss="logistic", weight_decay=1e-3).multipliers
    )


def exact_point(out=1, n=6, d=10):
    """A linear model written as sum c_i x_i with c_i = lambda_i y_i: stationary by construction."""
    x, y = torch.randn(n, d, generator=child(2)), torch.arange(n) % 2
    lam = torch.rand(n, generator=child(3)) + 0.1
    linear = nn.Linear(d, 1, bias=False)
    with torch.no_grad():
        linear.weight.copy_((lam * (2 * y - 1))[None] @ x)
    return linear, x, y, lam


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_exact_point_is_recovered(dtype):
    linear, x, y, lam = exact_point()
    found = stationarity(linear.to(dtype), x.to(dtype), y, loss="logistic")
    torch.testing.assert_close(found.multipliers, lam, atol=1e-5, rtol=1e-5)
    assert found.residual < 1e-12
    assert found.multipliers.dtype == torch.float64
    assert next(linear.parameters()).dtype == dtype


@pytest.mark.parametrize("subgradient", ["autograd", "smoothed", "clarke"])
@pytest.mark.parametrize("loss", ["logistic", "mse", "huber", "exponential"])
@pytest.mark.parametrize("weight_decay", [None, 0.01])
def test_every_combination_gives_finite_numbers(subgradient, loss, weight_decay):
    net, y = mlp(4, 6, 5, 1), torch.tensor([0, 1, 1])
    x = torch.randn(3, 4, generator=child(0))
    before = copy.deepcopy(net.state_dict())
    found = stationarity(net, x, y, loss=loss, weight_decay=weight_decay, subgradient=subgradient, layers=["1", "3"])
    assert found.residual >= 0
    assert set(found.residual_per_layer) == {"1", "3", "5"}
    assert torch.isfinite(found.cotangent).all()
    assert found.cotangent.shape == (3, 1)
    if weight_decay:
        torch.testing.assert_close(found.cotangent, -loss_cotangent(net(x).detach(), y, loss) / 0.03)
    elif subgradient != "clarke":
        assert found.residual <= 1 + 1e-12
    assert all(torch.equal(v, net.state_dict()[k]) for k, v in before.items())
    assert all(p.grad is None for p in net.parameters())


def test_networks_that_are_no_chains():
    x, y = torch.randn(5, 3, 8, 8, generator=child(0)), torch.arange(5) % 4
    found = stationarity(cnn(), x, y, loss="cross_entropy", competitors="all")
    assert len(found.multipliers) == 15
    assert found.residual <= 1
    assert set(found.residual_per_layer) == {"0", "2", "5"}
    with pytest.raises(
        ValueError, match=r"subgradient='clarke' covers chains.*layer '0' is a Conv2d.*Or take 'smoothed'"
    ):
        stationarity(cnn(), x, y, loss="cross_entropy", subgradient="clarke")


def test_warnings():
    linear, x, y, _ = exact_point()
    doubled = stationarity(linear, x[[0, 0, 1]], y[[0, 0, 1]], loss="logistic")
    assert any("some samples are equal" in warning for warning in doubled.warnings)
    wrong = stationarity(linear, x, 1 - y, loss="logistic")
    assert any("misclassified" in warning for warning in wrong.warnings)
    normed = nn.Sequential(nn.Linear(10, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 1)).train()
    assert any("evaluation mode" in warning for warning in stationarity(normed, x, y, loss="logistic").warnings)
    assert normed.training


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"loss": "logistic", "multipliers": "loss"}, "needs weight_decay"),
        ({"loss": "mse", "multipliers": "nonnegative"}, "Use 'ridge'"),
        ({"loss": "logistic", "weight_decay": -1.0}, "must be positive"),
        ({"loss": "hinge"}, "allowed are"),
        ({"loss": "logistic", "layers": ["9"]}, "trainable layers"),
        ({"loss": "logistic", "subgradient": "exact"}, "exact"),
    ],
)
def test_bad_options(options, match):
    linear, x, y, _ = exact_point()
    with pytest.raises(ValueError, match=match):
        stationarity(linear, x, y, **options)


def test_bad_numbers():
    linear, x, y, _ = exact_point()
    with pytest.raises(ValueError, match="NaN or infinite values in x"):
        stationarity(linear, x * torch.inf, y, loss="logistic")
    with pytest.raises(ValueError, match="labels"):
        stationarity(linear, x, y + 3, loss="logistic")
    nn.init.constant_(linear.weight, torch.nan)
    with pytest.raises(ValueError, match="values in weight"):
        stationarity(linear, x, y, loss="logistic")


def test_a_frozen_output_layer_is_left_out_of_the_residuals():
    net = mlp(5, 8, 1)
    last = [m for m in net.modules() if isinstance(m, nn.Linear)][-1]
    last.requires_grad_(False)
    found = stationarity(net, torch.randn(4, 5), torch.tensor([0, 1, 0, 1]), loss="logistic", subgradient="clarke")
    assert len(found.residual_per_layer) == 1
