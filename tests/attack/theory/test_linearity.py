"""Values stay linear on the scale of an attack while gradients turn; a quadratic shows that the check can fail."""

import math

import pytest
import torch
from torch import nn

from vestige.attack.methods._apgd import apgd
from vestige.attack.theory.linearity import linearity_profile
from vestige.attack.theory.span import data_span
from vestige.core.rng import child
from vestige.nets.fixed_output import fixed_output_mlp
from vestige.nets.training import train_to_margin


class Square(nn.Module):
    def forward(self, x):
        return x.square().sum(1, keepdim=True) - 1


def test_a_linear_network_has_no_error_at_any_fraction():
    net, x = nn.Linear(6, 4), torch.rand((5, 6), generator=child(0, "x"))
    found = linearity_profile(net, x, eps=0.3, fractions=(0.5, 9.0))
    assert found.reach == 9.0 and bool((found.value_error < 1e-9).all()) and bool((found.gradient_error == 0).all())


def test_a_quadratic_errs_as_its_second_term_does():
    x = torch.full((3, 4), 0.5)  # f = 0 and grad = 1 in each coordinate: sign steps t eps err by t eps
    found = linearity_profile(Square(), x, eps=0.4, fractions=(0.1, 0.5, 1.0))
    torch.testing.assert_close(found.value_error, torch.tensor([0.04, 0.2, 0.4]))
    torch.testing.assert_close(found.gradient_error, 2 * torch.tensor([0.04, 0.2, 0.4]))
    assert found.reach == 0.1 and found.size == pytest.approx(0.4)


def test_off_the_span_the_value_follows_the_line_though_the_gradient_turns():
    """d = 200, a span of 100 dimensions, perturbations up to the norm of x; the medians of a run: 7 % and 33 %."""
    draw = child(0, "subspace")
    basis = torch.linalg.qr(torch.randn((200, 100), generator=draw))[0]
    x = torch.randn((20, 100), generator=draw) @ basis.T
    x, y = x * math.sqrt(200) / x.norm(dim=1, keepdim=True), torch.arange(20) % 2
    start = fixed_output_mlp(200, 400, generator=child(1, "net"))
    options = {"schedule": "constant", "learning_rate": 0.1, "steps": 100, "span": False, "tol_loss": 1e-12}
    net = train_to_margin(start, x, y, **options).model
    z = x.clone().requires_grad_()
    off = data_span(x, basis=basis).off(torch.autograd.grad((net(z)[:, 0] * net(z)[:, 0].sign()).sum(), z)[0])
    adv = x - math.sqrt(200) * off / off.norm(dim=1, keepdim=True)
    found = linearity_profile(net, x, adv, norm="l2", fractions=(0.05, 0.1, 0.2, 0.5))
    assert bool((found.value_error <= 0.12).all()) and found.reach == 0.5
    assert float(found.gradient_error[-1]) >= 0.4 and float(found.gradient_error[0]) >= 0.1
    assert bool((found.random_change <= 0.5 * found.predicted_change).all())
    # The same network with its second layer bent is not linear there, and the profile says so.
    bent = linearity_profile(nn.Sequential(net, Cube()), x, adv, norm="l2", fractions=(0.05, 0.1, 0.2, 0.5))
    assert bent.reach < 0.2


class Cube(nn.Module):
    def forward(self, z):
        return z**3


def test_the_way_to_found_examples_is_followed(one_net):
    model, x, y = one_net
    found = apgd(model, x, y, eps=0.1)
    broken = found.success
    profile = linearity_profile(model, x[broken], found.adv[broken])
    assert profile.size == pytest.approx(0.1, rel=0.2) and profile.reach >= 0.3
    assert bool((profile.predicted_change.diff() > 0).all())
    assert profile.random_change[-1] < profile.predicted_change[-1]


X = torch.rand((2, 3), generator=child(0, "bad"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give either adv"),
        ({"eps": 0.1, "adv": X + 1}, "give either adv"),
        ({"eps": -1.0}, "positive and finite"),
        ({"adv": X}, "no sample moves"),
        ({"adv": X * torch.nan}, "finite values"),
        ({"eps": 0.1, "fractions": ()}, "must be positive"),
        ({"eps": 0.1, "norm": "l3"}, "allowed are 'linf'"),
        ({"eps": 0.1, "pair": (0, 0)}, "two different classes"),
    ],
)
def test_bad_input_is_refused_with_its_repair(options, message):
    with pytest.raises(ValueError, match=message):
        linearity_profile(nn.Linear(3, 4), X, options.pop("adv", None), **options)
