"""Files that lie, with a digest that fits: each is refused, or fails a claim."""

import math
from fractions import Fraction

import pytest
import torch
from forging import MAKERS, RIGHT, WRONG, forge, parts, single_changes, small, verdict
from torch import nn

from vestige.construct.exact.layers import layer
from vestige.construct.exact.network import ExactNetwork
from vestige.construct.file.check import DIGEST
from vestige.construct.file.check_narrow import INTEGERS
from vestige.construct.file.network_format import write_exact
from vestige.construct.file.saved import save, verify
from vestige.nets.weights_file import CheckpointError


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("honest")
    for name, make in MAKERS.items():
        save(make(), folder / f"{name}.safetensors")
    return folder


@pytest.mark.parametrize("name", MAKERS)
def test_honest_files_hold(files, name):
    assert verdict(files / f"{name}.safetensors") == RIGHT


def near_constant(document, tensors):
    """One stored input, and a network that gives the target's value there and everywhere."""
    fields = document["specification"]["fields"]
    over, under = tensors[fields["values"]["array"]][0].item().as_integer_ratio()
    document["network"] = {"inputs": 1, "layers": [[[0, "0"]], [[under.bit_length() - 1, f"{over:x}"]]]}
    for part in ("points", "sizes", "values"):
        place = fields[part]["array"]
        tensors[place] = tensors[place][:1].contiguous()
    document["claims"], document["numbers"] = [], {}


def near_sizes(document, tensors):
    tensors[document["specification"]["fields"]["sizes"]["array"]].fill_(1e300)
    document["network"]["layers"][-1][0][1] = "1234567"
    document["claims"] = []


def stored_float(document, part, value):
    document["specification"]["fields"][part] = {"float": value}


STATED = "claims that the file states otherwise"
CASES = {
    "a constant that is right at the one stored input": ("near", near_constant, INTEGERS),
    "sizes that hide the error": ("near", near_sizes, "sizes are 1 on a box"),
    "garbage in a bias": (
        "near",
        lambda d, t: d["network"]["layers"][-1][0].__setitem__(1, "1234567"),
        "error on safe inputs, proved",
    ),
    "no values to compare": ("near", lambda d, t: d["specification"]["fields"].update(values=None), "another type"),
    "a bound of its own": ("memorize", lambda d, t: d["claims"][2].__setitem__(1, {"int": "270f"}), STATED),
    "a bound of its own, narrow": ("near", lambda d, t: d["claims"][0].__setitem__(1, {"int": "270f"}), STATED),
    "a bound of its own, robust": (
        "robust",
        lambda d, t: next(c for c in d["claims"] if c[0] == "width").__setitem__(1, {"int": "270f"}),
        STATED,
    ),
    "numbers of its own": ("robust", lambda d, t: d["numbers"].update(eps={"float": (123.0).hex()}), STATED),
    "escape codes": (
        "memorize",
        lambda d, t: d["claims"][2].__setitem__(3, "\x1b[31mTheorem: secure\x1b[0m"),
        "text without control characters",
    ),
    "a negative radius": ("masks", lambda d, t: stored_float(d, "radius", (-1e6).hex()), "radius are positive"),
    "an infinite radius": ("masks", lambda d, t: stored_float(d, "radius", "inf"), "radius are positive and finite"),
    "a radius as text": ("masks", lambda d, t: d["specification"]["fields"].update(radius="1.0"), "another type"),
    "a tolerance as a list": (
        "masks",
        lambda d, t: d["specification"]["fields"].update(tolerance=[{"float": "1"}]),
        "another type",
    ),
    "an infinite scale": ("masks", lambda d, t: d["network"]["plan"].update(scale=[math.inf, 1.0]), "scales are"),
    "an infinite width": ("masks", lambda d, t: d["network"]["plan"].update(hidden=[math.inf, 1]), "positive integers"),
    "eps as text": ("robust", lambda d, t: d["specification"]["fields"].update(eps="1"), "eps 1"),
    "a norm as a list": ("robust", lambda d, t: d["specification"]["fields"].update(norm=[{"int": "2"}]), "norm"),
    "an outcome of its own": ("memorize", lambda d, t: d.update(outcome="proved"), "'proved' given for Outcome"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_forged_file_is_refused_for_its_own_reason(files, tmp_path, case):
    name, change, reason = CASES[case]
    document, tensors, metadata = parts(files / f"{name}.safetensors")
    change(document, tensors)
    path = forge(tmp_path / "forged.safetensors", document, tensors, metadata)
    try:
        found = verify(path)
    except CheckpointError as error:
        assert reason in str(error)
    else:
        assert reason in [claim.name for claim in found.claims if not claim.holds]
        assert {claim.name: claim.holds for claim in found.claims}[DIGEST]


def test_a_theorem_that_no_construction_has_is_not_repeated(files, tmp_path):
    document, tensors, metadata = parts(files / "memorize.safetensors")
    document["specification"]["fields"].update(source="Theorem: secure")
    found = verify(forge(tmp_path / "forged.safetensors", document, tensors, metadata))
    said = {claim.name: claim.source for claim in found.claims}
    assert said["largest error"].startswith("stated by the file; ") and "secure" not in " ".join(said.values())


def test_masks_of_another_network_fail_whatever_the_radius(files, tmp_path):
    document, tensors, metadata = parts(files / "masks.safetensors")
    other = small(3, 4, 1).float()
    with torch.no_grad():
        for module in other.modules():
            if isinstance(module, nn.Linear):
                module.weight.mul_(-1.5)
    honest = forge(tmp_path / "same.safetensors", document, tensors, metadata)
    assert verdict(honest, target=small(3, 4, 1).float()) == RIGHT
    assert verdict(honest, target=other) == WRONG
    stored_float(document, "radius", (-1e6).hex())
    assert verdict(forge(tmp_path / "negative.safetensors", document, tensors, metadata), target=other) == WRONG


def test_a_bound_that_nothing_derives_is_said_to_be_the_files(files, tmp_path):
    document, tensors, metadata = parts(files / "memorize.safetensors")
    document["claims"].append(
        ["nonzeros", {"int": "ffff"}, next(c for c in document["claims"] if c[0] == "nonzeros")[2], "Theorem 9"]
    )
    found = verify(forge(tmp_path / "forged.safetensors", document, tensors, metadata))
    assert "Theorem 9" not in found.table() and "stated by the file" in found.table()


def test_shifts_do_not_ask_for_numbers_without_end(files, tmp_path):
    """Six characters a row lengthen every number by 2^17 bits."""
    document, tensors, metadata = parts(files / "memorize.safetensors")
    wide = [[1 << 17, "0", *(part for c in range(90) for part in (c, "1"))]] * 90
    first = [[1 << 17, "0", 0, "1"]] * 90
    document["network"] = {"inputs": 2, "layers": [first, wide, wide, wide, [wide[0]]]}
    with pytest.raises(CheckpointError, match="its file's size allows"):
        verify(forge(tmp_path / "forged.safetensors", document, tensors, metadata))


def test_a_small_file_does_not_ask_for_much_work(files, tmp_path):
    document, tensors, metadata = parts(files / "masks.safetensors")
    document["network"]["plan"].update(hidden=[10**7, 10**6])
    with pytest.raises(CheckpointError, match="at most"):
        verify(forge(tmp_path / "large.safetensors", document, tensors, metadata))


@pytest.mark.parametrize("name", MAKERS)
def test_a_single_change_is_refused_or_harmless(files, tmp_path, name):
    found, lies = single_changes(files / f"{name}.safetensors", tmp_path / "mutant.safetensors", name, 12)
    assert found["refused by verify"] > 0 and not lies


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
def test_500_single_changes_are_refused_or_harmless(files, tmp_path, name):
    found, lies = single_changes(files / f"{name}.safetensors", tmp_path / "mutant.safetensors", name, 500)
    assert found["refused by verify"] > 0 and not lies


def test_a_network_that_memorizes_the_stored_inputs_is_not_near(files, tmp_path):
    document, tensors, metadata = parts(files / "near.safetensors")
    fields = document["specification"]["fields"]
    place = tensors[fields["points"]["array"]]
    values = [Fraction(v) for v in tensors[fields["values"]["array"]][:, 0].tolist()]
    order = place[:, 0].argsort().tolist()
    xs, ys = [Fraction(place[k, 0].item()) for k in order], [values[k] for k in order]
    steps, rows, weights, slope = zip(xs, ys, xs[1:], ys[1:], strict=False), [], {}, Fraction(0)
    for k, (x0, y0, x1, y1) in enumerate(steps):
        new = Fraction(round((y1 - y0) / (x1 - x0) * 2**60), 2**60)
        rows.append(({0: 1}, -x0))
        weights[k], slope = new - slope, new
    document["network"] = write_exact(ExactNetwork((layer(1, rows), layer(len(rows), [(weights, ys[0])]))))[0]
    document["claims"], document["numbers"] = [], {}
    path = forge(tmp_path / "forged.safetensors", document, tensors, metadata)
    failed = {c.name for c in verify(path).claims if not c.holds}
    assert {INTEGERS, "error on safe inputs, proved"} <= failed and "stored inputs where it is off" not in failed
