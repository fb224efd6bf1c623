"""Training in the span of the data is the same computation as in the full space."""

import pytest
import torch
from torch import nn

from vestige.nets.convolutional import Conv, cnn
from vestige.nets.fully_connected import mlp
from vestige.nets.span import leave_span, span_view
from vestige.nets.training import train_to_margin


def problem(n=7, d=20, out=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator)
    return x - x.mean(0), torch.arange(n) % out


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 1e-2])
def test_twins_agree_after_500_steps(weight_decay, momentum):
    x, y = problem()
    model = mlp([20, 30, 3], generator=torch.Generator().manual_seed(1))
    options = {"loss": "cross_entropy", "weight_decay": weight_decay, "steps": 500, "schedule": "constant"}
    options |= {"learning_rate": 0.02, "momentum": momentum, "tol_loss": 0.0}
    inside, full = (
        train_to_margin(model, x, y, span=True, **options),
        train_to_margin(model, x, y, span=False, **options),
    )
    assert (inside.span_rank, full.span_rank, inside.steps) == (6, None, 500)
    torch.testing.assert_close(inside.model(x), full.model(x), rtol=0, atol=1e-12)
    for a, b in zip(inside.model.parameters(), full.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
    assert inside.stationarity == pytest.approx(full.stationarity, abs=1e-9)


@pytest.mark.parametrize("weight_decay", [0.0, 1e-2])
def test_the_part_outside_the_span_only_decays(weight_decay):
    x, y = problem()
    model = mlp([20, 30, 3])
    trained = train_to_margin(
        model,
        x,
        y,
        loss="cross_entropy",
        weight_decay=weight_decay,
        steps=500,
        schedule="constant",
        learning_rate=0.02,
        span=False,
        tol_loss=0.0,
    ).model
    basis = torch.linalg.svd(x, full_matrices=False).Vh[:6]
    outside = torch.eye(20) - basis.T @ basis
    expected = (1 - 0.02 * weight_decay) ** 500 * model[1].weight @ outside
    torch.testing.assert_close(trained[1].weight @ outside, expected, rtol=0, atol=1e-12)


def test_the_view_computes_the_same_outputs_and_leads_back():
    x, _ = problem()
    model = mlp([20, 8, 2])
    view = span_view(model, x)
    assert view is not None and view.z.shape == (7, 6)
    torch.testing.assert_close(view.model(view.z), model(x))
    back = leave_span(view, view.model, model, 1.0)
    torch.testing.assert_close(back[1].weight, model[1].weight)
    assert back is not model and model[1].in_features == 20


@pytest.mark.parametrize(
    "wrap",
    [lambda net: net, lambda net: nn.Sequential(nn.Identity(), net, nn.Identity()), lambda net: net[1:]],
    ids=["plain", "nested", "bare"],
)
def test_nested_networks_have_a_view(wrap):
    x, _ = problem()
    model = wrap(mlp([20, 8, 2]))
    view = span_view(model, x)
    assert view is not None
    torch.testing.assert_close(view.model(view.z), model(x))
    torch.testing.assert_close(leave_span(view, view.model, model, 1.0)(x), model(x))


def test_only_exact_and_smaller_spans_are_used():
    shared = nn.Linear(20, 20)
    frozen = mlp([20, 4, 1])
    frozen[1].weight.requires_grad_(False)
    for model in (
        cnn((1, 4, 5), [Conv(2, 3), 1]),
        nn.Sequential(nn.ReLU(), nn.Linear(20, 1)),
        nn.Sequential(nn.Linear(20, 20), nn.ReLU(), nn.LayerNorm(20)).append(nn.Linear(20, 1))[1:],
        nn.Sequential(shared, nn.ReLU(), shared),
        nn.Sequential(nn.Dropout(), nn.Linear(20, 1)),
        frozen,
    ):
        assert span_view(model, torch.randn(7, 20)) is None
    assert span_view(nn.Linear(5, 1), torch.randn(2, 4, 5)) is None  # acts on the last axis, not on samples
    many, _ = problem(n=30)
    assert span_view(mlp([20, 4, 1]), many) is None
    assert span_view(mlp([20, 4, 1]), torch.zeros(3, 20)) is None
    with pytest.raises(ValueError, match="span=True"):
        train_to_margin(mlp([20, 4, 1]), many, torch.arange(30) % 2, span=True)
