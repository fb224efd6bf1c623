import pytest
import torch
from core_reference import cnn, gradient_rows, mlp
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vestige.core import kkt
from vestige.core.kkt import gram_system, stationarity_residual, weighted_gradient
from vestige.core.rng import child
from vestige.core.soft_gate import SmoothedReLU, smoothed


def draw(n, shape, out, seed=0):
    generator = child(seed, "data")
    return torch.randn(n, *shape, generator=generator), torch.randn(n, out, generator=generator)


class Residual(nn.Module):
    """Outside the layer formula: a skip, a layer used twice, LayerNorm, a bare parameter."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(6, 6)
        self.norm = nn.LayerNorm(6)
        self.scale = nn.Parameter(torch.ones(()))
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        x = x + self.inner(x).relu()
        return self.scale * self.head(self.norm(x + self.inner(x).relu()))


def frozen_first():
    net = mlp(6, 5, 3)
    net[1].bias.requires_grad_(False)
    return net


MODELS = {
    "two-layer": (lambda: mlp(6, 5, 3), (6,)),
    "three-layer, biases": (lambda: mlp(6, 5, 7, 3, bias="all"), (6,)),
    "flattened image": (lambda: mlp(12, 5, 3), (3, 2, 2)),
    "cnn": (lambda: cnn(classes=3), (3, 8, 8)),
    "any module": (lambda: Residual().double(), (6,)),
    "frozen bias": (frozen_first, (6,)),
}


@pytest.fixture(params=MODELS)
def case(request):
    make, shape = MODELS[request.param]
    return make(), *draw(5, shape, 3)


def test_weighted_gradient_is_the_sum_of_the_rows(case):
    model, x, coef = case
    rows = gradient_rows(model, x, coef)
    for k, g in weighted_gradient(model, x, coef).items():
        torch.testing.assert_close(g.reshape(-1), rows[k].sum(0), atol=1e-10, rtol=0)


@pytest.mark.parametrize("budget", [2**29, 1000])
def test_gram_is_the_product_of_the_rows(case, budget, monkeypatch):
    """A1: layer formula (or torch.func, in one block or several) against one backward pass a sample."""
    monkeypatch.setattr(kkt, "ROWS_BUDGET", budget)
    model, x, coef = case
    rows = gradient_rows(model, x, coef)
    flat = torch.cat(list(rows.values()), 1)
    theta = torch.cat([p.detach().reshape(-1) for p in model.parameters() if p.requires_grad])
    system = gram_system(model, x, coef)
    torch.testing.assert_close(system.gram, flat @ flat.T, atol=1e-10, rtol=0)
    torch.testing.assert_close(system.target, flat @ theta, atol=1e-10, rtol=0)
    torch.testing.assert_close(system.theta_sq, theta @ theta)
    layer = next(iter(system.per_layer))
    part = torch.cat([v for k, v in rows.items() if kkt.layer_of(k) == layer], 1)
    torch.testing.assert_close(system.per_layer[layer].gram, part @ part.T, atol=1e-10, rtol=0)
    torch.testing.assert_close(gram_system(model, x, coef, layers=[layer]).gram, system.per_layer[layer].gram)


def test_gram_form_of_the_residual(case):
    model, x, coef = case
    multipliers = torch.rand(5, generator=child(3))
    direct = stationarity_residual(model, x, multipliers[:, None] * coef)
    system = gram_system(model, x, coef)
    torch.testing.assert_close(system.residual(multipliers), direct / system.theta_sq, atol=1e-9, rtol=0)


@given(
    n=st.integers(1, 6), width=st.integers(1, 8), depth=st.integers(1, 3), out=st.integers(1, 4), seed=st.integers(0, 9)
)
def test_euler_identity(n, width, depth, out, seed):
    """f is homogeneous of degree `depth`: <theta, r_i> = depth <c_i, f(x_i)>, the same share from each layer."""
    model = mlp(4, *[width] * (depth - 1), out, seed=seed)
    x, coef = draw(n, (4,), out, seed)
    system = gram_system(model, x, coef)
    share = (coef * model(x)).sum(1).detach()
    torch.testing.assert_close(system.target, depth * share, atol=1e-9, rtol=0)
    for part in system.per_layer.values():
        torch.testing.assert_close(part.target, share, atol=1e-9, rtol=0)


# Closed form of the smoothed gradient, written out


def closed_form(model, x, coef, alpha):
    """G_l = sum_i c_i delta_l(i) a_{l-1}(i)^T for a chain, from the formulas alone."""
    linears = [m for m in model if isinstance(m, nn.Linear)]
    relu = SmoothedReLU(alpha)  # smooths the activations too: without it d/dx differs by percents
    a, inputs, gates = x.flatten(1), [], []
    for i, layer in enumerate(linears):
        inputs.append(a)
        z = a @ layer.weight.T.detach() + (0 if layer.bias is None else layer.bias.detach())
        gates.append(torch.sigmoid(alpha * z))
        a = relu(z) if i + 1 < len(linears) else z
    delta, grads = coef, []
    for i in reversed(range(len(linears))):
        if linears[i].bias is not None:
            grads.insert(0, delta.sum(0))
        grads.insert(0, delta.T @ inputs[i])
        delta = delta @ linears[i].weight.detach() * (gates[i - 1] if i else 1)
    return grads


@pytest.mark.parametrize("widths", [(6, 5, 1), (6, 5, 4, 1), (6, 5, 4, 3)])
def test_smoothed_gradient_and_its_derivatives_equal_the_closed_form(widths):
    """A1: G, dL/dx and dL/dc to 1e-10."""
    model = mlp(*widths)
    x, coef = draw(4, (6,), widths[-1])
    x.requires_grad_(), coef.requires_grad_()
    results = []
    theta = list(model.parameters())
    for g in (
        list(weighted_gradient(smoothed(model, 20.0), x, coef, create_graph=True).values()),
        closed_form(model, x, coef, 20.0),
    ):
        loss = sum((p.detach() - q).square().sum() for p, q in zip(theta, g, strict=True))
        results.append([*g, *torch.autograd.grad(loss, (x, coef))])
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, atol=1e-10, rtol=0)


def test_differentiable_in_points_and_cotangents():
    model = mlp(3, 4, 2, activation=nn.Softplus)  # the smoothed ReLU's forward pass is not the integral of its backward
    x, coef = draw(2, (3,), 2)

    def residual(x, coef):
        return stationarity_residual(model, x, coef, create_graph=True)

    assert torch.autograd.gradcheck(residual, (x.requires_grad_(), coef.requires_grad_()))


def test_an_exact_kkt_point_has_zero_residual_and_random_weights_do_not():
    x, coef = draw(4, (6,), 1)
    linear = nn.Linear(6, 1, bias=False)
    with torch.no_grad():
        linear.weight.copy_(coef.T @ x)
    assert float(stationarity_residual(linear, x, coef)) == 0.0
    assert float(gram_system(linear, x, coef).residual(torch.ones(4))) < 1e-12
    with torch.no_grad():
        linear.weight.copy_(torch.randn(1, 6, generator=child(9)))
    assert float(gram_system(linear, x, coef).residual(torch.ones(4))) > 0.1


def test_the_users_model_stays_as_it_is():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 1)).float().train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    x = torch.randn(6, 4, dtype=torch.float32)
    weighted_gradient(model, x, torch.ones(6, 1, dtype=torch.float32))
    system = gram_system(model, x, torch.ones(6, 1, dtype=torch.float32), smoothing=10.0)
    assert system.gram.dtype == torch.float64
    assert model.training
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert all(torch.equal(before[k], v) and before[k].dtype == v.dtype for k, v in model.state_dict().items())


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: gram_system(mlp(3, 2, 1), *draw(2, (3,), 1), layers=["7"]), "trainable layers are"),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()
