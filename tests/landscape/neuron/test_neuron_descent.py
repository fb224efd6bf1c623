"""Descent of one neuron: what the theory promises comes true, and failures are told from slow runs."""

import math

import pytest
import torch

from vestige.core.rng import child
from vestige.landscape import (
    GaussianInputs,
    Neurons,
    RadialInputs,
    SampledInputs,
    neuron_descent,
    neuron_flow,
    population_gradient,
)


def starts(runs, d, length, seed=0):
    w = torch.randn(runs, d, generator=child(seed, "starts", str(d)))
    return length * w / w.norm(dim=1, keepdim=True)


def teacher(d, bias=None):
    return Neurons(torch.eye(1, d), None if bias is None else torch.tensor([bias]))


@pytest.mark.parametrize("d", [5, 50])
def test_without_bias_every_start_learns_in_as_many_steps_whatever_the_dimension(d):
    w = torch.randn(50, d, generator=child(0, "w")) / d**0.5
    found = neuron_descent(Neurons(w), teacher(d), GaussianInputs(d), learning_rate=1.0, steps=60)
    assert found.count("converged") == 50 and set(found.fate) == {"learns"} and found.certificate.holds
    assert 15 <= float(found.steps.double().median()) <= 25  # looked at every 25
    assert found.outcome == "converged"


@pytest.mark.parametrize(("runs", "steps"), [(20, 400), pytest.param(200, 6000, marks=pytest.mark.slow)])
def test_a_start_below_the_loss_of_zero_learns(runs, steps):
    """At least 300 starts whose success is proved, in the slow one."""
    proved = 0
    for bias in (1.0, 0.0, -0.5):
        start = Neurons(starts(runs, 5, 0.5), torch.zeros(runs))
        found = neuron_descent(start, teacher(5, bias), GaussianInputs(5), steps=steps, tolerance=1e-3)
        learns = [status for status, fate in zip(found.status, found.fate, strict=True) if fate == "learns"]
        assert set(learns) == {"converged"} and found.certificate.holds
        proved += len(learns)
    assert proved >= 1.5 * runs


def test_far_biases_are_doomed_and_near_ones_are_not():
    """Uniform in the ball, d = 10: all 30 starts at -(1 - 1 / 2 d^2), none at 0.3."""
    start = Neurons(starts(30, 10, 0.5), torch.zeros(30))
    law = RadialInputs(10)
    far = neuron_descent(start, teacher(10, -(1 - 1 / 200)), law, learning_rate=0.7, steps=300)
    assert far.count("doomed") == 30 and far.certificate.holds
    assert float(law.gradient(far.student, teacher(10, -0.995)).weight.abs().max()) > 0  # and not dead yet
    near = neuron_descent(start, teacher(10, 0.3), law, learning_rate=0.7, steps=200)
    assert near.count("doomed") == 0 and near.certificate.holds


def test_inputs_on_the_axes_fail_by_the_number_of_dead_coordinates():
    """x uniform on e_1 to e_d: coordinates decouple, and w_i(0) < 0 has no gradient for ever."""
    d = 20
    w = torch.randn(6, d, generator=child(0, "axes"))
    found = neuron_descent(
        Neurons(w), Neurons(torch.ones(1, d)), SampledInputs(torch.eye(d)), learning_rate=d / 2, steps=200
    )
    dead = (w < 0).sum(1)
    torch.testing.assert_close(found.loss, dead / (2 * d), rtol=0, atol=1e-12)
    assert found.count("converged") == 0


def test_a_run_that_is_out_of_steps_is_slow_and_not_failed():
    found = neuron_descent(Neurons(starts(4, 5, 0.5), torch.zeros(4)), teacher(5, 0.0), GaussianInputs(5), steps=5)
    assert found.count("slow") == 4 and found.outcome == "budget_spent"


def test_dead_up_to_rounding_is_not_called_converged():
    start = Neurons(0.1 * torch.eye(1, 4), torch.tensor([-0.9]))
    found = neuron_descent(start, teacher(4, -0.5), GaussianInputs(4), steps=50)
    assert found.status == ("dead",)


def test_the_guarantees_fail_where_the_step_is_too_large():
    found = neuron_descent(Neurons(starts(5, 5, 2.0)), teacher(5), GaussianInputs(5), learning_rate=5.0, steps=50)
    assert not found.certificate.holds and found.count("converged") == 0


def test_flow_is_the_limit_of_descent():
    w, v = torch.tensor([-0.8, 0.5, 0.1]), torch.tensor([0.0, 0.0, 2.0])
    errors = []
    for rate in (2e-2, 1e-2):
        x, worst = w.clone(), 0.0
        steps = int(5 / rate)
        times = torch.arange(1, steps + 1) * rate
        length, _ = neuron_flow(w, v, times)
        for k in range(steps):
            x = x - rate * population_gradient(Neurons(x[None]), Neurons(v[None])).weight[0]
            worst = max(worst, abs(float(x.norm() - length[k])))
        errors.append(worst)
    assert errors[1] < 5e-2 and 0.4 < errors[1] / errors[0] < 0.6  # linear in the step
    length, angle = neuron_flow(w, v, torch.linspace(0, 30, 31))
    assert bool((angle.diff() < 0).all())


def test_bad_options_are_refused():
    for options in ({"steps": 0}, {"learning_rate": 0.0}):
        with pytest.raises(ValueError, match="positive"):
            neuron_descent(Neurons(starts(1, 3, 1.0)), teacher(3), GaussianInputs(3), **options)
    with pytest.raises(ValueError, match="increase"):
        neuron_flow(torch.ones(2), torch.ones(2), torch.tensor([1.0, 0.5]))
    with pytest.raises(ValueError, match="other than 0"):
        neuron_flow(torch.zeros(2), torch.ones(2), torch.tensor([1.0]))
    assert math.isfinite(float(neuron_flow(torch.ones(2), torch.ones(2), torch.tensor([1.0]))[0]))
