"""The numbers that compare with retraining, on networks whose answers are known."""

import copy
import math

import pytest
import torch
from margin_networks import trained
from sklearn.metrics import roc_auc_score
from torch import nn

import vestige as vg


def line(weight):
    net = nn.Linear(1, 1, bias=False)
    net.weight.data = torch.tensor([[float(weight)]])
    return net


X, Y = torch.tensor([[1.0], [2.0], [-1.0], [-3.0]]), torch.tensor([1, 1, 0, 1])
TEST = (torch.tensor([[0.5], [-0.5]]), torch.tensor([1, 1]))


def report(unlearned, retrained, held_out=TEST, **options):
    return vg.unlearning.evaluate_unlearning(unlearned, X, Y, [3], retrained=retrained, held_out=held_out, **options)


def test_the_retrained_network_itself_is_perfect():
    found = report(line(2), line(2), seconds=(1.0, 4.0))
    gaps = [part.gap for part in (found.forget_accuracy, found.retain_accuracy, found.test_accuracy, found.membership)]
    assert gaps == [0, 0, 0, 0]
    assert (found.tug_of_war, found.agreement, found.forget_agreement, found.cost) == (1, 1, 1, 0.25)
    assert math.isclose(found.weight_cosine, 1)


def test_the_opposite_network_is_as_far_as_can_be():
    found = report(line(-2), line(2), original=line(1))
    assert found.retain_accuracy.unlearned == 0 and found.retain_accuracy.retrained == 1
    assert found.tug_of_war == 0 and found.agreement == 0 and math.isclose(found.weight_cosine, -1)
    assert found.retain_accuracy.untouched == 1
    assert found.test_accuracy.gap == 0  # one of two either way


def test_membership_is_the_area_under_the_curve():
    model, x, y = trained(0)
    unseen = torch.randn(30, 400, generator=torch.Generator().manual_seed(9)) / 20
    labels = torch.arange(30) % 2
    found = vg.unlearning.evaluate_unlearning(model, x, y, [0, 1, 2], retrained=model, held_out=(unseen, labels))
    with torch.no_grad():
        scores = torch.cat([vg.core.margin(model(x[:3]), y[:3]), vg.core.margin(model(unseen), labels)])
    members = [1] * 3 + [0] * 30
    assert math.isclose(found.membership.unlearned, roc_auc_score(members, scores.numpy()))
    assert found.membership.unlearned > 0.95


def test_unlearning_comes_nearer_to_retraining_than_nothing_and_than_noise():
    model, x, y = trained(0)
    unseen = torch.randn(200, 400, generator=torch.Generator().manual_seed(9)) / 20
    labels = torch.arange(200) % 2
    retrained = vg.unlearning.retrain(model, x, y, [3], loss="logistic", start=start(model)).model
    noise = copy.deepcopy(model)
    noise[1].weight.data += torch.randn(model[1].weight.shape) * model[1].weight.std()
    cosines = {
        name: vg.unlearning.evaluate_unlearning(m, x, y, [3], retrained=retrained, held_out=(unseen, labels))
        for name, m in {
            "ours": vg.unlearn(model, x, y, [3], loss="logistic").model,
            "nothing": model,
            "noise": noise,
        }.items()
    }
    ours = cosines.pop("ours")
    for null in cosines.values():
        assert ours.weight_cosine > null.weight_cosine
        assert ours.forget_margin.gap < null.forget_margin.gap


def start(model):
    net = vg.nets.mlp([400, 100, 1], bias="none", first_init=1e-4, dtype=torch.float64)
    net[3].weight.data = model[3].weight.data.clone()
    net[3].weight.requires_grad_(False)
    return net


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="held-out samples"):
        report(line(1), line(1), held_out=(X[:0], Y[:0]))
    with pytest.raises(ValueError, match="different shapes"):
        report(line(1), nn.Sequential(nn.Linear(1, 1)))
