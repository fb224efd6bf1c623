"""A kind that vestige does not know goes through save, load and verify by an entry in a table, and nothing else.

The toy is a transformer in single precision: one layer of attention that must count the zeros in a text. Its network is
no chain of layers, so that it brings a format, a specification and a checker of its own.
"""

import ast
import inspect
import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

import vestige as vg
from vestige.construct.file.table import KINDS
from vestige.core.cite import paper
from vestige.core.claims import Certificate, Claim
from vestige.core.outcome import Outcome

TEXTS = np.array([[0, 1, 2, 0], [3, 3, 3, 3], [0, 0, 0, 0], [2, 1, 0, 3]])
ERROR = "largest error"


class Attention(nn.Module):
    """Tokens -> values, mixed by softmax attention from the last place -> one number."""

    def __init__(self, vocabulary, width):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.query, self.key = (nn.Linear(width, width, bias=False) for _ in range(2))
        self.readout = nn.Linear(width, 1)

    def forward(self, tokens):
        x = self.embedding(tokens)
        scores = (self.key(x) @ self.query(x[:, -1:]).transpose(1, 2)).squeeze(2) / math.sqrt(x.shape[2])
        return self.readout((scores.softmax(1)[:, :, None] * x).sum(1))[:, 0]


@dataclass(frozen=True, eq=False)
class CountsZeros:
    """The output is the number of zeros, at each of these texts, up to a tolerance."""

    texts: np.ndarray
    tolerance: float
    source: str
    kind: ClassVar[str] = "counts zeros"

    def check(self, network, *, on_step=None):
        """Run the module as it is."""
        with torch.no_grad():
            found = network(torch.from_numpy(self.texts)).double()
        off = found - torch.from_numpy((self.texts == 0).sum(1))
        return (Claim(ERROR, self.tolerance, float(off.abs().max()), self.source),)


def write(network):
    return {"vocabulary": network.embedding.num_embeddings, "width": network.query.in_features}, network.state_dict()


def build(content, tensors):
    network = Attention(content["vocabulary"], content["width"]).to(tensors["readout.bias"].dtype)
    network.load_state_dict(dict(tensors))
    return network.requires_grad_(False).eval()


def derive(stored, question):
    """Written without the module, in numpy."""
    texts, weights = stored.fields["texts"], {name: t.double().numpy() for name, t in stored.tensors.items()}
    if not 0 <= texts.min() <= texts.max() < len(weights["embedding.weight"]):
        raise ValueError("a token is not in the vocabulary")
    worst = 0.0
    for text in texts[: question.points]:
        x = weights["embedding.weight"][text]
        scores = (x @ weights["key.weight"].T) @ (weights["query.weight"] @ x[-1]) / math.sqrt(x.shape[1])
        share = np.exp(scores - scores.max())
        output = share / share.sum() @ x @ weights["readout.weight"][0] + weights["readout.bias"][0]
        worst = max(worst, abs(float(output) - text.tolist().count(0)))
    claim = Claim(ERROR, stored.fields["tolerance"], worst, stored.fields["source"])
    return vg.construct.Derived((claim,), {"parameters": sum(w.size for w in weights.values())})


FORMAT = vg.construct.NetworkFormat(write, build)
TOY = {"counts zeros": vg.construct.Kind(specification=CountsZeros, network=FORMAT, check=derive)}


def made(**changes):
    """Scores of 0 make the mean over the text, whose first coordinate is the share of zeros."""
    network = Attention(4, 2).float().requires_grad_(False).eval()
    for parameter in network.parameters():
        parameter.zero_()
    network.embedding.weight[0, 0] = 1.0
    network.readout.weight[0, 0] = TEXTS.shape[1]
    counts = CountsZeros(TEXTS, 1e-6, "by definition")
    size = sum(parameter.numel() for parameter in network.parameters())
    certificate = Certificate((*counts.check(network), Claim("parameters", size, size, "by definition")))
    built = vg.construct.Construction(
        network=network,
        specification=counts,
        certificate=certificate,
        outcome=Outcome.CONVERGED,
        source=(paper("2110.03187"),),
        numbers={"parameters": size},
    )
    return replace(built, **changes)


def test_the_round_trip(tmp_path):
    path, built = tmp_path / "toy.safetensors", made()
    vg.construct.save(built, path, kinds=TOY)
    back = vg.construct.load(path, kinds=TOY)
    assert isinstance(back.network, Attention) and back.to_torch() is back.network and back.verify().holds
    pairs = zip(built.network.parameters(), back.network.parameters(), strict=True)
    assert all(torch.equal(ours, theirs) and theirs.dtype == torch.float32 for ours, theirs in pairs)
    assert np.array_equal(back.specification.texts, TEXTS) and back.specification.tolerance == 1e-6
    checked = vg.construct.verify(path, kinds=TOY)
    assert checked.holds and {claim.name for claim in checked.claims} >= {ERROR, "parameters"}
    assert vg.construct.verify(path, kinds=TOY, points=1).holds


@pytest.mark.parametrize("name", ["embedding.weight", "query.weight", "key.weight", "readout.weight", "readout.bias"])
def test_other_weights_fail_in_memory_and_in_the_file(tmp_path, name):
    wrong, path = made(), tmp_path / "toy.safetensors"
    if name in ("query.weight", "key.weight"):  # attention needs both
        wrong.network.query.weight.fill_(1.0)
        wrong.network.key.weight.fill_(1.0)
    else:
        wrong.network.get_parameter(name).view(-1)[0].add_(1e-5)
    assert not wrong.verify().holds
    vg.construct.save(wrong, path, kinds=TOY)
    failed = {claim.name for claim in vg.construct.verify(path, kinds=TOY).claims if not claim.holds}
    assert ERROR in failed


def test_a_file_without_meaning_is_refused(tmp_path):
    built = made()
    texts = replace(built, specification=replace(built.specification, texts=TEXTS + 4))
    vg.construct.save(texts, tmp_path / "toy.safetensors", kinds=TOY)
    with pytest.raises(vg.nets.CheckpointError, match="a token is not in the vocabulary"):
        vg.construct.verify(tmp_path / "toy.safetensors", kinds=TOY)


def test_who_does_not_know_the_kind_says_so(tmp_path):
    with pytest.raises(ValueError, match="kind 'counts zeros' given; allowed are interpolation"):
        vg.construct.save(made(), tmp_path / "toy.safetensors")
    vg.construct.save(made(), tmp_path / "toy.safetensors", kinds=TOY)
    for read in (vg.construct.load, vg.construct.verify):
        with pytest.raises(vg.nets.CheckpointError, match="specifies 'counts zeros'; known kinds are interpolation"):
            read(tmp_path / "toy.safetensors")


def test_own_kinds_stand_beside_those_of_vestige(tmp_path):
    kinds = {**KINDS, **TOY}
    vg.construct.save(made(), tmp_path / "toy.safetensors", kinds=kinds)
    assert vg.construct.verify(tmp_path / "toy.safetensors", kinds=kinds).holds
    with pytest.raises(TypeError):
        KINDS["counts zeros"] = TOY["counts zeros"]


def test_construction_knows_no_kind():
    """Nothing in its module names one, so that none has to be added there."""
    source = inspect.getsource(inspect.getmodule(vg.construct.Construction))
    imported = {n.module for n in ast.walk(ast.parse(source)) if isinstance(n, ast.ImportFrom)}
    assert not {name for name in imported if name.startswith("vestige.construct")}
