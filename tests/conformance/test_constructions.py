"""Every construction keeps its own certificate, and an independent look at its file agrees; null networks do neither.

A row is a function without arguments that constructs something small. The null networks take the place of its network
and leave the specification as it is: zeros, a constant, and the network with its outputs moved by little more than the
specification allows. A family of networks says once what its nulls are.
"""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import vestige as vg
from vestige.construct.exact.layers import Layer, Neuron
from vestige.construct.exact.network import ExactNetwork
from vestige.construct.file.table import KINDS
from vestige.construct.memorization.memorizer import memorize
from vestige.construct.narrowing.narrower import narrow
from vestige.construct.prune.masked_network import MaskedNetwork
from vestige.construct.prune.to_target import prune_to_target
from vestige.construct.robust.memorizer import memorize_robustly
from vestige.construct.robust.two_layer import robust_two_layer
from vestige.construct.transformer.blocks import Transformer
from vestige.construct.transformer.composition.chain import build_crq_chain_of_thought
from vestige.construct.transformer.composition.deep import build_crq_transformer
from vestige.construct.transformer.composition.recurrent import StackMachine, build_crq_rnn
from vestige.construct.transformer.counting.counter import build_counter
from vestige.construct.transformer.counting.most_frequent import build_most_frequent
from vestige.construct.transformer.graphs.connectivity import build_connectivity, build_cycle_walk
from vestige.construct.transformer.graphs.powers import build_matrix_power, build_triangle_counter
from vestige.construct.transformer.graphs.subgraphs import build_subgraph_counter
from vestige.construct.transformer.graphs.two_cycles import build_two_cycle_detector
from vestige.construct.transformer.rank.nearest import build_nearest_neighbor, build_rank_one_majority
from vestige.construct.transformer.recall.builder import build_factual_recall
from vestige.construct.transformer.recall.facts import random_facts
from vestige.core.outcome import Outcome
from vestige.core.rng import child
from vestige.nets.fully_connected import mlp

POINTS = np.random.default_rng(0).standard_normal((30, 3))
LABELS = np.random.default_rng(1).integers(0, 5, 30)
FEW = torch.from_numpy(POINTS[:6]), torch.from_numpy(LABELS[:6])
TARGET = mlp([4, 5, 3], bias="all", dtype=torch.float32, generator=child(0, "target"))
FAR_APART = torch.randn(6, 40, generator=child(0, "far"), dtype=torch.float64), torch.arange(6) % 2
TO_FIT = torch.randn(8, 4, generator=child(0, "fit"), dtype=torch.float64)

CONSTRUCTIONS: dict[str, Callable[[], Any]] = {
    "memorize-sqrt": lambda: memorize(POINTS, LABELS),
    "memorize-depth": lambda: memorize(POINTS, LABELS, strategy="depth", depth=40),
    "memorize-bits": lambda: memorize(POINTS, LABELS, strategy="bits"),
    "memorize-wide": lambda: memorize(POINTS, LABELS, strategy="wide"),
    "memorize-real": lambda: memorize(POINTS, POINTS[:, 0] ** 2, label_bits=6),
    "robust-narrow": lambda: memorize_robustly(*FEW, width=5),
    "robust-parallel": lambda: memorize_robustly(*FEW, width=5, norm=1, layout="parallel"),
    "robust-identity": lambda: memorize_robustly(*FEW, norm="inf", projection="identity"),
    "robust-two-layer": lambda: robust_two_layer(*FAR_APART),
    "robust-two-layer-float32": lambda: robust_two_layer(FAR_APART[0].float(), FAR_APART[1]),
    "narrow-equal": lambda: narrow(mlp([2, 4, 1], bias="all")),
    "narrow-near": lambda: narrow(mlp([2, 3, 1], bias="all"), exact=False, tolerance=0.1, radius=1.0),
    "prune-weights": lambda: prune_to_target(TARGET, tolerance=0.01),
    "prune-neurons": lambda: prune_to_target(TARGET, TO_FIT, tolerance=0.3, granularity="neurons", rows=400),
    "count-histogram": lambda: build_counter(4, 5, dim=4),
    "count-attend": lambda: build_counter(12, 20, dim=6, inclusive=False),
    "count-most-frequent": lambda: build_most_frequent(8, 12, dim=5),
    "nearest-neighbor": lambda: build_nearest_neighbor(5, 4),
    "farthest-neighbor": lambda: build_nearest_neighbor(5, 4, farthest=True),
    "rank-one-majority": lambda: build_rank_one_majority(5, 7),
    "composition-deep": lambda: build_crq_transformer(7, 2, 4),
    "graph-cube": lambda: build_matrix_power(4, 3),
    "graph-triangles": lambda: build_triangle_counter(5),
    "graph-connectivity": lambda: build_connectivity(6),
    "graph-cycles": lambda: build_cycle_walk(6),
    "graph-two-cycles": lambda: build_two_cycle_detector(6, degree=2, size=80),
    "graph-subgraphs": lambda: build_subgraph_counter(torch.tensor([[0, 1, 0], [1, 0, 1], [0, 1, 0]]), 8),
    "recall-two-hops": lambda: build_factual_recall(random_facts(6, 2), hops=2),
    "recall-deep": lambda: build_factual_recall(random_facts(6, 2), hops=2, method="deep"),
    "recall-chain": lambda: build_factual_recall(random_facts(6, 2), hops=2, method="chain"),
    "recall-disjoint": lambda: build_factual_recall(random_facts(6, 2), disjoint=True),
    "composition-chain": lambda: build_crq_chain_of_thought(7, 2),
    "composition-stack": lambda: build_crq_rnn(7, 2),
}
TARGETS = {"prune-weights": TARGET, "prune-neurons": TARGET}  # what the file does not hold


def exact_constant(value, network, tolerance):
    return ExactNetwork((Layer(network.inputs, (Neuron((), (), value, 0),) * network.outputs),))


def exact_moved(network, tolerance):
    """By the last bit beyond the tolerance."""
    *before, last = network.layers
    rows = [
        Neuron(row.columns, row.weights, row.bias + int(2 * tolerance * 2**row.shift) + 1, row.shift)
        for row in last.neurons
    ]
    return ExactNetwork((*before, Layer(last.inputs, tuple(rows))))


def module_constant(value, network, tolerance):
    null = copy.deepcopy(network)
    hidden, out = (layer for layer in null if isinstance(layer, nn.Linear))
    hidden.weight.zero_()
    hidden.bias.fill_(value)
    out.weight.fill_(value)
    return null


def module_moved(network, tolerance):
    """Every threshold by a part in a million, which float32 still resolves."""
    moved = copy.deepcopy(network)
    moved[1].bias.mul_(1 + 1e-6)
    return moved


def masks_constant(value, network, tolerance):
    return MaskedNetwork(network.plan, {name: torch.full_like(m, value) for name, m in network.masks.items()})


def masks_moved(network, tolerance):
    """The largest quarter of the products of each output: what was kept goes, what was dropped stays."""
    masks = {name: mask.clone() for name, mask in network.masks.items()}
    *_, name = masks
    random = network.random.state_dict()[name].abs()
    for row in range(len(random)):
        columns = random[row].topk(random.shape[1] // 4).indices
        masks[name][row, columns] ^= True
    return MaskedNetwork(network.plan, masks)


def transformer_constant(value, network, tolerance):
    """Whatever the input, and never right."""
    null = copy.deepcopy(network)
    null.readout.weight.zero_()
    null.readout.bias.fill_(value - 1000)
    return null


def machine_constant(value, network, tolerance):
    null = copy.deepcopy(network)
    null.cell[-1].weight.zero_()
    null.cell[-1].bias.fill_(value - 1000)
    return null


def machine_moved(network, tolerance):
    moved = copy.deepcopy(network)
    moved.cell[-1].bias.add_(2 * tolerance)
    return moved


def transformer_moved(network, tolerance):
    """One output by twice the error that is allowed, or that a margin forgives."""
    moved = copy.deepcopy(network)
    moved.readout.bias[0].add_(2 * abs(tolerance) + 1e-9)
    return moved


NULLS = {
    ExactNetwork: {"zeros": partial(exact_constant, 0), "constant": partial(exact_constant, 2), "moved": exact_moved},
    nn.Sequential: {
        "zeros": partial(module_constant, 0.0),
        "constant": partial(module_constant, 2.0),
        "moved": module_moved,
    },
    MaskedNetwork: {
        "zeros": partial(masks_constant, False),
        "constant": partial(masks_constant, True),
        "moved": masks_moved,
    },
    Transformer: {
        "zeros": partial(transformer_constant, 0.0),
        "constant": partial(transformer_constant, 2.0),
        "moved": transformer_moved,
    },
    StackMachine: {
        "zeros": partial(machine_constant, 0.0),
        "constant": partial(machine_constant, 2.0),
        "moved": machine_moved,
    },
}


@pytest.fixture(scope="module", params=CONSTRUCTIONS)
def made(request):
    built = CONSTRUCTIONS[request.param]()
    return built, TARGETS.get(request.param)


def test_every_kind_has_a_row():
    rows = {CONSTRUCTIONS[name]().specification.kind for name in CONSTRUCTIONS}
    assert rows == set(KINDS)


def test_its_certificate_holds_and_is_measured_anew_alike(made):
    built, _ = made
    assert built.outcome is Outcome.CONVERGED
    assert built.certificate.holds, built.certificate.table()
    assert set(built.verify().claims) <= set(built.certificate.claims)
    assert built.source


def test_an_independent_look_at_its_file_agrees(made, tmp_path):
    built, target = made
    vg.construct.save(built, tmp_path / "net.safetensors")
    for options in ({}, {"points": 2}, *([{"target": target}] if target is not None else [])):
        checked = vg.verify(tmp_path / "net.safetensors", **options)
        assert checked.holds, checked.table()
    named = {claim.name for claim in vg.verify(tmp_path / "net.safetensors", target=target).claims}
    assert {claim.name for claim in built.certificate.claims} <= named


def test_it_comes_back_from_its_file(made, tmp_path):
    built, _ = made
    vg.construct.save(built, tmp_path / "net.safetensors")
    back = vg.construct.load(tmp_path / "net.safetensors")
    assert back.certificate == built.certificate and dict(back.numbers) == pytest.approx(built.numbers, nan_ok=True)
    assert back.verify().holds and type(back) in type(built).__mro__
    vg.construct.save(back, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "net.safetensors").read_bytes()
    if not isinstance(built.network, ExactNetwork):
        pairs = zip(built.to_torch().parameters(), back.to_torch().parameters(), strict=True)
        assert all(torch.equal(ours, theirs) and ours.dtype == theirs.dtype for ours, theirs in pairs)
    else:
        assert back.network == built.network


@pytest.mark.parametrize("null", ["zeros", "constant", "moved"])
def test_null_networks_fail(made, null, tmp_path):
    built, _ = made
    wrong = NULLS[type(built.network)][null](built.network, getattr(built.specification, "tolerance", 0))
    wrong = replace(built, network=wrong)
    assert not wrong.verify().holds
    vg.construct.save(wrong, tmp_path / "net.safetensors")
    checked = vg.verify(tmp_path / "net.safetensors")
    failed = {claim.name for claim in checked.claims if not claim.holds}
    assert failed & {claim.name for claim in built.specification.check(built.network)}, "only the digests saw it"
