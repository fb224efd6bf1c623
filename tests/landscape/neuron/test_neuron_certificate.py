"""What is proved of one neuron from its start, and what must not be."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vestige.core.rng import child
from vestige.landscape import (
    GaussianInputs,
    Neurons,
    RadialInputs,
    SampledInputs,
    dead_start_probability,
    neuron_certificate,
    one_point_terms,
    population_gradient,
    start_within_reach_probability,
)


def row(*weight, bias=None):
    return Neurons(torch.tensor([weight], dtype=torch.float64), None if bias is None else torch.tensor([bias]))


E1 = Neurons(torch.eye(1, 3, dtype=torch.float64))


@pytest.mark.parametrize(
    ("start", "teacher", "law", "fate"),
    [
        (row(-1.0, 1e-9, 0.0), E1, GaussianInputs(3), "learns"),
        (row(-2.0, 0.0, 0.0), E1, GaussianInputs(3), "doomed"),
        (row(-2.0, 0.0, 0.0), E1, RadialInputs(3), "doomed"),
        (row(0.5, 0.5, 0.0, bias=0.0), row(1.0, 0.0, 0.0, bias=0.5), GaussianInputs(3), "learns"),
        (row(0.1, 0.0, 0.0, bias=-0.1), row(1.0, 0.0, 0.0, bias=0.5), RadialInputs(3), "doomed"),  # dead
        (row(-1.0, 0.0, 0.0, bias=-0.5), row(1.0, 0.0, 0.0, bias=-0.5), RadialInputs(3), "doomed"),  # disjoint caps
        (row(-1.0, 0.0, 0.0, bias=-0.5), row(1.0, 0.0, 0.0, bias=-0.5), GaussianInputs(3), "undecided"),
        (row(0.0, 4.0, 0.0, bias=0.0), row(1.0, 0.0, 0.0, bias=-0.5), RadialInputs(3), "undecided"),
        (
            row(-1.0, 0.0, 0.0, bias=0.2),
            row(1.0, 0.0, 0.0, bias=-0.5),
            RadialInputs(3),
            "undecided",
        ),  # its cap may grow
        (row(-1.0, -1.0, -1.0), E1, SampledInputs(torch.eye(3)), "doomed"),
        (row(1.0, -1.0, -1.0), E1, SampledInputs(torch.eye(3)), "undecided"),
    ],
)
def test_fates(start, teacher, law, fate):
    found = neuron_certificate(start, teacher, law)
    assert found.fate == fate and found.certificate.holds == (fate != "undecided") and found.reason


def test_a_loss_just_above_that_of_a_dead_point_proves_nothing():
    teacher = row(1.0, 0.0, 0.0, bias=-0.5)
    found = [neuron_certificate(row(0.0, size, 0.0, bias=0.0), teacher, GaussianInputs(3)) for size in (0.1, 0.8)]
    assert found[0].loss < found[0].zero_loss < found[1].loss < 2 * found[1].zero_loss
    assert [str(one.fate) for one in found] == ["learns", "undecided"]


def test_the_disjoint_caps_need_symmetric_inputs():
    """The same point on a sample of the ball has no such proof."""
    g = child(0, "ball")
    x = torch.randn(200, 3, generator=g)
    x = x / x.norm(dim=1, keepdim=True)
    start, teacher = row(-1.0, 0.0, 0.0, bias=-0.5), row(1.0, 0.0, 0.0, bias=-0.5)
    assert neuron_certificate(start, teacher, SampledInputs(x)).fate == "undecided"


@given(seed=st.integers(0, 100))
def test_the_terms_add_up_to_the_product_and_are_not_negative(seed):
    g = child(seed, "terms")
    x = torch.randn(40, 4, generator=g) @ torch.randn(4, 4, generator=g) + torch.randn(4, generator=g)
    start, teacher = (Neurons(torch.randn(1, 4, generator=g), torch.randn(1, generator=g)) for _ in range(2))
    both, wrong = one_point_terms(start, teacher, x)
    slope = SampledInputs(x).gradient(Neurons(start.weight[:, None], start.bias[:, None]), teacher)
    product = ((start.weight - teacher.weight) * slope.weight[:, 0]).sum() + (start.bias - teacher.bias) * slope.bias[0]
    assert both >= 0 and wrong >= 0
    torch.testing.assert_close(both + wrong, product, rtol=1e-10, atol=1e-12)


def test_the_published_bound_on_one_point_convexity_holds_with_room():
    """<grad, w - v> >= a^4 b sin(delta / 4)^3 / (8 sqrt 2) |w - v|^2, with a = 2, b = exp(-2) / 2 pi for Gaussians."""
    constant = 2**4 * math.exp(-2) / (2 * math.pi) / (8 * math.sqrt(2))
    v = row(1.0, 0.0)
    for angle in (torch.linspace(0.01, 0.99, 25) * math.pi).tolist():
        length = torch.logspace(-2, 1, 40)
        w = length[:, None] * torch.tensor([math.cos(angle), math.sin(angle)])
        slope = population_gradient(Neurons(w[:, None]), v).weight[:, 0]
        gap = w - v.weight
        ratio = (slope * gap).sum(1) / gap.square().sum(1)
        assert float(ratio.min()) >= 9 * constant * math.sin((math.pi - angle) / 4) ** 3


def test_probabilities_of_starts_agree_with_samples():
    g = child(0, "probability")
    w = torch.randn(200_000, 10, generator=g)
    near = ((0.2 * w - torch.eye(1, 10)).norm(dim=1) < 1).double().mean()
    dead = (torch.randn(200_000, generator=g) <= -0.1 * w.norm(dim=1)).double().mean()
    error = 5 * 0.5 / 200_000**0.5
    assert abs(float(near) - start_within_reach_probability(10, 0.2)) < error
    assert abs(float(dead) - dead_start_probability(10, 0.1)) < error
    assert abs(dead_start_probability(10, 0.01) - 0.488) < 0.003
    assert dead_start_probability(10, 0.0) == 0.5
    for call in (lambda: start_within_reach_probability(0, 1.0), lambda: dead_start_probability(3, -1.0)):
        with pytest.raises(ValueError, match="given"):
            call()


@pytest.mark.parametrize(
    ("start", "teacher", "law", "message"),
    [
        (row(0.0, 0.0, 0.0), E1, GaussianInputs(3), "weight 0"),
        (E1, E1, GaussianInputs(4), "dimension 4"),
        (Neurons(torch.eye(3)), E1, GaussianInputs(3), "one student at a time"),
        (E1, row(1.0, 0.0, 0.0, bias=-1.5), RadialInputs(3), "0 on all inputs"),
        (E1, row(-1.0, -1.0, -1.0), SampledInputs(torch.eye(3)), "0 on all inputs"),
        (Neurons(E1.weight, None, torch.ones(1).double()), E1, GaussianInputs(3), "output weight"),
        (row(math.nan, 0.0, 0.0), E1, GaussianInputs(3), "NaN"),
    ],
)
def test_bad_input_is_refused(start, teacher, law, message):
    with pytest.raises(ValueError, match=message):
        neuron_certificate(start, teacher, law)
