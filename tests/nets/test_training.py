"""Training: closed forms, torch's own optimiser as reference, the recipes users rely on, and what must be refused."""

import math

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from vestige.core.margins import margin
from vestige.core.outcome import Outcome
from vestige.nets.convolutional import Conv, cnn
from vestige.nets.fully_connected import mlp
from vestige.nets.training import train_to_margin


def digits(n=20, binary=False, seed=0):
    """n centered digits of 64 pixels, in equal shares."""
    pixels, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(pixels) / 16, torch.tensor(labels)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    chosen = torch.cat([order[y[order] == c][: n // 10] for c in range(10)])
    x, y = x[chosen] - x[chosen].mean(0), y[chosen]
    return x, (y % 2 if binary else y)


def test_two_points_give_the_maximum_margin_direction():
    x, y = torch.tensor([[2.0, 1.0], [-2.0, -1.0]]), torch.tensor([1, 0])
    result = train_to_margin(mlp([2, 1], bias="none", first_init=1e-3), x, y, tol_loss=1e-10, span=False)
    weight = result.model[1].weight[0]
    assert torch.nn.functional.cosine_similarity(weight, x[0], dim=0).item() > 0.999
    assert result.outcome is Outcome.CONVERGED and result.loss <= 1e-10


def test_ridge_regression_reaches_its_closed_form():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(12, 4, generator=generator), torch.randn(12, 1, generator=generator)
    result = train_to_margin(
        mlp([4, 1], bias="none"), x, y, loss="mse", weight_decay=0.1, learning_rate=0.05, steps=1000
    )
    # gradient of |xw - y|^2 / n + wd/2 |w|^2
    exact = torch.linalg.solve(2 * x.T @ x / 12 + 0.1 * torch.eye(4), 2 * x.T @ y / 12)
    torch.testing.assert_close(result.model[1].weight.T, exact, rtol=0, atol=1e-6)
    assert result.stationarity < 1e-5 and math.isnan(result.accuracy)


@pytest.mark.parametrize("loss", ["logistic", "exponential", "mse", "huber"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_constant_steps_are_torch_sgd(loss, momentum):
    from vestige.core.margins import loss_value

    x, y = digits(binary=True)
    start = mlp([64, 10, 1], generator=torch.Generator().manual_seed(2))
    result = train_to_margin(
        start,
        x,
        y,
        loss=loss,
        weight_decay=0.01,
        schedule="constant",
        learning_rate=0.05,
        momentum=momentum,
        steps=25,
        span=False,
    )
    naive = mlp([64, 10, 1], generator=torch.Generator().manual_seed(2))
    optimiser = torch.optim.SGD(naive.parameters(), lr=0.05, momentum=momentum, weight_decay=0.01)
    for _ in range(25):
        optimiser.zero_grad()
        loss_value(naive(x), y, loss).backward()
        optimiser.step()
    for a, b in zip(result.model.parameters(), naive.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_the_recipe_for_twenty_digits():
    x, y = digits()
    result = train_to_margin(mlp([64, 1000, 10], first_init=1e-3), x, y, loss="cross_entropy", weight_decay=1e-3)
    assert result.accuracy == 1.0 and result.warnings == ()
    assert result.stationarity < 0.3 and result.loss < 0.01 and result.span_rank == 19
    assert bool((margin(result.model(x), y) > 4).all())


@pytest.mark.parametrize("loss", ["logistic", "mse", "huber"])
@pytest.mark.parametrize("hidden", [[200], [80, 80]])
@pytest.mark.parametrize("weight_decay", [0.0, 1e-3])
def test_binary_heads_of_two_and_three_layers(loss, hidden, weight_decay):
    x, y = digits(binary=True)
    model = mlp([64, *hidden, 1], first_init=1e-3, dtype=torch.float32)
    result = train_to_margin(model, x, y, loss=loss, weight_decay=weight_decay, steps=1500 if weight_decay else None)
    assert result.accuracy == 1.0 and result.loss < (1e-5 if not weight_decay else 0.05)
    assert result.outcome is (Outcome.BUDGET_SPENT if weight_decay else Outcome.CONVERGED)
    assert {p.dtype for p in result.model.parameters()} == {torch.float32}


def test_a_cnn_trains_in_pixels():
    x, y = digits(binary=True)
    model = cnn((1, 8, 8), [Conv(8, 3, stride=2), Conv(8, 3, stride=2), 1], first_init=1e-2)
    result = train_to_margin(model, x.reshape(-1, 1, 8, 8), y, tol_loss=1e-3)
    assert (result.accuracy, result.span_rank, result.outcome) == (1.0, None, Outcome.CONVERGED)


def test_a_smooth_network_becomes_exactly_stationary():
    """Without kinks theta = sum_i -l'_i / (n wd) grad f(x_i) holds to the last digits asked for (arXiv 2307.01827)."""
    x, y = digits()
    model = mlp([64, 30, 10], activation="gelu", generator=torch.Generator().manual_seed(0))
    result = train_to_margin(model, x, y, loss="cross_entropy", weight_decay=1e-2, steps=20_000, tol_stationarity=1e-4)
    assert result.outcome is Outcome.CONVERGED and result.stationarity <= 1e-4


def test_without_training_nothing_is_stationary():
    """The null: initial weights, and trained weights in random order, must not look like a trained model."""
    x, y = digits()
    model = mlp([64, 200, 10], first_init=1e-3)
    result = train_to_margin(model, x, y, loss="cross_entropy", weight_decay=1e-3, steps=1500)
    assert result.stationarity < 0.3 < 1 < result.stationarity_history[0]
    with torch.no_grad():
        for parameter in result.model.parameters():
            order = torch.randperm(parameter.numel(), generator=torch.Generator().manual_seed(0))
            parameter.copy_(parameter.flatten()[order].reshape(parameter.shape))
    again = train_to_margin(
        result.model, x, y, loss="cross_entropy", weight_decay=1e-3, schedule="constant", learning_rate=1e-9, steps=1
    )
    assert again.stationarity > 1


def test_weight_decay_leaves_the_rank_of_the_data_in_the_first_layer():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(16, 40, generator=generator), torch.arange(16) % 8
    model, options = mlp([40, 120, 8], generator=generator), {"loss": "cross_entropy", "weight_decay": 1e-3}
    result = train_to_margin(model, x, y, steps=8000, span=False, **options)
    singular = torch.linalg.svdvals(result.model[1].weight)
    assert singular[15] > 1e-3 and singular[15] / singular[16] > 1e4  # measured 1.1e-2 and 5e12
    without = train_to_margin(model, x, y, loss="cross_entropy", span=False)  # the null: the start stays in it
    singular = torch.linalg.svdvals(without.model[1].weight)
    assert singular[15] / singular[16] < 10


def test_leaves_the_users_model_and_the_global_state_alone():
    x, y = digits(binary=True)
    model = mlp([64, 20, 1]).eval()
    model[3].weight.requires_grad_(False)
    before, state = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    first = train_to_margin(model, x, y, steps=50)
    second = train_to_margin(model, x, y, steps=50)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters()) and not model.training
    assert torch.equal(torch.get_rng_state(), state) and torch.get_default_dtype() is torch.float64
    assert torch.equal(first.model[3].weight, model[3].weight)  # frozen stays frozen
    assert not first.model[3].weight.requires_grad and first.model[1].weight.requires_grad
    assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True))


def test_histories_and_callbacks_belong_together():
    x, y = digits(binary=True)
    seen = []
    result = train_to_margin(mlp([64, 20, 1]), x, y, weight_decay=1e-3, steps=900, on_step=seen.append)
    assert list(result.recorded_steps) == [s.index for s in seen] and len(seen) <= 451
    assert list(result.loss_history) == [s.value for s in seen]
    assert (result.recorded_steps[-1], result.loss, seen[-1].total) == (900, result.loss_history[-1], 900)
    assert len(result.stationarity_history) == len(seen)
    assert [p.arxiv for p in result.source] == ["2206.07758", "2307.01827"]


def test_divergence_is_named_and_keeps_finite_weights():
    x, y = digits(binary=True)
    options = {"weight_decay": 1e-3, "steps": 200, "loss": "mse"}
    result = train_to_margin(mlp([64, 20, 1]), 100 * x, y, learning_rate=1e3, **options)
    assert result.outcome is Outcome.NOT_FINITE and "diverged" in result.warnings[-1]
    assert all(bool(torch.isfinite(p).all()) for p in result.model.parameters())
    rescued = train_to_margin(mlp([64, 20, 1]), 10 * x, y, **options)
    assert rescued.outcome is Outcome.BUDGET_SPENT and rescued.learning_rate < 0.2


def test_misclassified_samples_are_warned_about():
    x = torch.ones(4, 3)
    result = train_to_margin(mlp([3, 4, 1]), x, torch.tensor([0, 1, 1, 1]), steps=20)
    assert any("1 of 4" in line for line in result.warnings)


GOOD = {"x": torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), "y": torch.tensor([0, 1, 0, 1])}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"x": torch.full((4, 3), torch.nan)}, "NaN"),
        ({"x": torch.zeros(0, 3), "y": torch.zeros(0).long()}, "empty"),
        ({"x": torch.zeros(4, 5)}, r"samples of shape \(5,\)"),
        ({"y": torch.tensor([0, 1, 2, 1])}, "labels"),
        ({"y": torch.tensor([0, 1])}, "labels"),
        ({"loss": "hinge"}, "hinge"),
        ({"loss": "cross_entropy", "model": mlp([3, 4, 2]), "y": torch.tensor([0, 1, 2, 1])}, "labels run"),
        ({"model": mlp([3, 4, 2])}, "Use 'cross_entropy'"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"weight_decay": math.nan}, "weight_decay"),
        ({"steps": 0}, "steps"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"momentum": 1.0}, "momentum"),
        ({"momentum": 0.5}, "no momentum"),
        ({"span": "yes"}, "span"),
        ({"schedule": "warp"}, "loss_scaled, one_cycle, constant"),
        ({"model": nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1))}, "two forward passes differ"),
        ({"model": mlp([3, 4, 1]).requires_grad_(False)}, "no trainable"),
        ({"model": nn.Sequential(nn.Linear(3, 1), nn.Unflatten(1, (1, 1)))}, "returned shape"),
    ],
)
def test_bad_input_is_named(changed, said):
    call = {"model": mlp([3, 4, 1]), **GOOD, **changed}
    with pytest.raises(ValueError, match=said):
        train_to_margin(call.pop("model"), call.pop("x"), call.pop("y"), **call)
