"""The robust two-layer network: margin one, a radius that is tight, and a certificate that any damage costs."""

import copy
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import vestige as vg
from vestige.construct.file.stored import TEXT, digest_of
from vestige.construct.robust.two_layer import robust_two_layer
from vestige.core.rng import child
from vestige.nets.checkpoint import write_tensors
from vestige.nets.fully_connected import mlp
from vestige.nets.training import train_to_margin
from vestige.nets.weights_file import read_weights


def sphere(d, n, seed=0):
    x = torch.randn((n, d), generator=child(seed, "sphere"), dtype=torch.float64)
    return x * math.sqrt(d) / x.norm(dim=1, keepdim=True), torch.arange(n) % 2


def failed(certificate):
    return {claim.name for claim in certificate.claims if not claim.holds}


def forge(path, change):
    """Change the file and make its digest fit again."""
    weights = read_weights(path)
    document = json.loads(bytes(weights.tensors[TEXT].numpy()))
    tensors = {name: t for name, t in weights.tensors.items() if name != TEXT}
    change(document, tensors)
    tensors[TEXT] = torch.from_numpy(np.frombuffer(json.dumps(document).encode(), dtype=np.uint8).copy())
    write_tensors(path, tensors, {**weights.metadata, "sha256": digest_of(tensors)})


def test_two_orthogonal_samples_in_closed_form():
    made = robust_two_layer(torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.tensor([1, 0]))
    weight, bias, out = (parameter.tolist() for parameter in made.network.parameters())
    assert (weight, bias, out) == ([[2.0, 0.0], [0.0, 2.0]], [-2.0, -2.0], [[0.5, -0.5]])
    assert made.numbers["eps"] == pytest.approx(1.0, rel=1e-12) and made.numbers["eps"] < 1.0


def test_margin_one_and_a_radius_that_is_tight():
    x, y = sphere(400, 20)
    made = robust_two_layer(x, y)
    sign, eps = (2 * y - 1).double(), made.numbers["eps"]
    torch.testing.assert_close(sign * made.network(x)[:, 0], torch.ones(20), atol=1e-12, rtol=0)
    products = (x @ x.T).masked_fill(y[:, None] == y, -torch.inf).amax(1)
    assert eps == pytest.approx(float((400 - products.max()) / (2 * math.sqrt(400))), rel=1e-9)
    worst = int(products.argmax())
    beyond, before = (x[worst] * (1 - scale * eps / math.sqrt(400)) for scale in (1.001, 0.999))
    assert made.network(beyond[None]).item() == 0.0
    assert sign[worst] * made.network(before[None]).item() > 0


@pytest.mark.slow
def test_no_attack_finds_a_violation_inside_the_certified_radius():
    x, y = sphere(400, 20)
    made = robust_two_layer(x, y)
    assert violations(made.network, x, y, 0.999 * made.numbers["eps"]) == 0
    # The same attack does break the trained network there, which is no weaker a check than it looks.
    start = mlp([400, 100, 1], first_init=1e-4, init_scale=0.1, generator=child(0, "net"))
    trained = train_to_margin(start, x, y, tol_loss=1e-8).model
    assert violations(trained, x, y, 0.999 * made.numbers["eps"]) == 20


def violations(net, x, y, radius, restarts=5, steps=100):
    sign, broken = 2 * y - 1, torch.zeros(len(x), dtype=torch.bool)
    for number in range(restarts):
        z = torch.randn(x.shape, generator=child(number, "start"))
        for step in range(steps):
            z = radius * z / z.norm(dim=1, keepdim=True).clamp(min=radius)
            z = z.detach().requires_grad_()
            value = sign * net(x + z)[:, 0]
            broken |= value.detach() <= 0
            slope = torch.autograd.grad(value.sum(), z)[0]
            z = z - radius * (1 - step / steps) * slope / slope.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return int(broken.sum())


@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(3, 8))
def test_no_random_point_of_the_ball_changes_sign(seed, n, d):
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn((n, d), generator=draw, dtype=torch.float64)
    x = x / x.norm(dim=1, keepdim=True)
    y = torch.arange(n) % 2
    made = robust_two_layer(x, y)
    delta = torch.randn((200, n, d), generator=draw, dtype=torch.float64)
    delta = 0.999 * made.numbers["eps"] * delta / delta.norm(dim=2, keepdim=True)
    out = made.network((x + delta).reshape(-1, d)).reshape(200, n)
    assert made.certificate.holds and bool((out * (2 * y - 1) > 0).all())


def test_single_precision_is_certified_as_it_is_stored():
    x, y = sphere(50, 6)
    made = robust_two_layer(x.float(), y)
    assert next(made.network.parameters()).dtype == torch.float32 and made.certificate.holds
    assert made.numbers["eps"] == pytest.approx(robust_two_layer(x, y).numbers["eps"], rel=1e-4)


@pytest.mark.parametrize("layer", [1, 3])
def test_every_damaged_weight_costs_the_certificate(layer):
    x, y = sphere(30, 6)
    made = robust_two_layer(x, y)
    for name, _ in made.network[layer].named_parameters():
        broken = copy.deepcopy(made.network)
        getattr(broken[layer], name).view(-1)[0].mul_(-1)
        assert not replace(made, network=broken).verify().holds, name


def test_more_than_the_largest_radius_is_refused():
    x, y = sphere(30, 6)
    made = robust_two_layer(x, y)
    wide = replace(made, specification=replace(made.specification, eps=made.numbers["eps"] * (1 + 1e-9)))
    assert failed(wide.verify()) == {"radius"}
    small = replace(made, specification=replace(made.specification, eps=made.numbers["eps"] * 0.9))
    assert failed(small.verify()) == {"radius without rounding / radius"}


FORGERIES = {
    "eps": lambda d, t: d["specification"]["fields"].update(eps={"float": (1e3).hex()}),
    "a label": lambda d, t: t["specification.signs"].neg_(),
    "a point": lambda d, t: t["specification.points"][0].neg_(),
    "a weight": lambda d, t: t["network.1.weight"][0].neg_(),
    "a threshold": lambda d, t: t["network.1.bias"][0].mul_(1 + 1e-6),
    "a vote": lambda d, t: t["network.3.weight"][0, 0].neg_(),
}


@pytest.mark.parametrize("what", FORGERIES)
def test_a_forged_file_fails_by_its_numbers(tmp_path, what):
    path = tmp_path / "net.safetensors"
    vg.construct.save(robust_two_layer(*sphere(30, 6)), path)
    assert vg.verify(path).holds
    forge(path, FORGERIES[what])
    assert failed(vg.verify(path)) - {"claims that the file states otherwise"}


HOSTILE = {
    "code": lambda d, t: d.update(network={"architecture": "os:system"}),
    "another network": lambda d, t: d.update(network={"architecture": "mlp:30-7-1"}),
    "a tensor less": lambda d, t: t.pop("network.1.bias"),
    "a tensor more": lambda d, t: t.update({"network.5.weight": torch.ones(1)}),
    "another shape": lambda d, t: t.update({"network.1.bias": torch.ones(3, dtype=torch.float64)}),
    "no samples": lambda d, t: t.update({"specification.points": t["specification.points"][:0].clone()}),
    "signs of three kinds": lambda d, t: t["specification.signs"][0].zero_(),
    "no radius": lambda d, t: d["specification"]["fields"].update(eps={"float": "nan"}),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_file_without_meaning_is_refused(tmp_path, what):
    path = tmp_path / "net.safetensors"
    vg.construct.save(robust_two_layer(*sphere(30, 6)), path)
    forge(path, HOSTILE[what])
    with pytest.raises(vg.nets.CheckpointError, match="not one of 'sign balls'"):
        vg.verify(path)


def test_an_architecture_of_endless_size_allocates_nothing(tmp_path):
    path = tmp_path / "net.safetensors"
    vg.construct.save(robust_two_layer(*sphere(30, 6)), path)
    forge(path, lambda d, t: d.update(network={"architecture": "mlp:9999999-9999999-1"}))
    for read in (vg.construct.load, vg.verify):
        with pytest.raises(vg.nets.CheckpointError):
            read(path)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (torch.tensor([[1.0, 0.0], [1.0, 0.0]]), [0, 1], "they are equal"),
        (torch.tensor([[1.0, 0.0], [3.0, 0.0]]), [0, 1], "subtract the samples' mean"),
        (torch.tensor([[1.0, 0.0], [0.0, 1.0]]), [1, 1], "every sample has the same label"),
        (torch.eye(2), [1, 2], "allowed are 0 and 1"),
        (torch.tensor([[1.0, math.nan], [0.0, 1.0]]), [0, 1], "NaN or infinite"),
        (torch.eye(2, dtype=torch.complex128), [0, 1], "x is torch.complex128; real samples"),
    ],
)
def test_bad_input_is_named(x, y, message):
    with pytest.raises(ValueError, match=message):
        robust_two_layer(x, torch.tensor(y))
