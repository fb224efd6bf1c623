"""The search for any module: its objective against a sum over samples, and the nulls of its weights and its box."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad

from vestige.core.rng import child
from vestige.core.soft_gate import smoothed
from vestige.nets.groups import Rotations
from vestige.reconstruct.weights.any_model import _parameter_weights, _Problem, search_any
from vestige.reconstruct.weights.symmetry import WEIGHT, Parts, Symmetry

SHARPNESS = (20.0, 100.0)


@pytest.fixture(scope="module")
def net():
    torch.set_default_dtype(torch.float64)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2))
    with torch.no_grad():
        for k, p in enumerate(net.parameters()):
            p.copy_(0.4 * torch.randn(p.shape, generator=child(k, "net"), dtype=torch.float64))
    return net


X = torch.randn(5, 1, 4, 4, generator=child(0, "x"), dtype=torch.float64)
L = torch.randn(5, 2, generator=child(0, "l"), dtype=torch.float64)


def naive(net, alpha, weights, reference=None):
    """sum over parameters of weight |theta - theta_0 - sum_i grad (l_i . f(x_i))|^2, one sample at a time."""
    soft = smoothed(net, alpha)
    params = {k: p.detach() for k, p in soft.named_parameters()}
    sums = {k: torch.zeros_like(p) for k, p in params.items()}
    for x, coef in zip(X, L, strict=True):
        parts = grad(lambda p, x=x, coef=coef: (functional_call(soft, p, (x[None],))[0] * coef).sum())(params)
        sums = {k: sums[k] + parts[k] for k in sums}
    start = reference or {k: torch.zeros_like(p) for k, p in params.items()}
    return {k: weights[k] * (params[k] - start[k] - sums[k]).square().sum() for k in sums}


@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("with_reference", [False, True])
def test_the_objective_is_the_sum_over_samples(net, progress, with_reference):
    reference = {k: 0.3 * p.detach() for k, p in net.named_parameters()} if with_reference else None
    problem = _Problem(net, reference, True, False, None, SHARPNESS, None)
    shift = 0.3 if with_reference else 0.0
    weights = {k: 1 / float(((1 - shift) * p.detach()).square().sum()) for k, p in net.named_parameters()}
    wanted = naive(net, 20 * 5**progress, weights, reference)
    torch.testing.assert_close(problem.loss(X, L, progress), sum(wanted.values()))
    if progress == 1.0:
        found = problem.residual(X, L)
        assert all(float(found[k]) == pytest.approx(float(wanted[k])) for k in wanted)


def test_leaving_the_box_costs_its_squared_distance(net):
    box = (torch.full((1, 4, 4), -0.5).double(), torch.full((1, 4, 4), 0.25).double())
    free, bound = (_Problem(net, None, True, False, b, SHARPNESS, None) for b in (None, box))
    outside = ((X - 0.25).clamp(min=0).square() + (-0.5 - X).clamp(min=0).square()).flatten(1).mean(1).sum()
    torch.testing.assert_close(bound.loss(X, L, 0.5) - free.loss(X, L, 0.5), outside)


def test_symmetric_candidates_cost_what_the_symmetry_says(net):
    symmetry = Symmetry(Rotations(), most=0.4, rate=3.0)
    free, bound = (_Problem(net, None, True, False, None, SHARPNESS, s) for s in (None, symmetry))
    fixed = torch.stack([X.rot90(k, (2, 3)) for k in range(4)]).mean(0)
    energy = fixed.square().sum((1, 2, 3)) / X.square().sum((1, 2, 3))
    wanted = WEIGHT * (energy - 0.4).clamp(min=0).square().sum()
    assert (energy < 0.4).any()
    torch.testing.assert_close(bound.loss(X, L, 0.0) - free.loss(X, L, 0.0), wanted)
    torch.testing.assert_close(symmetry.penalty(fixed), torch.tensor(WEIGHT * 0.36 * 5).double())
    parts = Parts(X, 0.1, symmetry)
    torch.testing.assert_close(parts.joined().detach(), X)
    assert parts.rates == [0.1, pytest.approx(0.3)]
    moved = Parts(X, 0.1, symmetry)
    with torch.no_grad():
        moved.free[0].mul_(2)  # only the symmetric part follows
    torch.testing.assert_close(moved.joined().detach(), X + fixed)


def test_layers_that_outweigh_the_first_count_less_unless_training_forgot_them():
    target = {"a": torch.full((4,), 1.0), "b": torch.full((4,), 3.0), "c": torch.full((4,), 0.5)}
    found = _parameter_weights(target, forgets=False)
    assert found == {"a": 1 / 4, "b": pytest.approx((4 / 36) ** 2 / 36), "c": 1.0}
    assert _parameter_weights(target, forgets=True) == {"a": 1 / 4, "b": pytest.approx(1 / 36), "c": 1.0}


def test_zero_sum_multipliers_sum_to_zero_and_others_do_not(net):
    raw = torch.randn(5, 2, generator=child(3), dtype=torch.float64)
    for zero_sum in (False, True):
        problem = _Problem(net, None, True, zero_sum, None, SHARPNESS, None)
        made = problem.multipliers(raw, 2.0)
        assert torch.allclose(made.sum(1), torch.zeros(5).double()) == zero_sum
        wanted = raw - raw.mean(1, keepdim=True) if zero_sum else raw
        torch.testing.assert_close(made, 2.0 * wanted)


def test_the_search_explains_the_weights_better_the_longer_it_runs(net):
    def run(steps):
        how = {"candidates": 6, "restarts": 2, "pixel_scale": 1.0, "zero_sum": False, "reference": None}
        return search_any(net, (1, 4, 4), steps=steps, forgets=True, box=None, generator=child(0), **how)

    short, long = run(1), run(150)
    total = [torch.stack(list(end.residual.values())).sum(0) for end in (short, long)]
    assert (total[1] < 0.5 * total[0]).all()
    assert long.steps == 300 and not torch.equal(long.x[0], long.x[1])
