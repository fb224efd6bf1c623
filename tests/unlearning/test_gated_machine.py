"""The network that samples alone make at the gates at hand: the hard margin, true margins, the decayed minimum."""

import copy

import torch
from margin_networks import hard_margin, trained
from torch import nn

import vestige as vg
from vestige.core.margins import Loss
from vestige.unlearning import gated_machine as gated_machine_module
from vestige.unlearning.gated_machine import (
    _Dual,
    decayed_minimum,
    gated_machine,
    largest_margin,
    resolved,
    telling_layers,
)
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


def several_classes(seed=0):
    """(1) of an untrained network of three classes on six points, with rows of two pairs a sample."""
    draw = torch.Generator().manual_seed(seed)
    x, slopes = torch.randn(6, 4, generator=draw), torch.randn(12, 5, generator=draw)
    gates = (torch.randn(12, 5, generator=draw) > 0).double()
    return _Dual(x @ x.T, torch.arange(6).repeat_interleave(2), slopes, gates, slopes < 0)


def test_the_dual_and_its_gradient_are_those_of_the_formula():
    dual, draw = several_classes(), torch.Generator().manual_seed(1)
    free, scale = int(dual.free.sum()), torch.tensor(0.7)
    v, roots = torch.rand(12 + free, generator=draw), 0.5 + torch.rand(12 + free, generator=draw)
    lam, gates = scale * (v / roots)[:12], dual.gates.masked_scatter(dual.free, (v / roots)[12:])
    signal = lam[:, None] * dual.slopes * gates
    weights = signal @ signal.T * dual.gram.repeat_interleave(2, 0).repeat_interleave(2, 1)
    value, gradient = dual.value(v.numpy(), scale, roots)
    assert abs(value - float(weights.sum() / 2 - lam.sum()) / (12 * 0.7)) < 1e-12
    for k in (0, 11, 12, 12 + free - 1):
        e = torch.zeros_like(v).index_fill(0, torch.tensor(k), 1e-5)
        up, down = (dual.value((v + s * e).numpy(), scale, roots)[0] for s in (1, -1))
        assert abs((up - down) / 2e-5 - gradient[k]) < 1e-7


def test_the_steps_taken_end_near_the_solution(monkeypatch):
    digits = vg.data.binarize(vg.load_data("digits"), [1, 3, 5, 7, 9])
    chosen, _ = vg.data.sample(digits, 60)
    x, _ = vg.data.center(chosen)
    net = vg.nets.mlp([64, 40, 1], first_init=1e-3, dtype=torch.float64)
    net = vg.train_to_margin(net, x.double(), chosen.y).model

    def weights():
        return gated_machine(net, x.double(), chosen.y, ["1"])["1.weight"]

    found = weights()
    monkeypatch.setattr(gated_machine_module, "DUAL_STEPS", 3000)
    solution = weights()
    monkeypatch.setattr(gated_machine_module, "DUAL_STEPS", 0)
    assert (found - solution).norm() < 0.05 * solution.norm() < 0.2 * (weights() - solution).norm()  # a null


class Wrapped(nn.Module):
    """A network that is no chain to read."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)


def test_the_layer_is_the_one_that_tells_samples_apart():
    model, x, y = trained(0)
    kept = torch.arange(1, len(x))
    assert telling_layers(model, x, y, kept) == ["1"] and telling_layers(Wrapped(model), x, y, kept) == ["inner.1"]
    images = torch.rand(12, 1, 10, 10, generator=torch.Generator().manual_seed(0))
    start = vg.nets.cnn((1, 10, 10), [vg.nets.Conv(8, 5, stride=2), 1], first_init=1e-3, dtype=torch.float64)
    net = vg.train_to_margin(start, images - images.mean(0), torch.arange(12) % 2).model
    found = vg.unlearn(net, images - images.mean(0), torch.arange(12) % 2, [0], loss="logistic")
    assert found.layers == ("3",) and found.after[0] < 0.5 * found.before[0]
    first = vg.unlearn(net, images - images.mean(0), torch.arange(12) % 2, [0], loss="logistic", layers=["0"])
    assert first.layers == ("0",) and first.after[0] > found.after[0]
