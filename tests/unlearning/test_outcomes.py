"""The outcome, the certificate and the warnings of a step say one thing, whatever is asked for."""

import copy
import functools

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from margin_networks import hard_margin

import vestige as vg
from vestige.unlearning.unlearned import Erasure

HARM = ("Doing nothing is nearer", "misclassified by the new network")


@functools.cache
def problem(kind, cosine):
    """Six samples, the third of which resembles the first, and a network at their margin."""
    draw = torch.Generator().manual_seed(5)
    x, y = torch.randn(6, 40, generator=draw) / 40**0.5, torch.arange(6) % 2
    x[2] = cosine * x[0] + (1 - cosine**2) ** 0.5 * x[2]
    if kind == "linear":
        return hard_margin(x, y), x, y
    net = vg.nets.mlp([40, 10, 1], bias="none", first_init=1e-3, dtype=torch.float64, generator=draw)
    return vg.train_to_margin(net, x, y, loss="logistic", tol_loss=1e-9).model, x, y


@given(
    kind=st.sampled_from(["linear", "two layers"]),
    cosine=st.sampled_from([0.0, 0.5, 0.8, 0.99]),
    step=st.sampled_from(["resolve", "clarke", "kkt", 0.0, 1e3]),
    fraction=st.sampled_from([0.0, 0.3, 1.0, 3.0]),
    forget=st.sampled_from([[0], [0, 2], [1, 4]]),
    certify=st.booleans(),
)
@example("linear", 0.8, "clarke", 1.0, [0], True)
@example("linear", 0.99, "clarke", 3.0, [0], True)
@example("linear", 0.8, "resolve", 0.0, [0], True)
@example("two layers", 0.8, "resolve", 1.0, [0], True)
@settings(max_examples=25, deadline=None)
def test_outcomes_and_warnings_agree(kind, cosine, step, fraction, forget, certify):
    model, x, y = problem(kind, cosine)
    found = vg.unlearn(model, x, y, forget, loss="logistic", step=step, fraction=fraction, certify=certify)
    kept = [i for i in range(6) if i not in forget]
    unchanged = all(torch.equal(a, b) for a, b in zip(found.model.parameters(), model.parameters(), strict=True))
    broken = bool(((found.after <= 0) & (found.before > 0))[kept].any())
    assert (found.outcome is Erasure.NOTHING_TO_DO) == unchanged
    assert (found.outcome is Erasure.TRAINING_ERRORS) == broken
    assert any(HARM[1] in note for note in found.warnings) == broken
    if step == 0.0 or (fraction == 0.0 and isinstance(step, str)):
        assert unchanged
    if (certificate := found.certificate) is not None:
        assert certificate.harmful == (found.outcome in (Erasure.HARMFUL, Erasure.TRAINING_ERRORS))
        assert certificate.harmful == certificate.verdict.startswith("The step did harm")
        assert certificate.provable == certificate.verdict.startswith("Provable")
        assert not certificate.provable or (certificate.claims.holds and not certificate.harmful)
        assert any(HARM[0] in note for note in found.warnings) <= certificate.harmful
    if unchanged:
        assert not any(word in note for note in found.warnings for word in (*HARM, "Before the step"))


def test_data_that_the_model_never_saw_are_refused():
    model, x, _ = problem("linear", 0.0)
    unseen = torch.randn(x.shape, generator=torch.Generator().manual_seed(1)) / 40**0.5
    labels = (model(unseen)[:, 0] > 0).long()
    with pytest.raises(ValueError, match=r"explain \d+% of the weights"):
        vg.unlearn(model, unseen, labels, [0], loss="logistic")


def test_a_wrong_weight_decay_is_refused():
    model, x, y = problem("linear", 0.0)
    large = copy.deepcopy(model)
    large.weight.data *= 20  # its losses are near 0, and so is what they explain with decay
    with pytest.raises(ValueError, match=r"explain 0% of the weights with weight_decay=0\.001"):
        vg.unlearn(large, x, y, [0], loss="logistic", weight_decay=1e-3)


def test_a_wrong_label_under_weight_decay_is_refused():
    x, y = problem("linear", 0.0)[1:]
    start = vg.nets.mlp([40, 1], bias="none", dtype=torch.float64)
    model = vg.train_to_margin(start, x, y, loss="logistic", weight_decay=1e-2).model
    wrong = y.clone().index_fill(0, torch.tensor([0]), 1)
    with pytest.raises(ValueError, match="labels"):
        vg.unlearn(model, x, wrong, [0], loss="logistic", weight_decay=1e-2)


def test_one_sample_that_the_model_never_saw_leaves_nothing_to_do():
    model, x, y = problem("linear", 0.0)
    new = torch.randn(1, 40, generator=torch.Generator().manual_seed(3)) / 40**0.5
    both, labels = torch.cat([x, new]), torch.cat([y, (model(new)[:, 0] > 0).long()])
    for step in ("resolve", "clarke"):
        found = vg.unlearn(model, both, labels, [6], loss="logistic", step=step)
        assert found.outcome is Erasure.NOTHING_TO_DO and not found.certificate.harmful


def test_more_samples_than_weights_and_one_far_behind_the_margin():
    """Its multiplier is not unique; of those that explain the weights, the one that fits its margin is 0."""
    draw = torch.Generator().manual_seed(2)
    x, direction = torch.randn(60, 6, generator=draw), torch.randn(6, generator=draw)
    margins = x @ direction / direction.norm()
    x, y = x[margins.abs() > 0.6], (margins > 0).long()[margins.abs() > 0.6]
    net = hard_margin(x, y)
    far = int(vg.core.margin(net(x), y).argmax())
    for step in ("resolve", "clarke"):
        found = vg.unlearn(net, x, y, [far], loss="logistic", step=step)
        assert found.outcome is Erasure.NOTHING_TO_DO and found.multipliers.item() < 1e-6
