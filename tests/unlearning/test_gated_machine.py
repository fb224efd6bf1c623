"""The network that samples alone make at the gates at hand: the hard margin, true margins, the decayed minimum."""

import copy

import torch
from margin_networks import hard_margin, trained
from torch import nn

import vestige as vg
from vestige.core.margins import Loss
from vestige.unlearning.gated_machine import decayed_minimum, gated_machine, largest_margin, resolved
from vestige.unlearning.measures import kkt_distance


def gaussian(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) / d**0.5, torch.arange(n) % 2


def test_without_a_relu_it_is_the_hard_margin():
    for n, d in ((6, 30), (12, 8)):  # fewer and more samples than weights
        x, _ = gaussian(n, d)
        y = (x[:, 0] > 0).long()
        net = nn.Linear(d, 1, bias=False, dtype=torch.float64)
        found = gated_machine(net, x, y, [""])["weight"]
        margins = (2 * y - 1) * (x @ found[0])
        assert margins.min() > 1 - 1e-6
        if n < d:
            torch.testing.assert_close(found, hard_margin(x, y).weight.detach(), rtol=1e-6, atol=1e-9)


def test_multipliers_of_dependent_rows_fit_their_margins():
    """x and 2x: the farther one is no support vector, though |theta - sum| is 0 with it as well."""
    rows = torch.tensor([[1.0], [2.0]])
    torch.testing.assert_close(largest_margin(rows @ rows.T), torch.tensor([1.0, 0.0]), rtol=0, atol=1e-9)


def test_with_relus_all_margins_are_at_least_1_and_the_sum_is_stationary():
    model, x, y = trained(0)
    new, untrained = (copy.deepcopy(model) for _ in range(2))
    new.load_state_dict(model.state_dict() | gated_machine(model, x, y, ["1"]))
    assert vg.core.margin(new(x), y).min() > 1 - 1e-3
    found = kkt_distance(new, x, y, ["1"], 1e-3)
    assert found.epsilon < 0.03 and found.slack < 0.02
    assert new[1].weight.norm() <= model[1].weight.norm() / vg.core.margin(model(x), y).min() * (1 + 1e-3)
    untrained[1].reset_parameters()
    assert not kkt_distance(untrained, x, y, ["1"], 1e-3).epsilon < 0.5  # a null


def test_nothing_leaves_with_a_sample_that_an_equal_one_replaces():
    x, y = gaussian(8, 40)
    x[2] = x[0]
    net = hard_margin(x, y)
    terms, alone = resolved(net, x, y, torch.arange(1, 8), [""], Loss.LOGISTIC, 0.0)
    assert terms["weight"].norm() < 1e-6 * net.weight.norm()
    torch.testing.assert_close(alone["weight"], net.weight.detach(), rtol=1e-5, atol=1e-7)


def test_the_decayed_minimum_is_where_training_on_the_samples_ends():
    x, y = gaussian(8, 40)
    start, decay = nn.Linear(40, 1, bias=False, dtype=torch.float64), 1e-2
    trained = vg.train_to_margin(start, x, y, loss="logistic", weight_decay=decay).model
    found = decayed_minimum(start, x, y, [""], Loss.LOGISTIC, decay)["weight"]
    torch.testing.assert_close(found, trained.weight.detach(), rtol=0, atol=1e-5)


def test_other_networks_keep_their_derivatives():
    net = nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(36, 1, bias=False)).double()
    x, y = torch.randn(4, 1, 5, 5, generator=torch.Generator().manual_seed(0)), torch.arange(4) % 2
    found = gated_machine(net, x, y, ["0"])
    assert set(found) == {"0.weight"} and torch.isfinite(found["0.weight"]).all()
