"""A kind that vestige does not know goes through save, load and verify by an entry in a table, and nothing else.

The toy: a plain `nn.Linear` without activation that must add its inputs up. Its network is no chain in the grammar of
architectures, so that it brings a format, a specification and a checker of its own, as a transformer will.
"""

import ast
import inspect
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch import nn

import vestige as vg
from vestige.construct.file.table import KINDS
from vestige.core.cite import paper
from vestige.core.claims import Certificate, Claim
from vestige.core.outcome import Outcome


@dataclass(frozen=True, eq=False)
class Adds:
    """The output is the sum of the inputs, anywhere: every weight is one and the bias is zero."""

    inputs: int
    source: str
    kind: ClassVar[str] = "adds"

    def check(self, network, *, on_step=None):
        """How far the weights are off."""
        off = max(float((network.weight - 1).abs().max()), float(network.bias.abs().max()))
        return (Claim("largest error of a weight", 0, off, self.source),)


def write(network):
    return {"inputs": network.in_features}, network.state_dict()


def build(content, tensors):
    size = content["inputs"]
    if tensors["weight"].shape != (1, size) or tensors["bias"].shape != (1,):
        raise ValueError(f"weights of shape {tuple(tensors['weight'].shape)} for {size} inputs")
    network = nn.Linear(size, 1, dtype=tensors["weight"].dtype)
    network.load_state_dict(dict(tensors))
    return network.requires_grad_(False)


def derive(stored, question):
    """Written without the specification: the output at the unit vectors and at zero."""
    weight, bias = stored.tensors["weight"], stored.tensors["bias"]
    if weight.shape != (1, stored.fields["inputs"]):
        raise ValueError("the weights do not fit the specification")
    off = max(abs(float(value) - 1) for value in weight[0])
    claim = Claim("largest error of a weight", 0, max(off, abs(float(bias[0]))), stored.fields["source"])
    return vg.construct.Derived((claim,), {"width": weight.shape[1]})


TOY = {"adds": vg.construct.Kind(specification=Adds, network=vg.construct.NetworkFormat(write, build), check=derive)}


def made(**changes):
    network = nn.Linear(3, 1, dtype=torch.float64).requires_grad_(False)
    network.weight.fill_(1.0)
    network.bias.zero_()
    adds = Adds(3, "by definition")
    built = vg.construct.Construction(
        network=network,
        specification=adds,
        certificate=Certificate((*adds.check(network), Claim("width", 3, 3, "by definition"))),
        outcome=Outcome.CONVERGED,
        source=(paper("2110.03187"),),
        numbers={"inputs": 3},
    )
    return replace(built, **changes)


def test_the_round_trip(tmp_path):
    path, built = tmp_path / "toy.safetensors", made()
    vg.construct.save(built, path, kinds=TOY)
    back = vg.construct.load(path, kinds=TOY)
    assert isinstance(back.specification, Adds) and back.to_torch() is back.network
    assert torch.equal(back.network.weight, built.network.weight) and back.verify().holds
    checked = vg.construct.verify(path, kinds=TOY)
    assert checked.holds and {claim.name for claim in checked.claims} >= {"largest error of a weight", "width"}


@pytest.mark.parametrize("name", ["weight", "bias"])
def test_a_last_bit_fails_in_memory_and_in_the_file(tmp_path, name):
    wrong = made()
    getattr(wrong.network, name).view(-1)[0].add_(2.0**-52)
    assert not wrong.verify().holds
    vg.construct.save(wrong, tmp_path / "toy.safetensors", kinds=TOY)
    failed = [c.name for c in vg.construct.verify(tmp_path / "toy.safetensors", kinds=TOY).claims if not c.holds]
    assert "largest error of a weight" in failed


def test_who_does_not_know_the_kind_says_so(tmp_path):
    with pytest.raises(ValueError, match="kind 'adds' given; allowed are interpolation"):
        vg.construct.save(made(), tmp_path / "toy.safetensors")
    vg.construct.save(made(), tmp_path / "toy.safetensors", kinds=TOY)
    for read in (vg.construct.load, vg.construct.verify):
        with pytest.raises(vg.nets.CheckpointError, match="specifies 'adds'; known kinds are interpolation"):
            read(tmp_path / "toy.safetensors")


def test_own_kinds_stand_beside_those_of_vestige(tmp_path):
    kinds = {**KINDS, **TOY}
    vg.construct.save(made(), tmp_path / "toy.safetensors", kinds=kinds)
    assert vg.construct.verify(tmp_path / "toy.safetensors", kinds=kinds).holds
    with pytest.raises(TypeError):
        KINDS["adds"] = TOY["adds"]


def test_construction_knows_no_kind():
    """Nothing in its module names one, so that none has to be added there."""
    source = inspect.getsource(inspect.getmodule(vg.construct.Construction))
    imported = {n.module for n in ast.walk(ast.parse(source)) if isinstance(n, ast.ImportFrom)}
    assert not {name for name in imported if name.startswith("vestige.construct")}
