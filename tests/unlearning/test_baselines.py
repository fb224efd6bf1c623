"""Every baseline: one interface, what it does in a case with a known answer, the user's model untouched."""

import copy
import math

import pytest
import torch
from margin_networks import hard_margin, trained
from torch import nn

import vestige as vg
from vestige.core.outcome import Outcome
from vestige.unlearning.approximate import _divergence

METHODS = {
    "retrain": (vg.unlearning.retrain, {"steps": 400}),
    "fine_tune": (vg.unlearning.fine_tune, {"steps": 20}),
    "neggrad_plus": (vg.unlearning.neggrad_plus, {}),
    "random_labels": (vg.unlearning.random_labels, {}),
    "salun": (vg.unlearning.salun, {}),
    "newton_step": (vg.unlearning.newton_step, {}),
    "scrub": (vg.unlearning.scrub, {}),
    "minimum_norm": (vg.unlearning.minimum_norm, {"rounds": 3}),
}


@pytest.mark.parametrize("name", METHODS)
def test_one_interface_and_the_model_is_left_alone(name):
    model, x, y = trained(0)
    method, options = METHODS[name]
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    found = method(model, x, y, [1, 4], loss="logistic", **options)
    assert found.forgotten.tolist() == [1, 4] and found.gradient_evaluations > 0
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state) and model[1].weight.grad is None
    assert not torch.equal(found.model[1].weight, model[1].weight)
    assert torch.equal(found.model[3].weight, model[3].weight)  # frozen
    kept = [0, 2, 3, 5, 6, 7, 8, 9]
    assert bool((vg.core.margin(found.model(x[kept]), y[kept]) > 0).all())
    with pytest.raises(ValueError, match="names no samples"):
        method(model, x, y, [], loss="logistic", **options)


@pytest.mark.parametrize("name", ["neggrad_plus", "random_labels", "salun", "scrub"])
def test_methods_that_push_away_lower_the_margin_of_the_forgotten(name):
    model, x, y = trained(0)
    found = METHODS[name][0](model, x, y, [1], loss="logistic")
    assert vg.core.margin(found.model(x), y)[1] < 0.9 * vg.core.margin(model(x), y)[1]


def test_the_newton_step_is_exact_on_a_quadratic():
    generator = torch.Generator().manual_seed(0)
    x, y, decay = torch.randn(8, 3, generator=generator), torch.randn(8, generator=generator), 0.1

    def solution(x, y, n):  # of sum (w x - y)^2 / n + decay / 2 |w|^2
        return torch.linalg.solve(2 * x.T @ x / n + decay * torch.eye(3), 2 * x.T @ y / n)[None]

    net = nn.Linear(3, 1, bias=False)
    net.weight.data = solution(x, y, 8)
    found = vg.unlearning.newton_step(net, x, y, [0], loss="mse", weight_decay=decay, damping=0.0)
    torch.testing.assert_close(found.model.weight.data, solution(x[1:], y[1:], 8))


def test_the_minimum_norm_drops_what_only_the_forgotten_sample_holds():
    x, y = torch.eye(4), torch.tensor([0, 1, 0, 1])
    found = vg.unlearning.minimum_norm(hard_margin(x, y), x, y, [0], loss="logistic", rounds=30, steps=1)
    assert abs(found.model.weight[0, 0].item()) < 1e-3
    assert bool((found.model.weight[0, 1:].abs() > 0.9).all())


def test_fine_tuning_without_decay_keeps_the_forgotten_sample():
    """Why a step is needed: nothing in the retained loss asks for the sample to leave."""
    model, x, y = trained(0)
    tuned = vg.unlearning.fine_tune(model, x, y, [0], loss="logistic", steps=200).model
    ours = vg.unlearn(model, x, y, [0], loss="logistic", certify=False).model
    relative = [(vg.core.margin(m(x), y)[0] / vg.core.margin(m(x[1:]), y[1:]).min()).item() for m in (tuned, ours)]
    assert relative[0] > 0.7 and relative[1] < 0.1


def test_a_diverging_baseline_says_so():
    model, x, y = trained(0)
    found = vg.unlearning.neggrad_plus(model, x, y, [0], loss="exponential", learning_rate=1e200)
    assert found.outcome is Outcome.NOT_FINITE and found.warnings


@pytest.mark.parametrize("classes", [1, 3])
def test_the_divergence_is_the_sum_of_p_log_p_over_q(classes):
    generator = torch.Generator().manual_seed(0)
    teacher, student = torch.randn(2, 5, classes, generator=generator)
    if classes == 1:
        p, q = (torch.stack([z[:, 0].sigmoid(), 1 - z[:, 0].sigmoid()], 1) for z in (teacher, student))
    else:
        p, q = teacher.softmax(1), student.softmax(1)
    torch.testing.assert_close(_divergence(teacher, student), (p * (p / q).log()).sum(1).mean())
    assert _divergence(teacher, student) > 0 == _divergence(teacher, teacher)


def test_a_share_of_the_weights_moves():
    model, x, y = trained(0)
    found = vg.unlearning.salun(model, x, y, [0], loss="logistic", share=0.25, steps=1)
    moved = (found.model[1].weight != model[1].weight).double().mean().item()
    assert math.isclose(moved, 0.25, abs_tol=0.01)
    with pytest.raises(ValueError, match="share"):
        vg.unlearning.salun(model, x, y, [0], loss="logistic", share=0.0)
