"""The joint search: its closed-form sums against automatic differentiation, and its descent."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vestige.core.kkt import weighted_gradient
from vestige.core.outcome import Outcome
from vestige.core.rng import child
from vestige.core.soft_gate import smoothed
from vestige.nets.fully_connected import mlp
from vestige.reconstruct.weights.chain import span_chain
from vestige.reconstruct.weights.joint import gradient_sums, layer_weights, search, warm_up


@given(depth=st.integers(1, 3), out=st.integers(1, 4), n=st.integers(1, 5), seed=st.integers(0, 5))
def test_sums_equal_automatic_differentiation(depth, out, n, seed):
    """Values, and derivatives in the candidates and the multipliers (the softened forward path included)."""
    model = mlp([5, *[7] * depth, out], generator=child(seed, "net"), dtype=torch.float64)
    chain = span_chain(model, None, torch.float64)
    assert chain is not None
    z = torch.randn(n, chain.basis.shape[1], generator=child(seed, "z")).requires_grad_()
    coef = torch.randn(n, out, generator=child(seed, "c")).requires_grad_()
    ours = gradient_sums(chain, z, coef, 20.0)
    theirs = weighted_gradient(smoothed(model, 20.0), z @ chain.basis.T, coef, create_graph=True)
    weights = [theirs[name] for name in theirs if name.endswith("weight")]
    torch.testing.assert_close(ours[0][0] @ chain.basis.T, weights[0] @ chain.basis @ chain.basis.T)
    for (mine, _), reference in zip(ours[1:], weights[1:], strict=True):
        torch.testing.assert_close(mine, reference)
    mine = torch.autograd.grad(ours[-1][0].square().sum(), (z, coef), retain_graph=True)
    reference = torch.autograd.grad(weights[-1].square().sum(), (z, coef))
    for a, b in zip(mine, reference, strict=True):
        torch.testing.assert_close(a, b)


def options(chain, **changed):
    base = {"candidates": 4, "restarts": 2, "steps": 60, "sample_norm": 1.0, "zero_sum": True}
    return base | {"layer_weights": layer_weights(chain, 1e-3), "generator": child(0, "search")} | changed


def test_the_residual_falls_and_the_same_seed_repeats():
    chain = span_chain(mlp([5, 9, 3], generator=child(0, "net"), dtype=torch.float64), None, torch.float64)
    assert chain is not None
    short, long = (search(chain, **options(chain, steps=steps)) for steps in (1, 200))
    assert (long.residual.sum(1) < short.residual.sum(1)).all()
    again = search(chain, **options(chain, steps=200))
    assert torch.equal(again.z, long.z)
    assert long.multipliers.sum(-1).abs().max() < 1e-12


def test_a_search_that_is_not_finite_is_said():
    chain = span_chain(mlp([5, 9, 3], generator=child(0, "net"), dtype=torch.float64), None, torch.float64)
    assert chain is not None
    broken = replace(chain, target_weights=(chain.target_weights[0] * float("nan"), chain.target_weights[1]))
    assert search(broken, **options(broken)).outcome is Outcome.NOT_FINITE
    assert search(chain, **options(chain)).outcome is Outcome.BUDGET_SPENT


def test_labeled_multipliers_have_the_form_of_cross_entropy():
    """Positive at one output, negative at the others, zero in sum; free ones (the null) are not."""
    chain = span_chain(mlp([5, 9, 3], generator=child(0, "net"), dtype=torch.float64), None, torch.float64)
    assert chain is not None
    labeled = search(chain, **options(chain, labeled=True)).multipliers
    assert labeled.sum(-1).abs().max() < 1e-12
    assert bool(((labeled > 0).sum(-1) == 1).all())
    free = search(chain, **options(chain)).multipliers
    assert not bool(((free > 0).sum(-1) == 1).all())


def test_a_metric_shapes_where_candidates_live():
    """A metric with one tiny direction keeps candidates out of it; without one they go there."""
    chain = span_chain(mlp([5, 9, 3], generator=child(0, "net"), dtype=torch.float64), None, torch.float64)
    assert chain is not None
    r = chain.basis.shape[1]
    metric = torch.diag(torch.tensor([1e-6] + [1.0] * (r - 1)))
    inside = search(chain, **options(chain, metric=metric)).z
    assert inside[..., 0].abs().max() < 1e-4 * inside[..., 1].abs().max()
    outside = search(chain, **options(chain)).z
    assert outside[..., 0].abs().max() > 1e-2 * outside[..., 1].abs().max()


@pytest.mark.parametrize("decay, expected", [(1e-3, 1.0), (None, 0.25)])
def test_a_layer_that_remembers_its_start_counts_less(decay, expected):
    model = mlp([2, 3, 1], bias="none", dtype=torch.float64)
    with torch.no_grad():
        for layer, norm in ((model[1], 1.0), (model[3], 2.0**0.5)):
            layer.weight.mul_(norm / layer.weight.norm())
    chain = span_chain(model, None, torch.float64)
    assert chain is not None
    assert layer_weights(chain, decay) == pytest.approx([1.0, expected])


@pytest.mark.parametrize("steps", [*range(1, 13), 1500])
def test_any_number_of_steps_is_a_cycle(steps):
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    cycle = {"total_steps": steps, "pct_start": warm_up(steps), "cycle_momentum": False}
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, **cycle)
    assert 0 < schedule.get_last_lr()[0] <= 0.1
