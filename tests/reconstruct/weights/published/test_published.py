import copy
import math

import pytest
import torch
from torch import nn

from vestige.core.outcome import Outcome
from vestige.core.rng import child
from vestige.core.soft_gate import smoothed
from vestige.nets.fully_connected import mlp
from vestige.nets.training import train_to_margin
from vestige.reconstruct.weights.published.objective import published_objective
from vestige.reconstruct.weights.published.search import published_search
from vestige.reconstruct.weights.published.settings import PUBLISHED, published_settings, random_settings

OPTIONS = {"lr_x": 0.02, "lr_lambda": 0.05, "init_scale": 0.3, "lambda_min": 0.3, "sharpness": 7.0}


def gaussian(*shape, seed=0):
    return torch.randn(*shape, generator=child(seed, "gaussian"), dtype=torch.float64)


def chain(*widths, bias="first", seed=0):
    return mlp(list(widths), bias=bias, generator=child(seed), dtype=torch.float64)


def naive(model, x, lam, objective, lambda_min, sharpness, low, high):
    """The papers' loss sample by sample, by automatic differentiation twice."""
    net, m = smoothed(model, sharpness), len(x)
    params = [p for p in net.parameters() if p.requires_grad]
    gap = [p.detach().clone() for p in params]
    for i in range(m):
        out = net(x[i : i + 1])[0]
        if objective == "binary":
            value = lam[i] * out[0] * (-1 if i < m / 2 else 1)
        elif objective == "multiclass":
            label = i * len(out) // m
            value = lam[i] * (out[label] - torch.stack([o for j, o in enumerate(out) if j != label]).max())
        else:
            value = (lam[i] * out).sum()
        for k, g in enumerate(torch.autograd.grad(value / m, params, create_graph=True)):
            gap[k] = gap[k] - g
    total = sum(g.square().sum() for g in gap)
    total = total + (x - high).relu().square().sum() + (low - x).relu().square().sum()
    return total if objective == "general" else total + 5 * (lambda_min - lam).relu().square().sum()


CASES = [
    ("binary", chain(6, 9, 7, 1), 8),
    ("binary", chain(6, 9, 1, bias="all"), 5),
    ("multiclass", chain(6, 9, 7, 3), 9),
    ("general", chain(6, 9, 7, 1, bias="none"), 8),
    ("general", chain(6, 9, 3), 7),
]


@pytest.mark.parametrize(("objective", "model", "m"), CASES)
def test_the_objective_is_the_papers_in_value_and_slope(objective, model, m):
    problem = published_objective(
        model, (6,), candidates=m, loss="logistic", lambda_min=0.6, sharpness=7.0, objective=objective, box=(-0.8, 1.1)
    )
    x = gaussian(m, 6).requires_grad_()
    lam = gaussian(m, *problem.free, seed=1).requires_grad_()
    expected = naive(model, x, lam, objective, 0.6, 7.0, -0.8, 1.1)
    value = problem.value(x, lam)
    torch.testing.assert_close(value, expected, atol=1e-10, rtol=1e-10)
    for got, want in zip(torch.autograd.grad(value, [x, lam]), torch.autograd.grad(expected, [x, lam]), strict=True):
        torch.testing.assert_close(got, want, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("objective", ["multiclass", "general"])
def test_convolutions_take_the_general_path_and_agree_with_the_papers(objective):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 3)).double()
    problem = published_objective(
        model, (1, 4, 4), candidates=6, loss="cross_entropy", lambda_min=0.6, sharpness=7.0, objective=objective
    )
    x, lam = gaussian(6, 1, 4, 4).requires_grad_(), gaussian(6, *problem.free, seed=1).requires_grad_()
    expected, value = naive(model, x, lam, objective, 0.6, 7.0, -1.0, 1.0), problem.value(x, lam)
    torch.testing.assert_close(value, expected, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(
        torch.autograd.grad(value, x)[0], torch.autograd.grad(expected, x)[0], atol=1e-10, rtol=1e-10
    )


def test_closed_form_and_automatic_differentiation_agree():
    model = chain(6, 9, 7, 3)
    wrapped = nn.ModuleList([model])  # same network, but not a chain that can be read

    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = wrapped

        def forward(self, x):
            return self.inner[0](x)

    options = {"candidates": 6, "loss": "cross_entropy", "lambda_min": 0.1, "sharpness": 20.0}
    x, lam = gaussian(6, 6), gaussian(6, seed=1)
    values = [published_objective(net, (6,), **options).value(x, lam).detach() for net in (model, Wrapped())]
    torch.testing.assert_close(values[0], values[1])


def test_two_classes_on_the_difference_head_are_the_binary_objective():
    """Multiclass with outputs (-f/2, f/2) has the gap y f: the same cotangent of f."""
    model = chain(6, 9, 1)
    body = copy.deepcopy(model)
    body[-1] = nn.Linear(9, 2, bias=False).double()
    with torch.no_grad():
        body[-1].weight.copy_(torch.cat([-model[-1].weight / 2, model[-1].weight / 2]))
    options = {"candidates": 6, "loss": "cross_entropy", "lambda_min": 0.1, "sharpness": 20.0}
    one, two = (published_objective(net, (6,), **options) for net in (model, body))
    assert (one.objective, two.objective) == ("binary", "multiclass") and torch.equal(one.labels, two.labels)
    x, lam = gaussian(6, 6), gaussian(6, seed=1).abs()
    pair = two.cotangents(x, lam)
    torch.testing.assert_close((pair[:, 1] - pair[:, 0]) / 2, one.cotangents(x, lam)[:, 0])
    first = [p.gradients(x, p.cotangents(x, lam))["1.weight"] for p in (one, two)]
    torch.testing.assert_close(first[0], first[1])


def test_span_coordinates_are_the_same_search_inside_the_box():
    model = chain(12, 5, 1)
    plain, span = (
        published_objective(
            model, (12,), candidates=4, loss="logistic", lambda_min=0.0, sharpness=9.0, box=(-9.0, 9.0), span=s
        )
        for s in (False, True)
    )
    z, lam = gaussian(4, 5), gaussian(4, seed=1).abs()
    torch.testing.assert_close(span.value(z, lam), plain.value(span.inputs(z), lam))
    assert span.inputs(z).shape == (4, 12)


def test_a_stationary_point_has_residual_zero():
    """A linear network is its own closed form: w = sum lambda_i y_i x_i / m."""
    x, lam = gaussian(4, 3), gaussian(4, seed=1).abs()
    linear = nn.Sequential(nn.Linear(3, 1, bias=False)).double()
    problem = published_objective(
        linear, (3,), candidates=4, loss="logistic", lambda_min=0.0, sharpness=9.0, box=(-9.0, 9.0)
    )
    with torch.no_grad():
        problem.theta["0.weight"].copy_(problem.cotangents(x, lam).T @ x)
    assert float(problem.value(x, lam).detach()) == pytest.approx(0, abs=1e-20)
    assert problem.labels.tolist() == [0, 0, 1, 1]


# the search


def small_task():
    x, y = gaussian(4, 10), torch.arange(4) % 2
    x = x - x.mean(0)
    start = mlp([10, 40, 1], first_init=1e-3, generator=child(1), dtype=torch.float64)
    return train_to_margin(start, x, y, weight_decay=1e-2, steps=1500).model


TASK = small_task()


def run(model, **changes):
    options = {"candidates": 8, "loss": "logistic", "steps": 500, "box": (-3.0, 3.0), "generator": child(3)}
    rates = {"lr_x": 0.1, "lr_lambda": 0.2, "init_scale": 0.1, "lambda_min": 0.05, "sharpness": 50.0}
    return published_search(model, (10,), **{**options, **rates, **changes})


def test_descent_explains_a_trained_network_and_no_untrained_one():
    """The null: random weights of the same norms are no sum of eight gradients."""
    null = chain(10, 40, 1, seed=5)
    with torch.no_grad():
        for p, q in zip(null.parameters(), TASK.parameters(), strict=True):
            p.mul_(q.norm() / p.norm().clamp(min=1e-12))
    trained, untrained = run(TASK), run(null)
    assert trained.outcome is Outcome.BUDGET_SPENT and trained.steps == 500
    assert trained.residual < 0.01 and untrained.residual > 0.3
    assert set(trained.residual_per_layer) == {name for name, _ in TASK.named_parameters()}
    assert trained.candidates.shape == (8, 10) and trained.labels.tolist() == [0] * 4 + [1] * 4
    assert (trained.cotangents.flatten() * (2 * trained.labels - 1) * 8).allclose(trained.multipliers)


@pytest.mark.parametrize(("objective", "loss"), [("binary", "logistic"), ("general", "mse")])
def test_a_few_steps_lower_the_objective_that_follows_from_the_loss(objective, loss):
    seen = []
    end = run(TASK, steps=30, lr_x=0.01, lr_lambda=0.01, loss=loss, on_step=seen.append)
    assert [step.index for step in seen] == list(range(1, 31)) and seen[0].total == 30
    assert seen[-1].value < 0.9 * seen[0].value
    assert (end.labels[0] == -1) == (objective == "general")


def test_the_same_generator_gives_the_same_run_and_nothing_else_moves():
    before, state = copy.deepcopy(TASK.state_dict()), torch.get_rng_state()
    TASK.train()
    first, again = run(TASK, steps=5), run(TASK, steps=5)
    assert torch.equal(first.candidates, again.candidates) and torch.equal(first.multipliers, again.multipliers)
    assert not torch.equal(first.candidates, run(TASK, steps=5, generator=child(4)).candidates)
    assert torch.equal(state, torch.get_rng_state()) and TASK.training
    assert all(torch.equal(before[k], v) for k, v in TASK.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in TASK.parameters())


def test_divergence_is_said_and_the_last_finite_state_kept():
    end = run(TASK, lr_x=1e6, lr_lambda=1e6)
    assert end.outcome is Outcome.NOT_FINITE and end.steps < 500
    assert torch.isfinite(end.candidates).all() and torch.isfinite(end.multipliers).all()


def test_other_activations_and_a_frozen_layer_are_searched_too():
    gelu = nn.Sequential(nn.Flatten(), nn.Linear(10, 6), nn.GELU(), nn.Linear(6, 2)).double()
    assert run(gelu, steps=3, loss="cross_entropy").cotangents.shape == (8, 2)
    frozen = copy.deepcopy(TASK)
    frozen[-1].requires_grad_(False)
    assert len(run(frozen, steps=3).residual_per_layer) == len(list(TASK.parameters())) - 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"candidates": 1}, "at least one a class"),
        ({"steps": 0}, "steps=0"),
        ({"lr_x": math.nan}, "lr_x=nan"),
        ({"sharpness": -1.0}, "sharpness"),
        ({"objective": "multiclass"}, "multiclass several"),
        ({"box": (1.0, -1.0)}, "swapped"),
        ({"loss": "hinge"}, "hinge"),
    ],
)
def test_bad_input_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        run(TASK, **change)
    with pytest.raises(ValueError, match="span"):
        run(nn.Sequential(nn.Linear(10, 4), nn.GELU(), nn.Linear(4, 1)).double(), span=True)


# settings


def test_published_settings_are_the_table():
    assert published_settings("binary").lr_x == 0.5549 and published_settings("mnist-rbijxft7").sharpness == 19.21
    assert published_settings("regression") is published_settings("general")
    assert len({s.name for s in PUBLISHED}) == 8
    assert set(published_settings("binary").as_options()) == set(OPTIONS)
    with pytest.raises(ValueError, match="cifar-b9dfyspx"):
        published_settings("cifar")


@pytest.mark.parametrize("objective", ["binary", "multiclass", "general"])
def test_random_settings_stay_in_the_published_ranges(objective):
    draw = child(0)
    drawn = [random_settings(draw, objective) for _ in range(300)]
    assert all(1e-5 <= s.lr_x <= 1 and 1e-6 <= s.init_scale <= 0.1 and 10 <= s.sharpness <= 500 for s in drawn)
    assert sum(s.lr_x < 10**-2.5 for s in drawn) == pytest.approx(150, abs=5 * 75**0.5)  # log-uniform, 5 sigma
    if objective == "general":
        assert all(s.lambda_min == 0 for s in drawn)
    else:
        assert all(0.01 <= s.lambda_min <= 0.5 for s in drawn)
    assert all((s.lr_lambda == 1e-4) == (objective != "multiclass") for s in drawn)
