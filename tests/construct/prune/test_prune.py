"""Pruning to a target: the network that comes out is run, its certificate is computed anew by brute force."""

import copy
import hashlib
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from relu_networks import largest_difference, on_the_ball, relu_net
from torch import nn

import vestige as vg
from vestige.construct.prune.compare import certify
from vestige.construct.prune.masked_network import MaskedNetwork, random_network
from vestige.construct.prune.sup_error import Ball, stand_in
from vestige.core.relu_chain import read_relu_chain
from vestige.core.rng import child


def weights_of(net):
    return hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest()


@settings(max_examples=12)
@given(
    widths=st.lists(st.integers(1, 6), min_size=2, max_size=4),
    bias=st.booleans(),
    nonnegative=st.booleans(),
    radius=st.floats(0.1, 10),
    seed=st.integers(0, 50),
)
def test_the_error_is_certified_on_the_ball(widths, bias, nonnegative, radius, seed):
    target = relu_net(*widths, bias=bias, seed=seed)
    found = vg.construct.prune_to_target(
        target, tolerance=1e-3, radius=radius, nonnegative=nonnegative, generator=child(seed, "random")
    )
    x = on_the_ball(300, widths[0], radius=radius, nonnegative=nonnegative)
    error = largest_difference(found.to_torch(), copy.deepcopy(target), x)
    assert error <= found.numbers["certified_error"] <= 1e-3
    assert found.numbers["sampled_error"] <= found.numbers["certified_error"]
    assert found.certificate.holds and found.outcome is vg.Outcome.CONVERGED


def test_masks_are_zero_or_one_and_nothing_is_trained():
    target = relu_net(20, 16, 4)
    before = weights_of(target)
    found = vg.construct.prune_to_target(target, tolerance=1e-2)
    assert weights_of(target) == before
    assert all(mask.dtype is torch.bool for mask in found.network.masks.values())
    assert set(found.network.masks) == {name for name, _ in found.network.random.named_parameters()}
    assert weights_of(found.network.random) == weights_of(random_network(found.network.plan))
    for kept, drawn, mask in zip(
        found.to_torch().parameters(), found.network.random.parameters(), found.network.masks.values(), strict=True
    ):
        assert torch.equal(kept, torch.where(mask, drawn, 0.0))
    assert found.numbers["kept"] == sum(int((p != 0).sum()) for p in found.to_torch().parameters())
    assert found.numbers["random_weights"] == sum(layer.random_weights for layer in found.layers)
    assert found.numbers["target_weights"] == 20 * 16 + 16 + 16 * 4 + 4


@pytest.mark.parametrize(("rows", "most"), [(8, 2.0), (16, 0.05), (24, 1e-3)])
def test_errors_fall_exponentially_with_the_rows(rows, most):
    target = relu_net(20, 16, 4)
    found = vg.construct.prune_to_target(target, tolerance=100.0, rows=rows)
    assert found.numbers["sampled_error"] <= found.numbers["certified_error"] <= most
    assert found.numbers["certified_error"] >= most / 1e3, "far below the method's: is nothing measured?"


def test_unmasked_random_and_wrongly_masked_networks_fail():
    target = relu_net(6, 5, 3)
    found = vg.construct.prune_to_target(target, tolerance=1e-2)
    x = on_the_ball(200, 6)
    shuffled = {
        name: mask.flatten()[torch.randperm(mask.numel(), generator=child(1, name))].reshape(mask.shape)
        for name, mask in found.network.masks.items()
    }
    assert largest_difference(found.to_torch(), target, x) <= 1e-2
    wrong = MaskedNetwork(found.network.plan, shuffled).to_torch()
    for null in (found.network.random, wrong, nn.Sequential(nn.Linear(6, 3)).requires_grad_(False)):
        assert largest_difference(copy.deepcopy(null), target, x) > 0.1


def test_the_certificate_sees_one_weight_that_was_flipped():
    target = relu_net(6, 5, 3)
    found = vg.construct.prune_to_target(target, tolerance=1e-3)
    masks = {name: mask.clone() for name, mask in found.network.masks.items()}
    last = list(masks)[-1]
    index = int((found.network.random.state_dict()[last].abs() * masks[last]).argmax())
    masks[last].view(-1)[index] = False
    changed = certify(
        read_relu_chain(target).affine(), MaskedNetwork(found.network.plan, masks).to_torch(), Ball(1e-3, 1.0, False)
    )
    assert changed[-1].bound > 1e-3


def test_a_hidden_neuron_of_two_inputs_is_refused():
    with pytest.raises(ValueError, match="keeps 2 weights"):
        stand_in(torch.tensor([[1.0, 2.0]]), None, torch.ones(1, 1))


def test_the_stand_in_is_what_the_layers_compute():
    found = vg.construct.prune_to_target(relu_net(4, 3), tolerance=0.1)
    pair = [m for m in found.to_torch() if isinstance(m, nn.Linear)]
    x = on_the_ball(50, 4)
    read = stand_in(pair[0].weight, pair[0].bias, pair[1].weight)
    expected = x.relu() @ read.positive.T + (-x).relu() @ read.negative.T + read.offset
    torch.testing.assert_close(found.to_torch().double()(x), expected)


def test_every_method_reaches_a_coarse_error():
    target = relu_net(2, 1, bias=False, seed=3)
    target[0].weight.mul_(2)
    assert float(target[0].weight.norm()) > 0.5, "deleting everything would do"
    sizes = {}
    for method in vg.construct.PruneMethod:
        found = vg.construct.prune_to_target(target, tolerance=0.5, method=method)
        assert found.numbers["sampled_error"] <= found.numbers["certified_error"] <= 0.5
        sizes[method] = found.numbers["random_weights"]
    assert sizes["subset_sum"] < sizes["random"] < sizes["close"]


def test_equal_seeds_give_equal_masks():
    target = relu_net(5, 4, 2)
    first, again, other = (
        vg.construct.prune_to_target(target, tolerance=0.01, generator=child(s, "g")) for s in (1, 1, 2)
    )
    assert all(torch.equal(first.network.masks[name], again.network.masks[name]) for name in first.network.masks)
    assert first.network.plan.seed != other.network.plan.seed


def test_zero_weights_cost_nothing():
    target = relu_net(5, 4, 2)
    target[0].weight.zero_()
    target[0].bias.zero_()
    found = vg.construct.prune_to_target(target, tolerance=0.01)
    assert found.layers[0].kept == 0


def test_large_weights_are_reached_by_a_larger_scale():
    target = relu_net(4, 3, 2)
    target[0].weight.mul_(37.0)
    found = vg.construct.prune_to_target(target, tolerance=0.1)
    assert found.layers[0].scale >= 16 and found.numbers["certified_error"] <= 0.1


@pytest.mark.parametrize("factor", [1e-30, 1e-15])
def test_tiny_weights_are_no_trouble(factor):
    target = relu_net(4, 3, 2)
    for parameter in target.parameters():
        parameter.mul_(factor)
    found = vg.construct.prune_to_target(target, tolerance=factor)
    assert found.numbers["sampled_error"] <= found.numbers["certified_error"] <= factor


def test_weights_beyond_float32_are_refused():
    target = relu_net(4, 3, dtype=torch.float64)
    target[0].weight.mul_(1e60)
    with pytest.raises(ValueError, match="rescale"):
        vg.construct.prune_to_target(target, tolerance=1.0)


def test_flattens_images_and_keeps_the_generator():
    target = nn.Sequential(nn.Flatten(), *relu_net(8, 3, 2))
    draw = child(3, "mine")
    state = draw.get_state()
    found = vg.construct.prune_to_target(target, tolerance=0.1, generator=draw, x=torch.rand(5, 2, 4))
    assert torch.equal(draw.get_state(), state)
    assert found.to_torch()(torch.rand(5, 2, 4, dtype=torch.float32)).shape == (5, 2)


def test_steps_are_told():
    seen = []
    vg.construct.prune_to_target(relu_net(4, 3, 2), tolerance=0.1, on_step=seen.append)
    assert [(s.index, s.total) for s in seen[:2]] == [(1, 2), (2, 2)] and all(s.value >= 0 for s in seen)


def test_required_width_grows_as_the_methods_say():
    target = relu_net(20, 16, 4)
    rows = {
        m: [vg.construct.required_width(target, e, method=m).rows[0] for e in (1e-2, 1e-3)]
        for m in vg.construct.PruneMethod
    }
    assert 3 <= rows["subset_sum"][1] - rows["subset_sum"][0] <= 4
    assert 9 < rows["random"][1] / rows["random"][0] < 11
    assert 90 < rows["close"][1] / rows["close"][0] < 110
    found = vg.construct.prune_to_target(target, tolerance=1e-3)
    assert found.required.lower_bound <= found.numbers["random_weights"] <= 2 * found.required.random_weights


@pytest.mark.parametrize("rows", [6, 10])
def test_too_small_a_network_names_a_number_that_does(rows):
    target = relu_net(6, 5, 2)
    with pytest.raises(ValueError, match="too small") as error:
        vg.construct.prune_to_target(target, tolerance=1e-3, rows=rows)
    bigger = int(str(error.value).split("rows=")[1].split()[0])
    coarser = float(str(error.value).split("or tolerance=")[1].split()[0])
    assert vg.construct.prune_to_target(target, tolerance=1e-3, rows=bigger).numbers["certified_error"] <= 1e-3
    assert vg.construct.prune_to_target(target, tolerance=coarser, rows=rows).numbers["certified_error"] <= coarser


def test_an_error_out_of_reach_names_one_that_is_within():
    target = relu_net(3, 2, 1)
    with pytest.raises(ValueError, match="exact search goes") as error:
        vg.construct.prune_to_target(target, tolerance=1e-12)
    reachable = float(str(error.value).split("tolerance=")[2].split()[0])
    assert reachable < 1e-6
    assert vg.construct.prune_to_target(target, tolerance=reachable).numbers["certified_error"] <= reachable


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        (nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1)), {}, "is a Tanh; an nn.Sequential"),
        (nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), {}, "fold it into the linear"),
        (nn.Sequential(nn.Conv2d(1, 1, 2)), {}, "write it out as a linear"),
        (nn.Sequential(nn.Linear(2, 2), nn.ReLU()), {}, "ends with a ReLU"),
        (nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), {}, "Linear behind another Linear"),
        (relu_net(2, 2), {"tolerance": 0.0}, "tolerance=0.0 given"),
        (relu_net(2, 2), {"tolerance": float("nan")}, "tolerance=nan given"),
        (relu_net(2, 2), {"radius": -1}, "radius=-1 given"),
        (relu_net(2, 2), {"rows": 0}, "rows=0 given"),
        (relu_net(2, 2), {"rows": 31}, "allowed are 1 to 30"),
        (relu_net(2, 2), {"method": "magic"}, "magic"),
        (relu_net(2, 2), {"granularity": "layers"}, "layers"),
        (relu_net(2, 2), {"x": torch.ones(3, 5)}, "2 numbers"),
        (relu_net(2, 2), {"granularity": "neurons"}, "without x"),
        (relu_net(300, 300), {"method": "close", "tolerance": 1e-3}, "random weights by"),
    ],
)
def test_bad_input(target, options, message):
    with pytest.raises(ValueError, match=message):
        vg.construct.prune_to_target(target, **{"tolerance": 0.1, **options})


def test_broken_weights_are_named():
    target = relu_net(2, 2)
    target[0].weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match="NaN or infinite"):
        vg.construct.prune_to_target(target, tolerance=0.1)


def test_the_bound_is_the_recursion_in_the_open():
    """The bound of two layers, written out with numpy's norms from the module's own matrices."""
    target = relu_net(4, 3, 2)
    found = vg.construct.prune_to_target(target, tolerance=0.05, radius=2.0)
    w1, w2 = (layer.weight.double() for layer in target if isinstance(layer, nn.Linear))
    b1, b2 = (layer.bias.double() for layer in target if isinstance(layer, nn.Linear))
    a, b, c, d = (m for m in found.to_torch() if isinstance(m, nn.Linear))
    one, two = stand_in(a.weight, a.bias, b.weight), stand_in(c.weight, c.bias, d.weight)
    norm = lambda m: float(torch.linalg.svdvals(m)[0])  # noqa: E731
    first = 2 * norm(torch.cat([one.positive - w1, one.negative + w1], 1)) + float((one.offset - b1).norm())
    reach = 2 * norm(w1) + float(b1.norm())
    second = norm(w2) * first + norm(two.positive - w2) * (reach + first) + float((two.offset - b2).norm())
    assert found.numbers["certified_error"] == pytest.approx(second, rel=1e-8)
    assert certify(read_relu_chain(target).affine(), found.to_torch(), Ball(1.0, 2.0, True))[-1].bound <= second


def test_a_network_that_reads_digits_keeps_its_accuracy():
    """64-128-10 trained for a second, pruned out of random weights to an error of .01 for every image."""
    train, test = vg.load_data("digits"), vg.load_data("digits", split="test")
    net = vg.nets.mlp([64, 128, 10], bias="all", dtype=torch.float32, generator=child(0, "digits"))
    optimizer = torch.optim.Adam(net.parameters(), 5e-3)
    x, y = train.x.float(), train.y
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    net.requires_grad_(False)
    found = vg.construct.prune_to_target(
        net, tolerance=0.01, radius=float(x.flatten(1).norm(dim=1).max()), nonnegative=True
    )
    right = net(test.x.float()).argmax(1) == test.y
    assert float(right.double().mean()) > 0.9
    assert torch.equal(found.to_torch()(test.x.float()).argmax(1) == test.y, right)
    assert found.numbers["certified_error"] <= 0.01
    null = found.network.random
    assert float((null(test.x.float()).argmax(1) == test.y).double().mean()) < 0.4


@pytest.mark.slow
def test_a_network_that_reads_mnist_keeps_its_accuracy():
    """784-100-10 in about half a minute."""
    folder = os.environ.get("VESTIGE_DATA")  # empty is unset, not the current folder
    if not folder:
        pytest.skip("needs mnist.npz in the folder that VESTIGE_DATA names")
    data = f"npz:{Path(folder) / 'mnist.npz'}"
    train, test = vg.load_data(data), vg.load_data(data, split="test")
    net = vg.nets.mlp([784, 100, 10], bias="all", dtype=torch.float32, generator=child(0, "mnist"))
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for batch in torch.randperm(len(train), generator=child(0, "batches")).split(64):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(train.x[batch].float()), train.y[batch]).backward()
        optimizer.step()
    net.requires_grad_(False)
    x = test.x.float()
    found = vg.construct.prune_to_target(
        net, tolerance=0.05, radius=float(x.flatten(1).norm(dim=1).max()), nonnegative=True
    )
    assert found.numbers["certified_error"] <= 0.05 and float((net(x).argmax(1) == test.y).double().mean()) > 0.85
    # Images whose two largest outputs are farther apart than twice the error cannot change their class.
    ahead = net(x).topk(2, dim=1).values
    sure = (ahead[:, 0] - ahead[:, 1]) > 0.1
    assert torch.equal(found.to_torch()(x).argmax(1)[sure], net(x).argmax(1)[sure])
    assert float(sure.double().mean()) > 0.9


def test_a_search_for_the_worst_input_stays_below_the_certificate():
    """Projected gradient ascent on the difference, from many starts: above what sampling finds, below the bound."""
    target = relu_net(6, 8, 8, 3, seed=2)
    found = vg.construct.prune_to_target(target, tolerance=0.05, radius=2.0)
    ours, theirs = found.to_torch().double(), copy.deepcopy(target).double()
    x = on_the_ball(64, 6, radius=2.0)
    for _ in range(100):
        x.requires_grad_()
        (step,) = torch.autograd.grad((ours(x) - theirs(x)).norm(dim=1).sum(), x)
        x = (x + 0.1 * step / step.norm(dim=1, keepdim=True).clamp(min=1e-12)).detach()
        x = x * (2.0 / x.norm(dim=1, keepdim=True)).clamp(max=1.0)
    worst = largest_difference(ours, theirs, x)
    assert found.numbers["sampled_error"] <= 1.02 * worst
    assert worst <= found.numbers["certified_error"] <= 0.05


def test_the_users_model_and_the_global_generator_stay_as_they_were():
    target = nn.Sequential(nn.Flatten(), *relu_net(4, 3, 2), nn.Dropout(0.5)).train()
    before, state = weights_of(target), torch.random.get_rng_state()
    found = vg.construct.prune_to_target(target, tolerance=0.1)
    assert weights_of(target) == before and target.training and torch.equal(torch.random.get_rng_state(), state)
    assert all(p.grad is None for p in target.parameters()) and found.numbers["certified_error"] <= 0.1
