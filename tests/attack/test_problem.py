"""One table of bad input for every attack: what was given, its cause and the repair are named."""

import pytest
import torch
from torch import nn

from vestige.attack.evaluate import evaluate_robustness
from vestige.attack.methods._apgd import apgd
from vestige.attack.methods._fab import fab
from vestige.attack.methods._malt import malt
from vestige.attack.methods._square import square
from vestige.attack.problem import open_case
from vestige.attack.suite import autoattack
from vestige.core.threat import Threat

ATTACKS = [apgd, fab, square, malt, autoattack, evaluate_robustness]


class Always(nn.Module):
    def __init__(self, out):
        super().__init__()
        self.out = out

    def forward(self, x):
        return self.out.expand(len(x), -1) + 0 * x.sum()


BAD = {
    "eps <= 0": ({"eps": 0.0}, "positive and finite"),
    "eps NaN": ({"eps": float("nan")}, "positive and finite"),
    "eps in 0-255": ({"eps": 8}, "units of 0-255"),
    "norm": ({"norm": "l3"}, "allowed are 'linf'"),
    "normalized": ({"x": torch.linspace(-1.7, 2.4, 6).reshape(2, 3)}, "normalized already"),
    "0-255 inputs": ({"x": torch.full((2, 3), 200.0)}, "divide by 255"),
    "NaN inputs": ({"x": torch.full((2, 3), torch.nan)}, "NaN"),
    "labels out of range": ({"y": torch.tensor([0, 9])}, "labels run from 0 to 9"),
    "labels too few": ({"y": torch.tensor([0])}, "2 integer class numbers"),
    "NaN logits": ({"model": Always(torch.tensor([[torch.nan, 0.0]]))}, "NaN or infinite logits"),
    "one output": ({"model": nn.Linear(3, 1)}, "two classes or more"),
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_with_its_repair(attack, case):
    change, message = BAD[case]
    given = {"model": nn.Linear(3, 4), "x": torch.full((2, 3), 0.5), "y": torch.tensor([0, 1]), "eps": 0.1, **change}
    model = given.pop("model").eval()
    with pytest.raises(ValueError, match=message):
        attack(model, given.pop("x"), given.pop("y"), **given)


@pytest.mark.parametrize("attack", ATTACKS)
def test_training_mode_is_refused(attack):
    with pytest.raises(ValueError, match="training mode"):
        attack(nn.Linear(3, 4).train(), torch.full((2, 3), 0.5), torch.tensor([0, 1]), eps=0.1)


@pytest.mark.parametrize("attack", ATTACKS[:-1])
def test_probabilities_are_refused(attack):
    model = nn.Sequential(nn.Linear(3, 4), nn.Softmax(1)).eval()
    with pytest.raises(ValueError, match="probabilities"):
        attack(model, torch.rand((2, 3)), torch.tensor([0, 1]), eps=0.1)


@pytest.mark.parametrize("attack", [apgd, fab, square])
@pytest.mark.parametrize("wrong", [[[0], [1]], [[7], [7]]])
def test_targets_are_checked(attack, wrong):
    with pytest.raises(ValueError, match="target"):
        attack(nn.Linear(3, 4).eval(), torch.rand((2, 3)), torch.tensor([0, 1]), eps=0.1, targets=torch.tensor(wrong))


def test_integer_inputs_are_refused():
    with pytest.raises(ValueError, match="uint8 images"):
        open_case(nn.Linear(3, 4).eval(), torch.zeros((2, 3), dtype=torch.uint8), torch.tensor([0, 1]), Threat(0.1))
