"""Adversarial examples moved towards their samples: closed forms on a line."""

import pytest
import torch

from vestige.audit.shrinking import HALVINGS, confusion, robust_curve, shortened


def sign(x):
    """Class 1 from 0.3 on."""
    return (x.flatten(1)[:, 0] >= 0.3).long()


def test_the_border_is_found_by_halving():
    clean, adv = torch.zeros(3, 1, 2), torch.tensor([[[1.0, 0.0]], [[0.5, 0.0]], [[0.2, 0.0]]])
    broken, label = torch.tensor([True, True, False]), torch.zeros(3, dtype=torch.long)
    distance = adv.flatten(1).norm(dim=1)
    found = shortened(sign, clean, adv, label, broken, distance, batch_size=1)
    assert found[2] == torch.inf
    torch.testing.assert_close(found[:2], torch.tensor([0.3, 0.3]), atol=2.0**-HALVINGS, rtol=0)
    assert bool((found[:2] >= 0.3).all())  # what is reported still fools


def test_what_is_wrong_anyway_takes_no_perturbation():
    x = torch.ones(1, 1, 2)
    found = shortened(sign, x, x, torch.tensor([0]), torch.tensor([True]), torch.tensor([0.0]))
    assert found.tolist() == [0.0]
    curve = robust_curve(torch.tensor([0.0, 0.1, torch.inf]), 0.1)
    assert curve["robust"][0] == pytest.approx(2 / 3) and curve["robust"][-1] == pytest.approx(1 / 3)
    assert curve["eps"][-1] == 0.1 and curve["robust"] == sorted(curve["robust"], reverse=True)


def test_confusion_counts_each_sample_once():
    label, predicted = torch.tensor([0, 0, 2, 2, 2]), torch.tensor([0, 2, 2, 2, 0])
    assert confusion(label, predicted, "abc") == [[1, 0, 1], [0, 0, 0], [1, 0, 2]]
