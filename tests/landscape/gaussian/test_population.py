"""The population loss of networks: samples, autograd, and what must be refused."""

import math
from dataclasses import replace

import pytest
import torch
from gaussian_reference import ACTIVATIONS, draw, sampled_loss, textbook_loss
from hypothesis import given
from hypothesis import strategies as st

from vestige.core.rng import child
from vestige.landscape import (
    Neurons,
    Population,
    neurons_of,
    population_gradient,
    population_hessian,
    population_loss,
)

CASES = [(name, False) for name in ACTIVATIONS] + [("relu", True)]


@pytest.mark.parametrize(("activation", "bias"), CASES)
def test_loss_agrees_with_a_sample(activation, bias):
    """Five standard errors: 6e-7 for each of five."""
    student, teacher = draw(4, 3, bias=bias), draw(2, 3, seed=1, bias=bias)
    population = Population(activation, slope=0.1, noise=0.3)
    mean, error = sampled_loss(student, teacher, activation, noise=0.3)
    assert abs(float(population_loss(student, teacher, population)) - mean) <= 5 * error
    assert abs(float(population_loss(student, student, population)) - 0.15) < 1e-10
    worse = replace(student, weight=student.weight + 0.3)
    assert abs(float(population_loss(worse, teacher, population)) - mean) > 5 * error  # another network fails


def test_loss_of_inputs_with_mean_and_covariance_agrees_with_a_sample():
    student, teacher = draw(3, 3, bias=True), draw(2, 3, seed=1)
    g = child(0, "law")
    factor, mean = torch.randn(3, 3, generator=g), torch.randn(3, generator=g)
    found = population_loss(student, teacher, Population(mean=mean, covariance=factor @ factor.T))
    sample, error = sampled_loss(student, teacher, "relu", law=lambda z: mean + z @ factor.T)
    assert abs(float(found) - sample) <= 5 * error
    assert abs(float(population_loss(student, teacher)) - sample) > 5 * error


@pytest.mark.parametrize("bias", [False, True])
def test_derivatives_agree_with_autograd(bias):
    student, teacher = draw(3, 4, bias=bias), draw(2, 4, seed=1, bias=bias)
    p = 4 + bias

    def build(u, a):
        u = u.reshape(3, p)
        return Neurons(u[:, :4], u[:, 4] if bias else None, a)

    u = student.weight if not bias else torch.cat([student.weight, student.bias[:, None]], 1)
    loss = lambda u, a: textbook_loss(build(u, a), teacher)  # noqa: E731
    by_weight, by_output = torch.func.grad(loss, argnums=(0, 1))(u.flatten(), student.output)
    found = population_gradient(student, teacher)
    flat = found.weight if not bias else torch.cat([found.weight, found.bias[:, None]], 1)
    torch.testing.assert_close(flat.flatten(), by_weight, rtol=0, atol=1e-10)
    torch.testing.assert_close(found.output, by_output, rtol=0, atol=1e-10)
    torch.testing.assert_close(
        population_hessian(student, teacher),
        torch.func.hessian(loss)(u.flatten(), student.output),
        rtol=0,
        atol=1e-10,
    )


@pytest.mark.parametrize(("activation", "bias"), CASES)
def test_derivatives_with_mean_and_covariance_agree_with_differences(activation, bias):
    g = child(1, "law")
    factor, mean = torch.randn(3, 3, generator=g), torch.randn(3, generator=g)
    law = Population(activation, slope=0.1, covariance=factor @ factor.T, mean=mean if activation == "relu" else None)
    student, teacher = draw(2, 3, bias=bias), draw(2, 3, seed=1)
    step = 1e-6
    gradient, hessian = population_gradient(student, teacher, law), population_hessian(student, teacher, law)
    size = 3 + bias
    for i, j in ((0, 0), (1, 2)):
        moved = [student.weight.clone() for _ in range(2)]
        moved[0][i, j] += step
        moved[1][i, j] -= step
        up, down = (replace(student, weight=w) for w in moved)
        slope = (population_loss(up, teacher, law) - population_loss(down, teacher, law)) / (2 * step)
        torch.testing.assert_close(gradient.weight[i, j], slope, rtol=1e-7, atol=1e-7)
        row = (population_gradient(up, teacher, law).weight - population_gradient(down, teacher, law).weight) / (
            2 * step
        )
        torch.testing.assert_close(hessian.view(2, size, 2, size)[i, j, :, :3], row, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(hessian, hessian.mT)


def test_reference_numbers_of_one_neuron_with_bias():
    """Computed with another implementation; differences and 3e6 samples agreed there."""
    student = Neurons(torch.tensor([[1.0, 0, 0]]), torch.tensor([0.3]))
    teacher = Neurons(torch.tensor([[0.6, 0.8, 0]]), torch.tensor([-0.5]))
    assert float(population_loss(student, teacher)) == pytest.approx(0.24845105229208725, rel=1e-14)
    gradient = population_gradient(student, teacher)
    torch.testing.assert_close(
        gradient.weight, torch.tensor([[0.422315026965, -0.216057192821, 0]]), atol=1e-11, rtol=0
    )
    assert float(gradient.bias) == pytest.approx(0.3842876424223145, rel=1e-14)
    corner = population_hessian(student, teacher)[[0, 0, 0, 1, 1, 2], [0, 1, 3, 1, 3, 2]]
    rows = torch.tensor(
        [0.500475262496, 0.018092660525, 0.391453865643, 0.499541882818, -0.060308868416, 0.58435792158]
    )
    torch.testing.assert_close(corner, rows, atol=1e-11, rtol=0)


@pytest.mark.parametrize("k", [2, 5, 10, 50])
def test_the_global_minimum_is_strongly_convex(k):
    values = torch.linalg.eigvalsh(population_hessian(Neurons(torch.eye(k)), Neurons(torch.eye(k))))
    assert abs(float(values[0]) - (1 / 4 - 1 / (2 * math.pi))) < 1e-12


@given(seed=st.integers(0, 30), bias=st.booleans(), turn=st.integers(0, 9))
def test_rotation_permutation_and_batches(seed, bias, turn):
    student, teacher = draw(3, 4, seed=seed, bias=bias), draw(2, 4, seed=seed + 50, bias=bias)
    q = torch.linalg.qr(torch.randn(4, 4, generator=child(turn, "q")))[0]
    turned = [replace(s, weight=s.weight @ q) for s in (student, teacher)]
    value, gradient = population_loss(student, teacher), population_gradient(student, teacher)
    torch.testing.assert_close(population_loss(*turned), value)
    torch.testing.assert_close(population_gradient(*turned).weight, gradient.weight @ q)
    order = torch.tensor([2, 0, 1])
    parts = [None if p is None else p[order] for p in (student.weight, student.bias, student.output)]
    torch.testing.assert_close(population_loss(Neurons(*parts), teacher), value)
    stacked = [
        None if p is None else torch.stack([p, p[order]]) for p in (student.weight, student.bias, student.output)
    ]
    both = Neurons(*stacked)
    torch.testing.assert_close(population_loss(both, teacher), torch.stack([value, value]))
    torch.testing.assert_close(population_gradient(both, teacher).weight[1], gradient.weight[order])
    torch.testing.assert_close(population_hessian(both, teacher)[0], population_hessian(student, teacher))


@given(seed=st.integers(0, 20), share=st.floats(0.1, 0.9))
def test_a_split_neuron_is_the_same_network(seed, share):
    """Parallel neurons, with and without biases, cost no digits."""
    student, teacher = draw(2, 4, seed=seed, bias=True), draw(2, 4, seed=seed + 50, bias=True)
    for with_bias in (True, False):
        s, t = (x if with_bias else Neurons(x.weight, None, x.output) for x in (student, teacher))
        parts = [
            None if p is None else torch.cat([share * p[:1], (1 - share) * p[:1], p[1:]]) for p in (s.weight, s.bias)
        ]
        twice = Neurons(*parts, torch.cat([s.output[:1], s.output]))
        torch.testing.assert_close(population_loss(twice, t), population_loss(s, t), rtol=1e-12, atol=1e-13)
        found, given_ = population_gradient(twice, t).weight, population_gradient(s, t).weight
        torch.testing.assert_close(found, torch.cat([given_[:1], given_]), rtol=1e-10, atol=1e-11)
        assert bool(population_hessian(twice, t).isfinite().all())


def test_zero_bias_is_no_bias():
    student, teacher = draw(3, 4), draw(2, 4, seed=1)
    zero = replace(student, bias=torch.zeros(3))
    torch.testing.assert_close(population_loss(zero, teacher), population_loss(student, teacher))
    torch.testing.assert_close(population_gradient(zero, teacher).weight, population_gradient(student, teacher).weight)
    found = population_hessian(zero, teacher).view(3, 5, 3, 5)[:, :4, :, :4].reshape(12, 12)
    torch.testing.assert_close(found, population_hessian(student, teacher))


def test_a_module_is_read_as_it_is():
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1, bias=False))
    s = neurons_of(net)
    x = torch.randn(5, 3, generator=child(0, "x"))
    torch.testing.assert_close(torch.relu(x @ s.weight.T + s.bias) @ s.output, net(x)[:, 0].detach())
    with pytest.raises(ValueError, match="one output"):
        neurons_of(torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1)))


@pytest.mark.parametrize(
    ("student", "teacher", "law", "message"),
    [
        (Neurons(torch.zeros(1, 3)), draw(1, 3), Population(), "weight 0"),
        (draw(1, 3), draw(1, 4), Population(), "must agree"),
        (Neurons(torch.full((1, 3), math.nan)), draw(1, 3), Population(), "NaN"),
        (draw(1, 3, bias=True), draw(1, 3), Population("erf"), "only relu"),
        (draw(1, 3), draw(1, 3), Population("tanh"), "'relu'"),
        (draw(1, 3), draw(1, 3), Population(covariance=torch.diag(torch.tensor([1.0, 1.0, -1.0]))), "eigenvalue"),
        (draw(1, 3), draw(1, 3), Population("erf", mean=torch.ones(3)), "only relu"),
    ],
)
def test_bad_input_is_refused(student, teacher, law, message):
    for ask in (population_loss, population_gradient, population_hessian):
        with pytest.raises(ValueError, match=message):
            ask(student, teacher, law)


def test_periodic_teachers_give_a_flat_loss():
    """With cos, everything farther than a few units from the teacher sees e^{-|v|^2 / 2} of it at most."""
    teacher, student = Neurons(6 * torch.eye(1, 5)), Neurons(torch.randn(50, 1, 5, generator=child(0, "flat")))
    law = Population("cos")
    away = (
        population_gradient(student, teacher, law).weight
        - population_gradient(student, replace(teacher, output=torch.zeros(1)), law).weight
    )
    assert float(away.abs().max()) < 1e-2
