"""A construction's file: what goes in comes out, hostile ones are refused, and the checker believes nobody."""

import ast
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vestige import construct
from vestige.construct.exact.exact_construction import ExactConstruction
from vestige.construct.exact.interpolation import Interpolation
from vestige.construct.exact.layers import Layer, layer
from vestige.construct.exact.network import ExactNetwork
from vestige.construct.file.check import NOT_DERIVED
from vestige.construct.file.check_points import THEOREM
from vestige.construct.file.saved import load, save, verify
from vestige.construct.file.stored import FORMAT, TEXT, digest_of, read_stored
from vestige.construct.file.table import KINDS
from vestige.core.cite import paper
from vestige.core.claims import Certificate, Claim
from vestige.core.outcome import Outcome
from vestige.nets.checkpoint import write_tensors
from vestige.nets.weights_file import CheckpointError, read_weights

BIG = (1 << 300) + 1


def tent():
    """|x| clipped at 1, with a code word of 301 bits that is added and taken away."""
    first = layer(1, [({0: 1}, 0), ({0: -1}, 0), ({0: 1}, -1), ({0: -1}, -1)])
    second = layer(4, [({0: 1, 1: 1, 2: -1, 3: -1}, BIG)])
    return ExactNetwork((first, second, layer(1, [({0: 1}, -BIG)])))


def construction(network=None, **changes):
    network = network or tent()
    points = np.array([[-2.0], [-0.25], [0.5], [3.0]])
    targets = np.array([[Fraction(1)], [Fraction(1, 4)], [Fraction(1, 2)], [Fraction(1)]], dtype=object)
    specification = Interpolation(points, targets, THEOREM)
    claims = (*specification.check(network), Claim("width", 12, network.width, THEOREM))
    made = ExactConstruction(
        network=network,
        specification=specification,
        certificate=Certificate(claims),
        outcome=Outcome.CONVERGED,
        warnings=("mind",),
        source=(paper("2110.03187"),),
        numbers={"bits": 301},
    )
    return replace(made, **changes)


def test_what_goes_in_comes_out(tmp_path):
    made = construction()
    save(made, tmp_path / "net.safetensors")
    back = load(tmp_path / "net.safetensors")
    assert back.network == made.network
    assert isinstance(back.specification, Interpolation) and isinstance(made.specification, Interpolation)
    assert (back.specification.points == made.specification.points).all()
    assert (back.specification.targets == made.specification.targets).all()
    assert back.certificate == made.certificate
    assert (back.warnings, back.source, dict(back.numbers)) == (made.warnings, made.source, {"bits": 301})
    assert back.verify().holds


def test_equal_constructions_give_equal_bytes(tmp_path):
    for name in ("a", "b"):
        save(construction(), tmp_path / f"{name}.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    save(construction(), tmp_path / "a.safetensors")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors"]  # nothing temporary stays


def test_the_integers_are_legible(tmp_path):
    save(construction(), tmp_path / "net.safetensors")
    text = bytes(read_weights(tmp_path / "net.safetensors").tensors[TEXT].numpy()).decode()
    assert f'[0,"{BIG:x}",0,"1",1,"1",2,"-1",3,"-1"]' in text
    assert text.encode() in (tmp_path / "net.safetensors").read_bytes()


@pytest.mark.parametrize(
    "targets",
    [
        np.array([[1 << 100], [3]], dtype=object),
        np.array([[Fraction(1, 3)], [Fraction(2)]], dtype=object),
        np.array([[1], [2]]),
        np.array([[0.5], [2.0]], dtype=np.float32),
        np.array([[True], [False]]),
    ],
)
def test_targets_of_every_type_survive(tmp_path, targets):
    specification = Interpolation(np.zeros((2, 1)), targets, THEOREM, Fraction(1, 3))
    save(construction(specification=specification), tmp_path / "net.safetensors")
    back = load(tmp_path / "net.safetensors").specification
    assert isinstance(back, Interpolation)
    assert (back.targets == targets).all() and back.tolerance == Fraction(1, 3)


def test_every_claim_is_derived_again(tmp_path):
    save(construction(), tmp_path / "net.safetensors")
    found = verify(tmp_path / "net.safetensors")
    assert found.holds
    names = [claim.name for claim in found.claims]
    assert names[:3] == ["points off target", "largest error", "width"] and names[3] == NOT_DERIVED and len(names) == 6


def rewritten(path, change):
    """Change the file's text and make its digest fit again: the forger's way."""
    weights = read_weights(path)
    document = json.loads(bytes(weights.tensors[TEXT].numpy()))
    change(document)
    store(path, json.dumps(document).encode(), {k: v for k, v in weights.tensors.items() if k != TEXT})


def store(path, text, tensors, metadata=None):
    everything = {**tensors, TEXT: torch.from_numpy(np.frombuffer(text, dtype=np.uint8).copy())}
    write_tensors(path, everything, metadata or {"format": FORMAT, "sha256": digest_of(everything)})


def last_bit(document):
    row = document["network"]["layers"][1][0]
    row[1] = f"{int(row[1], 16) ^ 1:x}"


@pytest.mark.parametrize("honest", [True, False])
def test_the_last_bit_of_one_weight_is_caught(tmp_path, honest):
    path = tmp_path / "net.safetensors"
    save(construction(), path)
    weights = read_weights(path)
    rewritten(path, last_bit)
    if not honest:  # the old digest on the new content
        document = bytes(read_weights(path).tensors[TEXT].numpy())
        store(path, document, {k: v for k, v in weights.tensors.items() if k != TEXT}, weights.metadata)
        with pytest.raises(CheckpointError, match="changed after it was written"):
            load(path)
    failed = {claim.name for claim in verify(path).claims if not claim.holds}
    assert {"points off target", "largest error"} <= failed
    assert ("digests that differ" in failed) == (not honest)


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        (lambda d: d["claims"][2].__setitem__(1, {"int": "3"}), "claims that the file states otherwise"),
        (lambda d: d["claims"][2].__setitem__(2, {"int": "2"}), "claims that the file states otherwise"),
        (lambda d: d["claims"][2].__setitem__(0, "beauty"), "beauty"),
        (lambda d: d["claims"].clear(), None),
    ],
)
def test_false_claims_fail_and_left_out_ones_are_made(tmp_path, change, failed):
    path = tmp_path / "net.safetensors"
    save(construction(), path)
    rewritten(path, change)
    found = verify(path)
    assert found.holds == (failed is None)
    assert failed is None or failed in {c.name for c in found.claims if not c.holds}
    assert {"points off target", "largest error"} <= {c.name for c in found.claims}


def test_networks_that_do_nothing_fail(tmp_path):
    for k, null in enumerate([layer(1, [({}, 0)]), layer(1, [({0: 1}, 0)])]):
        save(construction(ExactNetwork((null,))), tmp_path / f"{k}.safetensors")
        assert not verify(tmp_path / f"{k}.safetensors").holds


def test_a_sample_of_the_points_says_so(tmp_path):
    save(construction(), tmp_path / "net.safetensors")
    found = verify(tmp_path / "net.safetensors", points=2)
    assert found.holds and found.claims[0].source.endswith("2 of 4 points")
    with pytest.raises(ValueError, match="at least 1"):
        verify(tmp_path / "net.safetensors", points=0)


def imported(module, known=frozenset()):
    """Modules of this room that a module needs, directly or not, beside those known."""
    here = Path(construct.__file__).parent
    tree = ast.parse((here / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            package = (here.parent.parent / node.module.replace(".", "/")).is_dir()
            names |= {f"{node.module}.{alias.name}" for alias in node.names} if package else {node.module}
    room = {name.removeprefix("vestige.construct.") for name in names if name.startswith("vestige.construct.")}
    for name in room - known:
        room |= imported(name, known | room)
    return room


READERS = {
    "stored",
    "check",
    "recompute",
    "symbolic",
    "narrow_reading",
    "ball_blueprint",
    "check_points",
    "check_balls",
    "check_transformer",
    "transformer_answers",
    "graph_answers",
}


@pytest.mark.parametrize("kind", KINDS)
def test_no_checker_shares_code_with_what_it_checks(kind):
    """A checker reads files and counts; it needs nothing of the room but what files are read with."""
    module = KINDS[kind].check.__module__.removeprefix("vestige.construct.")
    used = imported(module)
    assert {"file.stored", "file.check"} <= used
    assert used <= {f"file.{name}" for name in READERS} | {"exact.layers"}


def test_the_walk_over_imports_finds_what_is_there():
    assert {"exact.evaluate", "robust.balls", "prune.masked_network"} <= imported("file.saved")
    assert {KINDS[kind].check.__module__.rpartition(".")[2] for kind in KINDS} >= {"check_masks", "check_signs"}


def valid_document():
    return {
        "network": {"inputs": 1, "layers": [[[0, "0", 0, "1"]]]},
        "specification": {
            "kind": "interpolation",
            "fields": {
                "points": {"objects": [{"int": "2"}], "shape": [1, 1]},
                "targets": {"objects": [{"int": "2"}], "shape": [1, 1]},
                "source": THEOREM,
                "tolerance": {"fraction": "0/1"},
            },
        },
        "claims": [],
        "outcome": "converged",
        "warnings": [],
        "source": [],
        "numbers": {},
    }


HOSTILE = {
    "no layers": lambda d: d["network"].update(layers=[]),
    "empty layer": lambda d: d["network"].update(layers=[[]]),
    "column outside": lambda d: d["network"].update(layers=[[[0, "0", 1, "1"]]]),
    "negative column": lambda d: d["network"].update(layers=[[[0, "0", -1, "1"]]]),
    "column twice": lambda d: d["network"].update(layers=[[[0, "0", 0, "1", 0, "1"]]]),
    "odd row": lambda d: d["network"].update(layers=[[[0, "0", 0]]]),
    "giant shift": lambda d: d["network"].update(layers=[[[10**9, "0"]]]),
    "boolean shift": lambda d: d["network"].update(layers=[[[True, "0"]]]),
    "number for text": lambda d: d["network"].update(layers=[[[0, 0]]]),
    "no hexadecimal": lambda d: d["network"].update(layers=[[[0, "__import__('os')"]]]),
    "part missing": lambda d: d.pop("claims"),
    "part added": lambda d: d.update(code="print()"),
    "claim of three": lambda d: d.update(claims=[["a", {"int": "1"}, {"int": "1"}]]),
    "text as a bound": lambda d: d.update(claims=[["a", "1", {"int": "1"}, ""]]),
    "unknown value": lambda d: d["specification"].update(fields={"a": {"call": "f"}}),
    "missing array": lambda d: d["specification"].update(fields={"a": {"array": "nothing"}}),
    "zero below": lambda d: d["specification"].update(fields={"a": {"fraction": "1/0"}}),
    "negative below": lambda d: d["specification"].update(fields={"a": {"fraction": "1/-2"}}),
    "other shape": lambda d: d["specification"].update(fields={"a": {"objects": [], "shape": [3]}}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_refused(tmp_path, name):
    document = valid_document()
    store(tmp_path / "net.safetensors", json.dumps(document).encode(), {})
    assert verify(tmp_path / "net.safetensors").holds and load(tmp_path / "net.safetensors").verify().holds
    HOSTILE[name](document)
    store(tmp_path / "net.safetensors", json.dumps(document).encode(), {})
    for read in (load, verify):
        with pytest.raises(CheckpointError):
            read(tmp_path / "net.safetensors")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"network": 1, "network": 2}',
        b"\xff\xfe",
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
)
def test_text_that_is_no_document_is_refused(tmp_path, text):
    store(tmp_path / "net.safetensors", text or b" ", {})
    with pytest.raises(CheckpointError):
        read_stored(tmp_path / "net.safetensors")


def test_other_safetensors_are_no_constructions(tmp_path):
    write_tensors(tmp_path / "model.safetensors", {"weight": torch.ones(2)}, {})
    with pytest.raises(CheckpointError, match="holds no construction"):
        verify(tmp_path / "model.safetensors")


def test_an_unknown_kind_and_missing_fields_are_refused(tmp_path):
    document = valid_document()
    document["specification"]["fields"].clear()
    store(tmp_path / "net.safetensors", json.dumps(document).encode(), {})
    with pytest.raises(CheckpointError, match="not one of 'interpolation'"):
        verify(tmp_path / "net.safetensors")
    with pytest.raises(CheckpointError, match="points"):
        load(tmp_path / "net.safetensors")
    document["specification"]["kind"] = "magic"
    store(tmp_path / "net.safetensors", json.dumps(document).encode(), {})
    for read in (verify, load):
        with pytest.raises(CheckpointError, match="'magic'"):
            read(tmp_path / "net.safetensors")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_ends_in_a_named_error_or_a_failed_claim(tmp_path, data):
    path = tmp_path / "net.safetensors"
    save(construction(), path)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(bytes(content))
    try:
        found = verify(path)
    except CheckpointError:
        return
    assert not found.holds


def test_the_layers_of_a_specification_come_back_as_a_network(tmp_path):
    made = construction()
    object.__setattr__(made.specification, "target", tent())  # as a specification of another kind would have it
    save(made, tmp_path / "net.safetensors")
    stored = read_stored(tmp_path / "net.safetensors").fields["target"]
    assert all(isinstance(item, Layer) for item in stored) and stored == tent().layers
