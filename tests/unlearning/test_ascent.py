"""The step itself: closed forms on linear models, the identity with gradient ascent, and requests that are refused."""

import copy
import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from margin_networks import hard_margin, trained
from torch import nn

import vestige as vg
from vestige.unlearning.unlearned import Erasure


def gaussian(seed, n, d):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator) / d**0.5, torch.arange(n) % 2


def cosine(a, b):
    return torch.nn.functional.cosine_similarity(a.weight.reshape(-1), b.weight.reshape(-1), dim=0).item()


def test_a_linear_model_loses_exactly_the_term_of_the_forgotten_sample():
    x, y = gaussian(0, 10, 1000)
    net = hard_margin(x, y)
    found = vg.unlearn(net, x, y, [3], loss="logistic", step="clarke")
    signed = (2 * y - 1)[:, None] * x
    lam = torch.linalg.solve(signed @ signed.T, torch.ones(10))
    torch.testing.assert_close(found.model.weight[0], (lam[:, None] * signed)[torch.arange(10) != 3].sum(0))
    assert found.outcome is Erasure.ERASED and not found.heuristic
    assert math.isclose(found.multipliers.item(), lam[3].item(), rel_tol=1e-6)


def test_unlearned_and_retrained_linear_models_point_the_same_way():
    x, y = gaussian(0, 10, 1000)
    original, kept = hard_margin(x, y), torch.arange(10) != 0
    retrained, unlearned = (
        hard_margin(x[kept], y[kept]),
        vg.unlearn(original, x, y, [0], loss="logistic", step="clarke").model,
    )
    assert cosine(unlearned, retrained) >= 0.999 > 0.97 > cosine(original, retrained)


def test_a_random_step_of_the_same_size_does_not_pass():
    x, y = gaussian(0, 10, 1000)
    original, kept = hard_margin(x, y), torch.arange(10) != 0
    step = (vg.unlearn(original, x, y, [0], loss="logistic").model.weight - original.weight).detach()
    noise = torch.randn(step.shape, generator=torch.Generator().manual_seed(1))
    moved = copy.deepcopy(original)
    moved.weight.data += noise * step.norm() / noise.norm()
    assert cosine(moved, hard_margin(x[kept], y[kept])) < 0.97


def test_what_is_no_support_vector_leaves_nothing_to_do():
    x, y = torch.tensor([[1.0, 0.0], [3.0, 0.2], [-1.0, 0.1]]), torch.tensor([1, 1, 0])
    net = hard_margin(x, y)
    found = vg.unlearn(net, x, y, [1], loss="logistic")
    assert found.outcome is Erasure.NOTHING_TO_DO and found.multipliers.item() < 1e-12
    assert torch.equal(found.model.weight, net.weight)


def test_one_step_of_autograd_with_the_exact_size_is_the_step():
    model, x, y = trained(0)
    scaled = copy.deepcopy(model)  # margins near 1, where l' is no underflow
    scaled[1].weight.data /= vg.core.margin(model(x), y).min()
    exact = vg.unlearn(scaled, x, y, [2], loss="logistic", step="kkt", certify=False)
    beta, twin = exact.step_sizes.item(), copy.deepcopy(scaled)
    loss = torch.nn.functional.softplus(-(2 * y[2] - 1) * twin(x[2:3])).sum()
    (gradient,) = torch.autograd.grad(loss, [twin[1].weight])
    torch.testing.assert_close(exact.model[1].weight, scaled[1].weight + beta * gradient, rtol=0, atol=1e-12)
    by_hand = vg.unlearn(scaled, x, y, [2], loss="logistic", step=beta, certify=False)
    torch.testing.assert_close(by_hand.model[1].weight, exact.model[1].weight, rtol=0, atol=1e-12)
    assert math.isclose(beta, exact.multipliers.item() * (1 + math.exp(1 * exact.before[2].item())), rel_tol=1e-9)
    assert by_hand.heuristic and not exact.heuristic


@given(scale=st.floats(0.1, 10), seed=st.integers(0, 5))
@settings(max_examples=10, deadline=None)
def test_the_step_scales_with_the_weights(scale, seed):
    x, y = gaussian(seed, 6, 50)
    net = hard_margin(x, y)
    larger = copy.deepcopy(net)
    larger.weight.data *= scale
    one, other = (vg.unlearn(m, x, y, [0], loss="logistic", certify=False) for m in (net, larger))
    torch.testing.assert_close(scale * one.model.weight, other.model.weight)
    torch.testing.assert_close(one.multipliers, other.multipliers)


def test_several_at_once_is_the_sum_of_their_steps():
    model, x, y = trained(1)
    terms = {"loss": "logistic", "step": "clarke", "certify": False}
    both = vg.unlearn(model, x, y, [1, 4], **terms).model[1].weight
    single = [vg.unlearn(model, x, y, [r], **terms).model[1].weight for r in (1, 4)]
    torch.testing.assert_close(both, single[0] + single[1] - model[1].weight)
    mask = torch.zeros(len(x), dtype=torch.bool).index_fill(0, torch.tensor([1, 4]), True)
    assert torch.equal(vg.unlearn(model, x, y, mask, **terms).model[1].weight, both)


def test_the_forgotten_sample_falls_to_the_output_it_has_without_training():
    """Unlearned and retrained agree on the forgotten sample; the untouched network is far from both."""
    model, x, y = trained(0)
    kept = torch.arange(len(x)) != 3
    start = vg.nets.mlp([x.shape[1], 100, 1], bias="none", first_init=1e-4, dtype=torch.float64)
    start[3].weight.data = model[3].weight.data.clone()
    start[3].weight.requires_grad_(False)
    retrained = vg.train_to_margin(start, x[kept], y[kept], loss="logistic", tol_loss=1e-10).model

    def relative(net):
        return (vg.core.margin(net(x), y)[3] / vg.core.margin(net(x[kept]), y[kept]).min()).item()

    found = vg.unlearn(model, x, y, [3], loss="logistic", certify=False)
    assert relative(model) >= 1
    assert abs(relative(found.model) - relative(retrained)) < 0.3


def test_the_user_keeps_the_model():
    model, x, y = trained(0)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model.train()
    small = copy.deepcopy(model).float()
    found = vg.unlearn(small, x.float(), y, [0], loss="logistic")
    assert small.training and found.model.training and next(found.model.parameters()).dtype is torch.float32
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not found.model[3].weight.requires_grad
    model.eval()


def test_multiclass_and_deeper_networks_are_flagged_heuristic_and_forget():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(9, 60, generator=generator) / 60**0.5, torch.arange(9) % 3
    for widths, reasons in (([60, 40, 3], 1), ([60, 40, 40, 3], 2)):
        net = vg.nets.mlp(widths, bias="none", first_init=1e-3, dtype=torch.float64)
        model = vg.train_to_margin(net, x, y, loss="cross_entropy").model
        found = vg.unlearn(model, x, y, [0], loss="cross_entropy")
        assert len(found.heuristic) == reasons and not found.certificate.provable
        assert (found.after[0] / found.before[0]).item() < 0.3
        assert bool((found.after[1:] > 0).all())


def test_with_weight_decay_multipliers_come_from_the_loss():
    x, y = gaussian(0, 8, 40)
    net = vg.nets.mlp([40, 50, 1], first_init=1e-2, dtype=torch.float64)
    model = vg.train_to_margin(net, x, y, loss="logistic", weight_decay=1e-2, steps=800).model
    found = vg.unlearn(model, x, y, [0], loss="logistic", weight_decay=1e-2)
    share = torch.sigmoid(-found.before[0]) / (8 * 1e-2)
    assert math.isclose(found.multipliers.item(), share.item(), rel_tol=1e-6)
    assert found.after[0] < 0.5 * found.before[0]


def test_a_convolution_takes_the_plain_derivative_and_says_so():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(6, 1, 8, 8, generator=generator), torch.arange(6) % 2
    net = nn.Sequential(nn.Conv2d(1, 6, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(216, 1, bias=False))
    model = vg.train_to_margin(net, x, y, loss="logistic", steps=3000).model
    found = vg.unlearn(model, x, y, [0], loss="logistic")
    assert any("not a chain" in note for note in found.warnings) and found.heuristic
    assert found.after[0] < found.before[0]


BAD = {
    "nothing to forget": (dict(forget=[]), "names no samples"),
    "everything": (dict(forget=list(range(10))), "names all 10"),
    "out of range": (dict(forget=[10]), "0 to 9"),
    "a mask of another length": (dict(forget=torch.ones(3, dtype=torch.bool)), "mask"),
    "floats": (dict(forget=torch.tensor([0.5])), "positions"),
    "an unknown rule": (dict(step="adam"), "adam"),
    "a loss without a margin": (dict(loss="mse"), "margins"),
    "an unknown layer": (dict(layers=["9"]), "trainable layers"),
}


@pytest.mark.parametrize("case", BAD)
def test_each_bad_request_has_its_own_error(case):
    model, x, y = trained(0)
    options, words = BAD[case]
    with pytest.raises(ValueError, match=words):
        vg.unlearn(model, x, y, **{"forget": [0], "loss": "logistic", **options})


def test_an_unfitted_model_is_refused():
    x, y = gaussian(0, 10, 40)
    with pytest.raises(ValueError, match="not fitted"):
        vg.unlearn(vg.nets.mlp([40, 20, 1], dtype=torch.float64), x, y, [0], loss="logistic")


def test_a_duplicate_among_the_retained_is_named():
    x, y = gaussian(0, 10, 400)
    x[7] = x[1]
    with pytest.raises(ValueError, match=r"sample 1 .*\[7\] is retained"):
        vg.unlearn(hard_margin(x, y), x, y, [1], loss="logistic")


def test_layers_that_couple_samples_are_refused_and_late_biases_flagged():
    x, y = gaussian(0, 10, 40)
    net = nn.Sequential(nn.Linear(40, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Linear(20, 1))
    with pytest.raises(ValueError, match="couples the samples"):
        vg.unlearn(net, x, y, [0], loss="logistic")
    late = vg.nets.mlp([40, 50, 1], bias="all", dtype=torch.float64)
    model = vg.train_to_margin(late, x, y, loss="logistic").model
    found = vg.unlearn(model, x, y, [0], loss="logistic")
    assert "the network is not homogeneous" in found.heuristic and not found.certificate.provable


def test_a_whole_class_is_said_so():
    x, y = gaussian(0, 10, 400)
    y = (torch.arange(10) < 2).long()
    found = vg.unlearn(hard_margin(x, y), x, y, [0, 1], loss="logistic")
    assert any("All samples of class 1" in note for note in found.warnings)


def test_a_step_that_breaks_retained_samples_is_an_outcome():
    x, y = torch.eye(6) + 0.1, torch.arange(6) % 2
    x[1] += 2 * x[3]
    found, good = (
        vg.unlearn(hard_margin(x, y), x, y, [3], loss="logistic", step="clarke", fraction=f) for f in (20, 0.1)
    )
    outcomes = {found.outcome, good.outcome}
    assert outcomes == {Erasure.TRAINING_ERRORS, Erasure.ERASED}
    assert math.isnan(found.certificate.epsilon) and not found.certificate.provable
    assert found.certificate.verdict.startswith("The step did harm")


def test_every_outcome_has_a_sentence():
    assert all(a.message != b.message for a, b in itertools.combinations(Erasure, 2))
