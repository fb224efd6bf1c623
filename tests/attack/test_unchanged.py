"""Every attack leaves the model as it was, also after an error: modes of each part, buffers, weights, gradients."""

import copy
import math

import pytest
import torch
from torch import nn

from vestige.attack.evaluate import evaluate_robustness
from vestige.attack.methods._apgd import apgd
from vestige.attack.methods._fab import fab
from vestige.attack.methods._malt import malt
from vestige.attack.methods._square import square
from vestige.attack.methods.targets import rank_targets
from vestige.attack.suite import autoattack
from vestige.attack.theory.linearity import linearity_profile
from vestige.attack.theory.subspace import off_subspace_robustness, subspace_attack
from vestige.core.rng import child

THREAT = {"eps": 0.05}
CALLS = {
    "apgd": lambda m, x, y: apgd(m, x, y, **THREAT, steps=3),
    "fab": lambda m, x, y: fab(m, x, y, **THREAT, steps=3),
    "square": lambda m, x, y: square(m, x, y, **THREAT, queries=3),
    "malt": lambda m, x, y: malt(m, x, y, **THREAT, preset="fast", steps=3),
    "autoattack": lambda m, x, y: autoattack(m, x, y, **THREAT, attacks=("apgd-ce",)),
    "evaluate": lambda m, x, y: evaluate_robustness(m, x, y, **THREAT),
    "rank_targets": lambda m, x, y: rank_targets(m, x, y),
    "linearity": lambda m, x, y: linearity_profile(m, x, eps=0.1),
    "off_subspace": lambda m, x, y: off_subspace_robustness(m, x),
    "subspace_attack": lambda m, x, y: subspace_attack(m, x, eps=0.1),
}


def mixed(training, softmax):
    """BatchNorm in training mode in a model in evaluation mode, or the reverse with dropout; and a stored gradient."""
    draw = child(0, "mixed")
    layers = [nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 4)]
    net = nn.Sequential(*layers, *([nn.Softmax(1)] if softmax else []))
    for p in net.parameters():
        p.data = torch.randn(p.shape, generator=draw)
    net[0].weight.requires_grad_(False)
    net[4].bias.grad = torch.ones(4)
    net.train(training)
    net[1].train(not training)
    return net


def state(net):
    modes = [m.training for m in net.modules()]
    grads = [(p.requires_grad, None if p.grad is None else p.grad.clone()) for p in net.parameters()]
    return modes, grads, copy.deepcopy(net.state_dict()), torch.get_rng_state(), torch.get_default_dtype()


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("bad", [False, True])
def test_model_and_generators_are_as_before(call, training, softmax, bad):
    net = mixed(training, softmax)
    draw = child(1, "data")
    x, y = torch.rand((5, 6), generator=draw), torch.tensor([0, 1, 2, 3, 0])
    x = torch.full_like(x, math.nan) if bad else x
    before = state(net)
    try:
        CALLS[call](net, x, y)
        ended = "result"
    except ValueError:
        ended = "error"
    after = state(net)
    assert ended == "error" or not bad
    assert before[0] == after[0] and before[4] == after[4] and torch.equal(before[3], after[3])
    assert all(torch.equal(after[2][name], value) for name, value in before[2].items())
    for (asked, kept), (asks, keeps) in zip(before[1], after[1], strict=True):
        assert asked == asks and (kept is None) == (keeps is None) and (kept is None or torch.equal(kept, keeps))
