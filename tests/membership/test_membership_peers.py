"""Peers in closed form and against what they say of a network that memorized."""

import pytest
import torch
from overfitted import MEMBERS, overfitted
from sklearn.metrics import roc_auc_score
from torch import nn

from vestige.core.margins import loss_value
from vestige.core.rng import child
from vestige.membership import Threshold, lira_scores, rmia_scores, shadow_models, threshold_scores
from vestige.nets.fully_connected import mlp

IDENTITY = nn.Identity()


@pytest.mark.parametrize("loss", ["cross_entropy", "mse", "huber"])
def test_losses_are_those_of_training(loss):
    out, y = torch.randn(9, 4, generator=child(0, "out")), torch.arange(9) % 4
    scores = threshold_scores(IDENTITY, out, y, loss=loss)
    torch.testing.assert_close(-scores.mean(), loss_value(out, y, loss))


@pytest.mark.parametrize("loss", ["logistic", "exponential"])
def test_losses_of_one_output_are_those_of_training(loss):
    out, y = torch.randn(9, 1, generator=child(0, "out")), torch.arange(9) % 2
    torch.testing.assert_close(-threshold_scores(IDENTITY, out, y, loss=loss).mean(), loss_value(out, y, loss))


def test_entropies_and_confidence_are_their_formulas():
    out, y = torch.randn(9, 4, generator=child(0, "out")), torch.arange(9) % 4
    p = out.softmax(1)
    own = p[torch.arange(9), y]
    other = p.masked_fill(nn.functional.one_hot(y, 4).bool(), 0.0)
    expected = {
        "confidence": (own / (1 - own)).log(),
        "entropy": (p * p.log()).sum(1),
        "modified_entropy": (1 - own) * own.log() + (other * (1 - other).log()).sum(1),
    }
    for kind, value in expected.items():
        torch.testing.assert_close(threshold_scores(IDENTITY, out, y, loss="cross_entropy", kind=kind), value)


def test_one_output_is_the_first_of_two():
    out, y = torch.randn(9, 1, generator=child(0, "out")), torch.arange(9) % 2
    two = torch.cat([torch.zeros_like(out), out], 1)
    for kind in Threshold:
        one = threshold_scores(IDENTITY, out, y, loss="logistic", kind=kind)
        torch.testing.assert_close(one, threshold_scores(IDENTITY, two, y, loss="cross_entropy", kind=kind))


def test_they_stay_finite_at_perfect_confidence():
    out, y = torch.tensor([[1e5, 0.0, -1e5], [-1e5, 0.0, 1e5]]), torch.tensor([0, 0])
    for kind in Threshold:
        scores = threshold_scores(IDENTITY, out, y, loss="cross_entropy", kind=kind)
        assert bool(torch.isfinite(scores).all()) and scores[0] >= scores[1]


def test_an_entropy_of_a_squared_loss_is_refused():
    with pytest.raises(ValueError, match="no classes"):
        threshold_scores(IDENTITY, torch.ones(2, 1), torch.tensor([0, 1]), loss="mse", kind="entropy")


class Given(nn.Module):
    """Returns logits that are fixed for each sample, whose input is its position."""

    def __init__(self, logits):
        super().__init__()
        self.register_buffer("logits", torch.as_tensor(logits))

    def forward(self, x):
        return self.logits[x[:, 0].long()][:, None]


def test_online_likelihood_ratio_in_closed_form():
    x, y = torch.arange(2.0)[:, None], torch.ones(2, dtype=torch.long)
    shadows = [Given([6.0, 0.0]), Given([4.0, 2.0]), Given([0.0, 6.0]), Given([2.0, 4.0])]
    inside = torch.tensor([[True, False], [True, False], [False, True], [False, True]])
    scores = lira_scores(Given([5.0, 1.0]), x, y, shadows=shadows, inside=inside)
    # means 5 inside and 1 outside, all variances 1
    torch.testing.assert_close(scores, torch.tensor([8.0, -8.0]))
    offline = lira_scores(Given([5.0, 1.0]), x, y, shadows=shadows[2:])
    torch.testing.assert_close(offline, torch.tensor([4.0, -4.0]))
    without = lira_scores(Given([5.0, 1.0]), x, y, shadows=shadows, inside=inside, offline=True)
    torch.testing.assert_close(without, torch.tensor([4.0, 0.0]))


def test_relative_probabilities_in_closed_form():
    x, y = torch.arange(2.0)[:, None], torch.ones(2, dtype=torch.long)
    shadows, even = [Given([0.0] * 4)] * 2, Given([3.0, 0.0, 0.0, -1.0])
    population = (torch.tensor([[2.0], [3.0]]), torch.ones(2, dtype=torch.long))
    scores = rmia_scores(even, x, y, shadows=shadows, reference=population, factor=1.5)
    # ratios are p / const: .95, .5 against .5, .27
    torch.testing.assert_close(scores, torch.tensor([1.0, 0.5]))


def test_the_slope_says_how_far_a_mean_is_below_one():
    """p = p_out = .88 and .5 in the population: ratios .88 / .94 and .5 / .75 at slope 0, and both 1 at slope 1."""
    one, population = torch.ones(1, dtype=torch.long), (torch.tensor([[1.0]]), torch.ones(1, dtype=torch.long))
    same = Given([2.0, 0.0])
    given = {"shadows": [same, same], "reference": population, "factor": 1.2}
    scores = [rmia_scores(same, torch.zeros(1, 1), one, slope=slope, **given).item() for slope in (0.0, 1.0)]
    assert scores == [1.0, 0.0]


def test_shadow_networks_start_differently():
    started = []
    shadow_models(
        lambda x, y, g: started.append(g.initial_seed()) or IDENTITY, torch.ones(4, 1), torch.ones(4), count=4
    )
    assert len(set(started)) == 4


def test_offline_relative_probabilities_leave_out_the_networks_with_the_sample():
    x, y = torch.arange(2.0)[:, None], torch.ones(2, dtype=torch.long)
    own = [Given([0.0, 9.0, 0.5, 0.2]), Given([9.0, 0.0, 0.5, 0.2])]
    inside, population = torch.tensor([[False, True], [True, False]]), (torch.tensor([[2.0], [3.0]]), y)
    given = {"reference": population, "factor": 1.2}
    target = Given([0.5, 0.9, 0.4, 0.3])
    found = rmia_scores(target, x, y, shadows=own, inside=inside, offline=True, **given)
    without = [Given([0.0, 0.0, 0.5, 0.2])] * 2
    torch.testing.assert_close(found, rmia_scores(target, x, y, shadows=without, **given))
    assert not found.equal(rmia_scores(target, x, y, shadows=own, inside=inside, **given))


def recipe(x, y, generator):
    net = mlp([40, 30, 3], bias="all", generator=generator, dtype=torch.float64)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net


def test_shadow_networks_tell_members_and_a_stranger_does_not():
    _, x, y, (unseen, labels), member = overfitted()
    target = recipe(x[:MEMBERS], y[:MEMBERS], child(0, "target"))
    steps = []
    shadows, inside = shadow_models(recipe, x, y, count=8, on_step=steps.append)
    others, _ = shadow_models(recipe, unseen, labels, count=4)
    assert inside.sum(0).tolist() == [4] * len(x) and [s.index for s in steps] == list(range(1, 9))
    online = lira_scores(target, x, y, shadows=shadows, inside=inside)
    offline = lira_scores(target, x, y, shadows=others)
    relative = rmia_scores(target, x, y, shadows=others, reference=(unseen, labels))
    stranger = recipe(unseen[:MEMBERS], labels[:MEMBERS], child(1, "stranger"))
    null = lira_scores(stranger, x, y, shadows=shadows, inside=inside)
    scores = {"online": online, "offline": offline, "relative": relative, "null": null}
    areas = {k: roc_auc_score(member.numpy(), s.numpy()) for k, s in scores.items()}
    assert min(areas[k] for k in ("online", "offline", "relative")) > 0.75 > 0.65 > areas["null"] > 0.35, areas
    inner = rmia_scores(target, x, y, shadows=shadows, reference=(unseen, labels), inside=inside)
    assert roc_auc_score(member.numpy(), inner.numpy()) > 0.75


def test_what_shadows_cannot_be_is_refused():
    _, x, y, reference, _ = overfitted()
    model = overfitted()[0]
    with pytest.raises(ValueError, match="even number"):
        shadow_models(recipe, x, y, count=3)
    with pytest.raises(ValueError, match="at least two"):
        lira_scores(model, x, y, shadows=[model])
    with pytest.raises(ValueError, match="all or in none"):
        lira_scores(model, x, y, shadows=[model, model], inside=torch.ones(2, len(x), dtype=torch.bool))
    with pytest.raises(ValueError, match="a row a network"):
        lira_scores(model, x, y, shadows=[model, model], inside=torch.ones(3, len(x), dtype=torch.bool))
    with pytest.raises(ValueError, match="factor"):
        rmia_scores(model, x, y, shadows=[model, model], reference=reference, factor=0.5)
