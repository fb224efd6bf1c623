"""Files of masks: they come back bit for bit, are small, and a changed bit is noticed."""

import json

import pytest
import torch
from relu_networks import largest_difference, on_the_ball, relu_net
from safetensors import safe_open
from safetensors.torch import save_file
from vestige.construct.prune.saved import is_pruned_file

import vestige as vg
from vestige.core.rng import child


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("masks") / "net.safetensors"
    target = relu_net(20, 16, 4)
    found = vg.construct.prune_to_target(target, epsilon=0.01)
    vg.construct.save(found, path)
    return path, target, found


def rewritten(path, out, *, tensors=None, metadata=None):
    """The same file with some tensors or metadata replaced."""
    with safe_open(path, "pt") as file:
        old = {name: file.get_tensor(name) for name in file.keys()}
        text = dict(file.metadata())
    save_file({**old, **(tensors or {})}, out, {**text, **(metadata or {})})
    return out


def test_weights_come_back_bit_for_bit(saved):
    path, _, found = saved
    again = vg.construct.load(path)
    assert again.plan == found.plan and again.ball == found.ball
    for ours, theirs in zip(again.module.parameters(), found.module.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert all(torch.equal(again.masks[name], mask) for name, mask in found.masks.items())


def test_the_file_holds_masks_and_no_weights(saved):
    path, _, found = saved
    with safe_open(path, "pt") as file:
        assert {name.rpartition(".")[2] for name in file.keys()} <= {"bits", "kept"}
    assert path.stat().st_size < found.random_weights / 8 + 4096


def test_the_check_passes_with_and_without_the_target(saved):
    path, target, _ = saved
    assert is_pruned_file(path) and vg.construct.verify(path).holds
    certificate = vg.construct.verify(path, target)
    assert certificate.holds and len(certificate.claims) == 2


def test_another_target_fails_the_check(saved):
    path, target, _ = saved
    other = relu_net(20, 16, 4)
    other[2].weight[0, 0] += 0.02
    assert not vg.construct.verify(path, other).holds
    assert vg.construct.verify(path, target).holds
    with pytest.raises(ValueError, match="widths"):
        vg.construct.verify(path, relu_net(20, 16, 5))


@pytest.mark.parametrize("which", [0, -1])
def test_one_changed_bit_is_caught(saved, tmp_path, which):
    path, _, _ = saved
    with safe_open(path, "pt") as file:
        name = sorted(file.keys())[which]
        tensor = file.get_tensor(name).clone()
    tensor[3] ^= 1
    bad = rewritten(path, tmp_path / "bad.safetensors", tensors={name: tensor})
    with pytest.raises(vg.nets.CheckpointError, match="another SHA-256"):
        vg.construct.load(bad)
    assert not vg.construct.verify(bad).holds


def test_another_seed_is_caught(saved, tmp_path):
    path, target, found = saved
    with safe_open(path, "pt") as file:
        plan = json.loads(file.metadata()["plan"])
    bad = rewritten(path, tmp_path / "bad.safetensors", metadata={"plan": json.dumps({**plan, "seed": 7})})
    assert not vg.construct.verify(bad, target).holds
    with pytest.raises(vg.nets.CheckpointError, match="another SHA-256"):
        vg.construct.load(bad)
    assert largest_difference(found.module, target, on_the_ball(50, 20)) <= 0.01


PLAN = {"seed": 1, "distribution": "uniform", "features": 2, "hidden": [2], "out": [1], "bias": [True], "scale": [1.0]}


@pytest.mark.parametrize(
    "metadata",
    [
        {"plan": "{}"},
        {"plan": "[" * 3},
        {"ball": '{"epsilon": 1}'},
        {"plan": json.dumps({**PLAN, "features": 10**7, "hidden": [10**7]})},
        {"plan": json.dumps({**PLAN, "seed": -1})},
        {"plan": json.dumps({**PLAN, "distribution": "odd"})},
        {"plan": json.dumps({**PLAN, "scale": []})},
    ],
)
def test_damaged_files_are_refused(saved, tmp_path, metadata):
    bad = rewritten(saved[0], tmp_path / "bad.safetensors", metadata=metadata)
    with pytest.raises(vg.nets.CheckpointError, match="damaged"):
        vg.construct.load(bad)


def test_masks_of_another_size_are_refused(saved, tmp_path):
    bad = rewritten(
        saved[0], tmp_path / "bad.safetensors", tensors={"3.weight.bits": torch.zeros(3, dtype=torch.uint8)}
    )
    with pytest.raises(vg.nets.CheckpointError, match="damaged"):
        vg.construct.load(bad)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    vg.save_model(vg.nets.mlp([3, 2]), path)
    assert not is_pruned_file(path)
    with pytest.raises(vg.nets.CheckpointError, match="no file of masks"):
        vg.construct.load(path)


def test_masks_of_neurons_are_stored_too(tmp_path):
    found = vg.construct.prune_to_target(
        relu_net(5, 4, 1), epsilon=1.0, granularity="neurons", points=on_the_ball(10, 5), generator=child(0, "n")
    )
    vg.construct.save(found, tmp_path / "n.safetensors")
    again = vg.construct.load(tmp_path / "n.safetensors")
    assert all(torch.equal(again.masks[name], mask) for name, mask in found.masks.items())
