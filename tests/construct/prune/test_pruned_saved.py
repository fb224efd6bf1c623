"""Files of masks: they come back bit for bit, are small, and a changed bit is noticed."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from relu_networks import largest_difference, on_the_ball, relu_net
from safetensors import safe_open
from torch import nn

import vestige as vg
from vestige.construct.exact.interpolation import Interpolation
from vestige.construct.file.check import LEFT_OUT
from vestige.construct.file.check_masks import AT_POINTS, IN_BALL, VALUES, WEIGHTS
from vestige.construct.file.stored import TEXT, digest_of
from vestige.construct.prune.masked_network import MaskedNetwork
from vestige.core.rng import child
from vestige.nets.checkpoint import write_tensors
from vestige.nets.weights_file import read_weights


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("masks") / "net.safetensors"
    target = relu_net(20, 16, 4)
    found = vg.construct.prune_to_target(target, tolerance=0.01)
    vg.construct.save(found, path)
    return path, target, found


def forged(path, out, change):
    """The same file with its document or its tensors changed, and a digest that fits."""
    weights = read_weights(path)
    document = json.loads(bytes(weights.tensors[TEXT].numpy()))
    tensors = {name: t for name, t in weights.tensors.items() if name != TEXT}
    change(document, tensors)
    tensors[TEXT] = torch.from_numpy(np.frombuffer(json.dumps(document).encode(), dtype=np.uint8).copy())
    write_tensors(out, tensors, {**weights.metadata, "sha256": digest_of(tensors)})
    return out


def failed(certificate):
    return {claim.name for claim in certificate.claims if not claim.holds}


def test_weights_come_back_bit_for_bit(saved):
    path, _, found = saved
    again = vg.construct.load(path)
    assert again.network.plan == found.network.plan and dict(again.numbers) == found.numbers
    for ours, theirs in zip(again.to_torch().parameters(), found.to_torch().parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert all(torch.equal(again.network.masks[name], mask) for name, mask in found.network.masks.items())
    assert again.verify().holds


def test_the_file_holds_masks_and_no_weights(saved):
    path, target, found = saved
    with safe_open(path, "pt") as file:
        names = {name for name in file.keys() if name.startswith("network.")}
        assert {name.rpartition(".")[2] for name in names} <= {"bits", "kept"}
        assert not any(torch.equal(file.get_tensor(name), p) for name in file.keys() for p in target.parameters())
    assert path.stat().st_size < found.numbers["random_weights"] / 8 + 8192


def test_the_check_passes_with_and_without_the_target(saved):
    path, target, found = saved
    alone, beside = vg.construct.verify(path), vg.construct.verify(path, target=target)
    assert alone.holds and beside.holds
    names = [claim.name for claim in alone.claims]
    assert {WEIGHTS, AT_POINTS, LEFT_OUT} <= set(names) and IN_BALL not in names
    assert {WEIGHTS, AT_POINTS, VALUES, IN_BALL} <= {claim.name for claim in beside.claims}
    bound = next(claim.measured for claim in beside.claims if claim.name == IN_BALL)
    assert bound == pytest.approx(found.numbers["certified_error"], rel=1e-9)


def test_another_target_fails_the_check(saved):
    path, target, _ = saved
    other = relu_net(20, 16, 4)
    other[2].weight[0, 0] += 0.02
    assert {IN_BALL, VALUES} <= failed(vg.construct.verify(path, target=other))
    assert vg.construct.verify(path, target=target).holds
    with pytest.raises(ValueError, match="widths"):
        vg.construct.verify(path, target=relu_net(20, 16, 5))
    with pytest.raises(ValueError, match="cannot be read"):
        vg.construct.verify(path, target=nn.Sequential(nn.Linear(20, 4), nn.Tanh()))


def test_a_sample_of_the_inputs_says_so(saved):
    claims = {claim.name: claim for claim in vg.construct.verify(saved[0], points=3).claims}
    assert claims[AT_POINTS].source.endswith("3 of 16 inputs") and claims[AT_POINTS].holds


@pytest.mark.parametrize("which", [0, -1])
def test_one_changed_bit_is_caught(saved, tmp_path, which):
    def flip(document, tensors):
        name = sorted(name for name in tensors if name.startswith("network."))[which]
        tensors[name][3] ^= 1

    bad = forged(saved[0], tmp_path / "bad.safetensors", flip)
    with pytest.raises(vg.nets.CheckpointError, match="another SHA-256"):
        vg.construct.load(bad)
    assert WEIGHTS in failed(vg.construct.verify(bad))


def test_masks_that_were_changed_with_all_digests_fail_by_their_outputs(saved, tmp_path):
    """A forger saves another network under the same promise: no digest differs, the outputs do."""
    _, target, found = saved
    for value in (False, True):
        masks = {name: torch.full_like(mask, value) for name, mask in found.network.masks.items()}
        wrong = replace(found, network=MaskedNetwork(found.network.plan, masks))
        assert not wrong.verify().holds
        vg.construct.save(wrong, tmp_path / "wrong.safetensors")
        assert AT_POINTS in failed(vg.construct.verify(tmp_path / "wrong.safetensors"))
        assert {AT_POINTS, IN_BALL} <= failed(vg.construct.verify(tmp_path / "wrong.safetensors", target=target))


def test_another_seed_is_caught(saved, tmp_path):
    path, target, found = saved
    bad = forged(path, tmp_path / "bad.safetensors", lambda d, t: d["network"]["plan"].update(seed=7))
    assert {WEIGHTS, AT_POINTS} <= failed(vg.construct.verify(bad))
    with pytest.raises(vg.nets.CheckpointError, match="another SHA-256"):
        vg.construct.load(bad)
    assert largest_difference(found.to_torch(), target, on_the_ball(50, 20)) <= 0.01


PLAN = {"seed": 1, "distribution": "uniform", "features": 2, "hidden": [2], "out": [1], "bias": [True], "scale": [1.0]}
DAMAGE = {
    "no plan": lambda d, t: d["network"].update(plan={}),
    "no network": lambda d, t: d.update(network=[]),
    "endless memory": lambda d, t: d["network"].update(plan={**PLAN, "features": 10**7, "hidden": [10**7]}),
    "endless seed": lambda d, t: d["network"].update(plan={**PLAN, "seed": -1}),
    "odd distribution": lambda d, t: d["network"].update(plan={**PLAN, "distribution": "odd"}),
    "no scale": lambda d, t: d["network"].update(plan={**PLAN, "scale": []}),
    "no layers": lambda d, t: d["network"].update(plan={**PLAN, "hidden": [], "out": [], "bias": [], "scale": []}),
    "other size": lambda d, t: t.update({"network.3.weight.bits": torch.zeros(3, dtype=torch.uint8)}),
    "position outside": lambda d, t: t.update({"network.1.weight.kept": torch.tensor([10**6], dtype=torch.int32)}),
    "no masks": lambda d, t: [t.pop(name) for name in list(t) if name.startswith("network.")],
    "no digest": lambda d, t: d["network"].pop("masked_sha256"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_files_are_refused(saved, tmp_path, name):
    bad = forged(saved[0], tmp_path / "bad.safetensors", DAMAGE[name])
    for read in (vg.construct.load, vg.construct.verify):
        with pytest.raises(vg.nets.CheckpointError):
            read(bad)


@pytest.mark.parametrize(
    "change",
    [
        lambda d, t: d["specification"]["fields"].pop("tolerance"),
        lambda d, t: d["specification"]["fields"].update(tolerance={"float": "nan"}),
        lambda d, t: d["specification"]["fields"].update(radius={"float": "-0x1p+0"}),
        lambda d, t: d["specification"]["fields"].update(nonnegative="no"),
        lambda d, t: t.update({"specification.values": t["specification.values"][:3].clone()}),
        lambda d, t: t.update({"specification.points": t["specification.points"][:, :3].clone()}),
    ],
)
def test_specifications_without_meaning_are_refused(saved, tmp_path, change):
    bad = forged(saved[0], tmp_path / "bad.safetensors", change)
    with pytest.raises(vg.nets.CheckpointError, match="not one of 'pruned'"):
        vg.construct.verify(bad)


def test_a_promise_of_more_is_seen(saved, tmp_path):
    def tighten(document, tensors):
        document["specification"]["fields"]["tolerance"] = {"float": (1e-6).hex()}

    bad = forged(saved[0], tmp_path / "bad.safetensors", tighten)
    assert AT_POINTS in failed(vg.construct.verify(bad))

    def widen(document, tensors):
        document["specification"]["fields"]["radius"] = {"float": (1e3).hex()}

    bad = forged(saved[0], tmp_path / "bad.safetensors", widen)
    assert IN_BALL in failed(vg.construct.verify(bad, target=saved[1]))


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    vg.save_model(vg.nets.mlp([3, 2]), path)
    with pytest.raises(vg.nets.CheckpointError, match="holds no construction"):
        vg.construct.load(path)


def test_a_target_of_a_kind_that_needs_none_is_refused(tmp_path):
    made = vg.memorize(np.array([[0.0], [1.0]]), np.array([1, 2]))
    assert isinstance(made.specification, Interpolation)
    vg.construct.save(made, tmp_path / "net.safetensors")
    with pytest.raises(ValueError, match="holds all that its claims need"):
        vg.construct.verify(tmp_path / "net.safetensors", target=relu_net(1, 1))


@pytest.mark.parametrize("bias", [True, False])
def test_masks_of_neurons_are_stored_too(tmp_path, bias):
    target = relu_net(5, 4, 1, bias=bias)
    found = vg.construct.prune_to_target(
        target, on_the_ball(10, 5), tolerance=1.0, granularity="neurons", generator=child(0, "n")
    )
    vg.construct.save(found, tmp_path / "n.safetensors")
    again = vg.construct.load(tmp_path / "n.safetensors")
    assert all(torch.equal(again.network.masks[name], mask) for name, mask in found.network.masks.items())
    checked = vg.construct.verify(tmp_path / "n.safetensors", target=target)
    assert checked.holds and {AT_POINTS, VALUES} <= {claim.name for claim in checked.claims}
    assert IN_BALL not in {claim.name for claim in checked.claims}


@pytest.mark.parametrize("options", [{"nonnegative": True}, {"method": "greedy", "tolerance": 0.5}])
def test_the_bound_of_the_checker_is_that_of_the_maker(tmp_path, options):
    """Written twice: by torch on dense matrices, by scipy on sparse ones, with both kinds of random numbers."""
    target = relu_net(3, 2, 2, 1)
    found = vg.construct.prune_to_target(target, **{"tolerance": 0.01, **options})
    vg.construct.save(found, tmp_path / "net.safetensors")
    checked = vg.construct.verify(tmp_path / "net.safetensors", target=target)
    assert checked.holds
    bound = next(claim.measured for claim in checked.claims if claim.name == IN_BALL)
    assert bound == pytest.approx(found.numbers["certified_error"], rel=1e-9)


def test_nothing_is_certified_of_a_row_that_keeps_two_entries(saved, tmp_path):
    _, target, found = saved
    masks = {name: mask.clone() for name, mask in found.network.masks.items()}
    row = int(masks["1.weight"].any(1).nonzero()[0])
    masks["1.weight"][row] = True
    two = replace(found, network=MaskedNetwork(found.network.plan, masks))
    vg.construct.save(two, tmp_path / "net.safetensors")
    for claims in (two.verify().claims, vg.construct.verify(tmp_path / "net.safetensors", target=target).claims):
        assert math.isnan({claim.name: claim.measured for claim in claims}[IN_BALL])
