"""The file of a narrow network: every claim is derived again, and nothing false passes."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from narrow_reference import random_net

from vestige.construct.exact.layers import Layer, Neuron, layer
from vestige.construct.exact.network import ExactNetwork
from vestige.construct.file.check import CHANGED, DIGEST, NOT_DERIVED
from vestige.construct.file.check_narrow import EVERYWHERE, INTEGERS
from vestige.construct.file.saved import load, save, verify
from vestige.construct.narrowing.narrower import narrow
from vestige.core.claims import Certificate
from vestige.nets.weights_file import CheckpointError

NEAR = {"exact": False, "radius": 1.3, "tolerance": 0.1}
OPTIONS = [
    {},
    {"width": "2d+3"},
    NEAR,
    {**NEAR, "width": "d+2", "delta": 0.3},
    {**NEAR, "weight_bound": 2},
    {**NEAR, "density": 3.0, "radius": 0.3},
]


def failed(certificate):
    return {claim.name for claim in certificate.claims if not claim.holds}


def verified(construction, tmp_path):
    save(construction, tmp_path / "net.safetensors")
    return verify(tmp_path / "net.safetensors")


def with_neuron(network, place, k, **changes):
    item = network.layers[place]
    row = item.neurons[k]
    fields = {"columns": row.columns, "weights": row.weights, "bias": row.bias, "shift": row.shift, **changes}
    neurons = (*item.neurons[:k], Neuron(**fields), *item.neurons[k + 1 :])
    return ExactNetwork((*network.layers[:place], Layer(item.inputs, neurons), *network.layers[place + 1 :]))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("widths", [[2, 4, 2], [1, 3, 2, 1]], ids=str)
def test_every_claim_is_derived_again(options, widths, tmp_path):
    if "weight_bound" in options:
        widths = [1, 3, 1]  # thousands of layers else
    built = narrow(random_net(widths), **options)
    certificate = verified(built, tmp_path)
    assert certificate.holds, certificate.table()
    read = {INTEGERS} if "exact" in options else {EVERYWHERE} if "width" in options else set()
    names = {c.name for c in built.certificate.claims} | {CHANGED, DIGEST, NOT_DERIVED} | read
    assert {c.name for c in certificate.claims} == names
    back = load(tmp_path / "net.safetensors")
    assert back.network == built.network and back.verify().holds
    x = np.linspace(-0.29, 0.29, 40).reshape(-1, 1).repeat(widths[0], 1)
    assert back.specification.is_safe(x).tolist() == built.specification.is_safe(x).tolist()


def test_nulls_and_a_moved_bit_fail(tmp_path):
    built = narrow(random_net([2, 4, 1]), **NEAR)
    zero = ExactNetwork((layer(2, [({}, 0)]),))
    assert "stored inputs where it is off" in failed(verified(replace(built, network=zero), tmp_path))
    last = len(built.network.layers) - 1
    row = built.network.layers[last].neurons[0]
    moved = with_neuron(built.network, last, 0, bias=row.bias + 1)
    assert failed(verified(replace(built, network=moved), tmp_path)) >= {
        "outputs that differ from plain integer arithmetic"
    }


def test_a_looser_promise_than_the_bits_allow_is_seen(tmp_path):
    built = narrow(random_net([2, 4, 1]), **NEAR)
    tight = replace(built, specification=replace(built.specification, tolerance=Fraction(1, 1000)))
    assert "error on safe inputs, proved" in failed(verified(tight, tmp_path))
    rare = replace(built, specification=replace(built.specification, delta=1e-6))
    assert "probability of unsafe inputs, proved" in failed(verified(rare, tmp_path))
    outside = replace(built, specification=replace(built.specification, radius=0.5))
    assert "error on safe inputs, proved" in failed(verified(outside, tmp_path))


def test_a_false_claim_is_named(tmp_path):
    built = narrow(random_net([2, 4, 1]))
    claims = tuple(replace(c, measured=5) if c.name == "width" else c for c in built.certificate.claims)
    assert CHANGED in failed(verified(replace(built, certificate=Certificate(claims)), tmp_path))


@pytest.mark.parametrize(
    "changes",
    [
        {"radius": 0.0},
        {"radius": -1.0},
        {"bits": 10**9},
        {"bits": None},
        {"ramp": Fraction(0)},
        {"tolerance": Fraction(0)},
        {"tolerance": Fraction(-1)},
        {"sizes": np.zeros(64)},
        {"sizes": -np.ones(64)},
        {"points": np.zeros((64, 5))},
    ],
    ids=str,
)
def test_a_specification_that_makes_no_sense_is_refused(changes, tmp_path):
    built = narrow(random_net([2, 4, 1]), **NEAR)
    with pytest.raises(CheckpointError, match="its specification is not one of 'narrow'"):
        verified(replace(built, specification=replace(built.specification, **changes)), tmp_path)


def test_fewer_points_say_so(tmp_path):
    save(narrow(random_net([2, 4, 1]), **NEAR), tmp_path / "net.safetensors")
    certificate = verify(tmp_path / "net.safetensors", points=10)
    named = {c.name: c.source for c in certificate.claims}
    assert "10 of 64 inputs" in named["stored inputs where it is off"]
