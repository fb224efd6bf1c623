"""Groups act as groups, networks are invariant to them, and distances between orbits are a metric."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from vestige.core.rng import child
from vestige.nets.architecture import ArchitectureError, describe, parse_architecture
from vestige.nets.checkpoint import load_model, save_model
from vestige.nets.fully_connected import mlp
from vestige.nets.groups import Permutations, Rotations, Shifts, parse_group
from vestige.nets.invariant import InvariantNetwork
from vestige.nets.orbits import align_orbits, check_invariant, invariance_gap, orbit_distance, symmetric_energy
from vestige.nets.training import train_to_margin

CASES = [
    (Rotations(), (1, 4, 4)),
    (Rotations(mirror=True), (2, 4, 4)),
    (Shifts(2), (1, 4, 6)),
    (Permutations(3), (3, 5)),
]
NETWORKS = [
    "c4@1x6x6:mlp:36-20-3",
    "d4@2x4x4:mlp:32-20-3",
    "shifts:2@1x6x6:mlp:36-20-3",
    "shifts:1@2x6x6w3:mlp:18-20-3",
    "set:4@4x5:mlp:5-20-3",
]
groups = pytest.mark.parametrize(("group", "shape"), CASES, ids=lambda v: str(v))


def draw(shape, seed, n=3):
    return torch.randn(n, *shape, generator=child(seed, "x"))


@groups
def test_an_orbit_has_as_many_members_as_the_group_and_is_closed(group, shape):
    x = draw(shape, 0, 1)
    orbit = group.orbit(x)[0]
    assert len(orbit.flatten(1).unique(dim=0)) == len(orbit) == group.order(shape)
    again = group.orbit(group.draw(x, child(1, "g")))[0]
    assert torch.equal(again.flatten(1).unique(dim=0), orbit.flatten(1).unique(dim=0))


@groups
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 99))
def test_what_an_orbit_shares(group, shape, seed):
    x, y = draw(shape, seed), draw(shape, seed + 1000)
    moved = group.draw(x, child(seed, "g"))
    torch.testing.assert_close(group.project(moved), group.project(x), atol=1e-12, rtol=0)
    torch.testing.assert_close(group.project(group.project(x)), group.project(x), atol=1e-12, rtol=0)
    torch.testing.assert_close(group.canonical(moved), group.canonical(x), atol=0, rtol=0)
    torch.testing.assert_close(symmetric_energy(moved, group), symmetric_energy(x, group), atol=1e-12, rtol=0)
    torch.testing.assert_close(group.align(moved, x), x, atol=0, rtol=0)
    torch.testing.assert_close(group.products(y, moved), group.products(y, x), atol=1e-12, rtol=0)


@groups
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 99))
def test_orbit_distance_is_a_pseudo_metric(group, shape, seed):
    x = draw(shape, seed, 4)
    d = orbit_distance(x, x, group)
    assert d.diag().abs().max() == 0
    assert orbit_distance(x, group.draw(x, child(seed, "g")), group).diag().abs().max() == 0
    torch.testing.assert_close(d, d.T, atol=1e-12, rtol=0)
    assert (d[:, None] <= d[:, :, None] + d.T[None] + 1e-12).all()
    away = d + torch.eye(4) * 9
    assert away.min() > 0.1, "orbits of different inputs are apart"


@groups
def test_nearest_members_match_enumeration(group, shape):
    x, y = draw(shape, 0), draw(shape, 1)
    every = torch.stack([(x[:, None] - m[None]).flatten(2).norm(dim=2) for m in group.orbit(y).unbind(1)]).amin(0)
    torch.testing.assert_close(orbit_distance(x, y, group), every)
    inner = torch.stack([x.flatten(1) @ m.flatten(1).T for m in group.orbit(y).unbind(1)]).amax(0)
    torch.testing.assert_close(group.products(x, y), inner)
    torch.testing.assert_close(group.project(x), group.orbit(x).mean(1))


def test_permutations_too_many_to_list_need_no_list():
    group, x = Permutations(40), draw((40, 2), 0)
    moved = group.draw(x, child(0, "g"))
    assert orbit_distance(x, moved, group).diag().max() == 0
    with pytest.raises(ValueError, match="too many to list"):
        group.orbit(x)


def test_a_set_is_matched_as_the_best_of_all_orders():
    x, y = draw((4, 3), 0, 1), draw((4, 3), 1, 1)
    best = max(float((x[0] * y[0][list(p)]).sum()) for p in itertools.permutations(range(4)))
    assert math.isclose(float(Permutations(4).products(x, y)), best)


@pytest.mark.parametrize("text", NETWORKS)
def test_networks_are_invariant(text):
    net = parse_architecture(text, generator=child(0, "i"), dtype=torch.float64)
    shape = tuple(int(s) for s in text.partition("@")[2].partition(":")[0].partition("w")[0].split("x"))
    assert invariance_gap(net, shape, net.group) <= 1e-12
    assert describe(net, shape) == text


@pytest.mark.parametrize("group", [Rotations(mirror=True), Shifts(1), Permutations(6)], ids=str)
def test_another_group_is_refused_with_the_gap(group):
    net = parse_architecture("c4@6x6:mlp:36-20-3", generator=child(0, "i"), dtype=torch.float64)
    with pytest.raises(ValueError, match=f"not invariant to {group}"):
        check_invariant(net, (6, 6), group)
    check_invariant(net, (6, 6), Rotations())


def test_a_window_at_every_shift_is_a_circular_convolution_with_average_pooling():
    net = parse_architecture("shifts:2@2x6x6w3:mlp:18-7-4", generator=child(0, "i"), dtype=torch.float64)
    first, last = net.base[1], net.base[3]
    x = draw((2, 6, 6), 0)
    padded = torch.nn.functional.pad(x, (0, 2, 0, 2), mode="circular")
    features = torch.nn.functional.conv2d(padded, first.weight.reshape(7, 2, 3, 3), first.bias, stride=2).relu()
    torch.testing.assert_close(net(x), features.mean((2, 3)) @ last.weight.T)


def test_saved_and_loaded(tmp_path):
    net = parse_architecture("c4@1x6x6:mlp:36-20-3", generator=child(0, "i"), dtype=torch.float64)
    save_model(net, tmp_path / "m.safetensors", metadata={"input_shape": "[1, 6, 6]"})
    loaded = load_model(tmp_path / "m.safetensors")
    assert loaded.architecture == "c4@1x6x6:mlp:36-20-3" and loaded.input_shape == (1, 6, 6)
    x = draw((1, 6, 6), 0)
    assert torch.equal(loaded.model(x), net(x))


def test_training_in_the_span_of_all_views_is_exact():
    net = parse_architecture("c4@1x6x6:mlp:36-10-3", first_init=1e-2, generator=child(0, "i"), dtype=torch.float64)
    x, y = draw((1, 6, 6), 0, 4), torch.tensor([0, 1, 2, 0])
    how = {"loss": "cross_entropy", "weight_decay": 1e-2, "steps": 200, "schedule": "constant", "learning_rate": 0.05}
    ends = [train_to_margin(net, x, y, span=span, **how) for span in ("auto", False)]
    assert ends[0].span_rank is not None and ends[1].span_rank is None
    torch.testing.assert_close(ends[0].model(x), ends[1].model(x), atol=1e-10, rtol=0)
    for a, b in zip(ends[0].model.parameters(), ends[1].model.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-10, rtol=0)


def test_alignment_makes_orbits_comparable():
    group, x = Rotations(), draw((1, 4, 4), 0, 3)
    moved = torch.cat([x, group.draw(x, child(0, "a")), group.draw(x, child(1, "b"))])
    aligned = align_orbits(moved, group=group)
    assert torch.equal(aligned[3:6], x) and torch.equal(aligned[6:], x)
    assert not torch.equal(moved[3:6], x)


@pytest.mark.parametrize("text", ["c5", "shifts:0", "shifts:", "set:-1", "", "C4", "set:4x", "shifts:99999"])
def test_unknown_groups_are_refused(text):
    with pytest.raises(ValueError, match="are known"):
        parse_group(text)


@pytest.mark.parametrize(
    ("group", "shape", "reason"),
    [
        (Rotations(), (1, 4, 6), "square images"),
        (Rotations(), (16,), "square images"),
        (Shifts(3), (1, 4, 4), "divides"),
        (Permutations(3), (4, 5), "sets of 3"),
        (Permutations(3), (3,), "sets of 3"),
    ],
)
def test_shapes_that_a_group_does_not_act_on(group, shape, reason):
    with pytest.raises(ValueError, match=reason):
        group.check(shape)
    with pytest.raises(ValueError, match=reason):
        symmetric_energy(torch.zeros(2, *shape), group)


@pytest.mark.parametrize(
    "text",
    [
        "c4@1x4x6:mlp:24-5-1",
        "c4@1x4x4:mlp:15-5-1",
        "c4@1x4x4:cnn:1x4x4-c4k3-1",
        "c4@1x4x4w2:mlp:4-5-1",
        "e8@1x4x4:mlp:16-5-1",
        "c4@:mlp:16-5-1",
        "c4@1x4x4",
        "shifts:1@1x65x65:mlp:4225-5-1",
        "@",
    ],
)
def test_architectures_that_are_none(text):
    with pytest.raises(ArchitectureError):
        parse_architecture(text, device="meta")


def test_windows_are_for_shifts():
    with pytest.raises(ValueError, match="is for shifts"):
        InvariantNetwork(nn.Flatten(), Rotations(), window=2)


def test_an_ordinary_network_is_not_invariant():
    assert invariance_gap(mlp([16, 9, 2], generator=child(0, "i")), (1, 4, 4), Rotations()) > 0.1
