"""The section on robustness: which samples, which radius, which numbers, and a reason where there are none."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from bare import bare
from torch import nn

from vestige.attack.evaluate import RobustnessReport
from vestige.audit import theory
from vestige.audit.target import read_target
from vestige.audit.theory import TwoClassLogits, as_logits, audited_robustness, broken_samples, theory_section
from vestige.audit.truth import Truth, read_data
from vestige.core.rng import child


def linear(outputs=1, size=6, space=(0.0, 1.0)):
    net = nn.Linear(size, outputs, bias=False)
    net.weight.data = torch.randn(outputs, size, generator=child(0, "linear"))
    loss = "logistic" if outputs == 1 else "cross_entropy"
    return read_target(net, input_shape=(size,), space=space, loss=loss, weight_decay=0.0)


def data(target, n, seed=0):
    x = torch.rand(n, *target.input_shape, generator=child(seed, "x"))
    z = target.model(x)
    return read_data((x, (z[:, 0] > 0).long() if z.shape[1] == 1 else z.argmax(1)))


def test_one_output_is_two_logits_with_the_same_classes():
    target, x = linear(), torch.rand(9, 6)
    z = target.model(x)
    assert torch.equal(as_logits(target)(x), torch.cat([-z, z], 1)) and not as_logits(target).training
    assert as_logits(linear(3)).out_features == 3
    assert TwoClassLogits(nn.Flatten(0))(torch.tensor([2.0])).tolist() == [[-2, 2]]


def test_only_what_was_right_and_is_fooled_counts_as_broken(monkeypatch):
    report = bare(
        RobustnessReport,
        clean_correct=torch.tensor([True, True, False, True]),
        success=torch.tensor([True, False, True, True]),
        adv=torch.arange(4.0)[:, None],
        eps=0.1,
        norm="linf",
    )
    found = broken_samples(report, 10 + torch.arange(4.0)[:, None])
    assert found.adv.flatten().tolist() == [0, 3] and found.clean.flatten().tolist() == [10, 13]
    assert (found.eps, found.norm) == (0.1, "linf")
    monkeypatch.setattr(theory, "LARGEST_THEORY", 1)
    assert len(broken_samples(report, report.adv).adv) == 1


def section(target, truth):
    return audited_robustness(target, truth, seed=0, on_step=None, checkpoint=None)


def test_unseen_samples_are_attacked_where_there_are_any(monkeypatch):
    target = linear(3)
    train, unseen = data(target, 8), data(target, 5, seed=1)
    for held_out, said, n in ((unseen, "held-out samples", 5), (None, "training samples", 8)):
        found = section(target, Truth(train, held_out, ()))
        assert (found["data"], found["n"], found["clean_accuracy"]) == (said, n, 1.0)
        low, high = found["robust_interval"]
        assert low <= found["robust_accuracy"] <= high and found["eps"] == pytest.approx(0.1)
    monkeypatch.setattr(theory, "LARGEST_ATTACK", 3)
    assert section(target, Truth(train, unseen, ()))["n"] == 3


def test_the_radius_is_a_share_of_the_range_and_smaller_for_colors():
    assert section(linear(3, space=(-1.0, 3.0)), Truth(data(linear(3), 6), None, ()))["eps"] == pytest.approx(0.4)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2, bias=False))
    target = read_target(net, input_shape=(3, 2, 2), space=(0.0, 1.0), loss="cross_entropy")
    assert section(target, Truth(data(target, 6), None, ()))["eps"] == pytest.approx(8 / 255)


@pytest.mark.parametrize("space", [None, (0.0, float("inf"))])
def test_without_a_range_nothing_is_attacked_and_it_says_why(space):
    target = linear(3)
    truth = Truth(data(target, 6), None, ())
    target = replace(target, space=None) if space is None else linear(3, space=space)
    found = section(target, truth)
    assert "range of the inputs is unknown" in found["reason"] and "robust_accuracy" not in found
    assert found["theory"]["linearity"]["along"] == "one step down the gradient"


def test_labels_that_the_attack_refuses_do_not_end_the_audit():
    target = linear(3)
    x = data(target, 6)
    found = section(target, Truth(replace(x, y=x.y + 7, classes=tuple(map(str, range(10)))), None, ()))
    assert "labels run from" in found["reason"]


def test_a_linear_network_is_linear_and_of_several_classes_the_closest_two_are_taken():
    target = linear(3)
    x = data(target, 40)
    found = theory_section(target, x.x, x.y, everything=x.x, broken=None)
    assert max(found["linearity"]["value_error"]) < 1e-9 and found["linearity"]["reach"] >= 1
    assert found["linearity"]["turn"] == pytest.approx(0, abs=1e-9)
    counts = Counter(tuple(sorted(row.topk(2).indices.tolist())) for row in target.model(target.inputs(x.x)))
    assert found["universal"]["pair"] == sorted(counts.most_common(1)[0][0], reverse=True)
    assert found["universal"]["chosen"] and found["universal"]["radius"] > 0
    assert "off_subspace" in found and found["n"] == 40


def test_a_pair_leaves_the_other_classes_and_the_mistakes_out():
    target = linear(3)
    x = data(target, 60)
    first, second = x.y.bincount(minlength=3).topk(2).indices.tolist()
    y = x.y.clone()
    one = int((y == first).nonzero()[0])
    y[one] = second  # one mistake
    found = theory_section(target, x.x, y, everything=x.x, broken=None, pair=(first, second))["universal"]
    assert found["pair"] == [first, second] and found["left_out"] == 1 and not found["chosen"]
    assert found["samples"] == int(((x.y == first) | (x.y == second)).sum()) - 1
