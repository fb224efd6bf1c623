"""Every construction keeps its own certificate, and an independent look at its file agrees; null networks do neither.

A row is a function without arguments that constructs something small. The null networks take the place of its network
and leave the specification as it is: zeros, a constant, and the network with outputs moved by one last bit more than
the specification allows.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vestige.construct.exact.layers import Layer, Neuron
from vestige.construct.exact.network import ExactNetwork
from vestige.construct.file.saved import verify
from vestige.construct.file.saved import load, save
from vestige.construct.memorization.memorizer import memorize
from vestige.construct.narrowing.narrower import narrow
from vestige.construct.robust.memorizer import memorize_robustly
from vestige.core.outcome import Outcome
from vestige.nets.mlp import mlp

POINTS = np.random.default_rng(0).standard_normal((30, 3))
LABELS = np.random.default_rng(1).integers(0, 5, 30)
FEW = torch.from_numpy(POINTS[:6]), torch.from_numpy(LABELS[:6])

CONSTRUCTIONS = {
    "memorize-sqrt": lambda: memorize(POINTS, LABELS),
    "memorize-depth": lambda: memorize(POINTS, LABELS, strategy="depth", depth=40),
    "memorize-bits": lambda: memorize(POINTS, LABELS, strategy="bits"),
    "memorize-wide": lambda: memorize(POINTS, LABELS, strategy="wide"),
    "memorize-real": lambda: memorize(POINTS, POINTS[:, 0] ** 2, label_bits=6),
    "robust-narrow": lambda: memorize_robustly(*FEW, width=5),
    "robust-parallel": lambda: memorize_robustly(*FEW, width=5, norm=1, layout="parallel"),
    "robust-identity": lambda: memorize_robustly(*FEW, norm="inf", projection="identity"),
    "narrow-equal": lambda: narrow(mlp([2, 4, 1], bias="all")),
    "narrow-near": lambda: narrow(mlp([2, 3, 1], bias="all"), exact=False, tolerance=0.1, radius=1.0),
}


def constant(value):
    def null(network, tolerance):
        return ExactNetwork((Layer(network.inputs, (Neuron((), (), value, 0),) * network.outputs),))

    return null


def moved(network, tolerance):
    *before, last = network.layers
    rows = [
        Neuron(row.columns, row.weights, row.bias + int(2 * tolerance * 2**row.shift) + 1, row.shift)
        for row in last.neurons
    ]
    return ExactNetwork((*before, Layer(last.inputs, tuple(rows))))


NULLS = {"zeros": constant(0), "a constant": constant(2), "a last bit": moved}


@pytest.fixture(scope="module", params=CONSTRUCTIONS)
def made(request):
    return CONSTRUCTIONS[request.param]()


def test_its_certificate_holds_and_is_measured_anew_alike(made):
    assert made.outcome is Outcome.CONVERGED
    assert made.certificate.holds, made.certificate.table()
    assert set(made.verify().claims) <= set(made.certificate.claims)
    assert made.source


def test_an_independent_look_at_its_file_agrees(made, tmp_path):
    save(made, tmp_path / "net.safetensors")
    checked = verify(tmp_path / "net.safetensors")
    assert checked.holds, checked.table()
    assert load(tmp_path / "net.safetensors").network == made.network


@pytest.mark.parametrize("null", NULLS)
def test_null_networks_fail(made, null, tmp_path):
    wrong = replace(made, network=NULLS[null](made.network, getattr(made.specification, "tolerance", 0)))
    assert not wrong.verify().holds
    save(wrong, tmp_path / "net.safetensors")
    assert not verify(tmp_path / "net.safetensors").holds
