"""Each sign alone: what raises it, and that a plain model raises none."""

import pytest
import torch
from torch import nn

from vestige.attack.classifier import LogProbabilities
from vestige.attack.reliability import black_box_wins, reliability
from vestige.core.rng import child
from vestige.core.space import InputSpace
from vestige.core.threat import Threat


class Noisy(nn.Module):
    def __init__(self, model, size):
        super().__init__()
        self.model, self.size, self.draw = model, size, child(0, "noisy")

    def forward(self, x):
        z = self.model(x)
        return z + self.size * z.abs().max() * torch.randn(z.shape, generator=self.draw)


def signs(model, x, y, eps=0.1, norm="linf", space=None):
    return [text.split(":")[0] for text in reliability(model, x, y, Threat(eps, norm, space)).warnings]


def test_a_plain_model_shows_none(one_net):
    assert signs(*one_net) == []


@pytest.mark.parametrize(("size", "seen"), [(1e-6, []), (1e-2, ["Randomized model"])])
def test_noise_counts_relative_to_the_outputs(one_net, size, seen):
    model, x, y = one_net
    assert signs(Noisy(model, size), x, y) == seen
    large = signs(Noisy(nn.Sequential(model, Times(1e5)), size), x, y)
    assert ("Randomized model" in large) == bool(seen)


class Times(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return self.factor * x


def test_probabilities_are_told_from_logits(one_net):
    model, x, y = one_net
    soft = reliability(nn.Sequential(model, nn.Softmax(1)), x, y, Threat(0.1))
    assert soft.probabilities and [text.split(":")[0] for text in soft.warnings] == ["Softmax outputs"]
    assert not reliability(model, x, y, Threat(0.1)).probabilities


def test_an_input_that_does_not_matter_is_no_dead_sample(one_net):
    model, x, y = one_net
    model[0].weight.data[:, 0] = 0
    assert signs(model, x, y) == []


def test_dead_samples_are_counted(one_net):
    model, x, y = one_net

    class Dead(nn.Module):
        def forward(self, z):
            keep = (torch.arange(len(z)) >= 3).to(z)[:, None]
            return model(z * keep + z.detach() * (1 - keep)) * keep

    found = reliability(Dead(), x, y, Threat(0.1)).warnings
    assert len(found) == 1 and found[0].startswith("Zero gradients: for 3 of 40 samples checked")


@pytest.mark.parametrize(
    ("eps", "norm", "space", "warned"),
    [
        (0.51, "linf", None, True),
        (0.49, "linf", None, False),
        (0.51, "l2", None, False),  # an l_2 ball of this radius grays nothing
        (0.51, "linf", InputSpace(-1.0, 1.0), False),
        (1.01, "linf", InputSpace(-1.0, 1.0), True),
    ],
)
def test_only_an_l_inf_ball_wider_than_half_of_the_box_is_in_other_units(one_net, eps, norm, space, warned):
    assert bool(signs(*one_net, eps, norm, space)) == warned


def test_log_probabilities_are_logits_up_to_a_constant(one_net):
    model, x, _ = one_net
    logits = LogProbabilities(nn.Sequential(model, nn.Softmax(1)))(x)
    torch.testing.assert_close(logits - model(x), (logits - model(x))[:, :1].expand(-1, 4))
    assert LogProbabilities(nn.Identity())(torch.zeros(1, 2)).tolist() == [[pytest.approx(-69.0775527898)] * 2]


@pytest.mark.parametrize(
    ("stages", "stage", "late"),
    [
        (("fast", "square"), [0, 1, 1, -1], 2),
        (("fast", "square"), [0, 0, -1], 0),
        (("square", "fast"), [0, 0, 1], 0),  # nothing came before it
        (("square",), [0, 0], 0),
        (("fast",), [0, -1], 0),
    ],
)
def test_the_black_box_wins_where_gradients_came_first_and_failed(stages, stage, late):
    found = black_box_wins(stages, torch.tensor(stage))
    assert [f"on {late} samples" in text for text in found] == [True] * bool(late)
