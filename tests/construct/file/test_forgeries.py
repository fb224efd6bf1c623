"""Files that lie, with a digest that fits: each is refused, or fails a claim."""

import copy
import json
import math
import random
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

import vestige as vg
from vestige.construct.exact.layers import layer
from vestige.construct.exact.network import ExactNetwork
from vestige.construct.file.check import DIGEST
from vestige.construct.file.check_narrow import EVERYWHERE, INTEGERS
from vestige.construct.file.network_format import write_exact
from vestige.construct.file.saved import load, save, verify
from vestige.construct.file.stored import TEXT, digest_of
from vestige.nets.checkpoint import write_tensors
from vestige.nets.fully_connected import mlp
from vestige.nets.weights_file import CheckpointError, read_weights

RIGHT, WRONG = "the claims hold", "refused"


def small(*widths):
    model, draw = mlp(list(widths)).double(), torch.Generator().manual_seed(6)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw, dtype=torch.float64) / 2)
    return model


def points(n, d):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


NEAR = {"exact": False, "radius": 1.0, "tolerance": 0.1, "delta": 0.25}
MAKERS = {
    "memorize": lambda: vg.construct.memorize(points(8, 2), torch.arange(8) % 3),
    "robust": lambda: vg.construct.memorize_robustly(points(3, 2), torch.arange(3) % 2),
    "equal": lambda: vg.construct.narrow(small(1, 3, 1), width="2d+3"),
    "near": lambda: vg.construct.narrow(small(1, 2, 1), **NEAR),
    "masks": lambda: vg.construct.prune_to_target(small(3, 4, 1).float(), tolerance=0.5),
    "2d+2": lambda: vg.construct.narrow(small(1, 3, 1), width="2d+2"),
    "d+2": lambda: vg.construct.narrow(small(1, 2, 1), width="d+2", **NEAR),
    "bounded": lambda: vg.construct.narrow(small(1, 2, 1), weight_bound=8, **NEAR),
    "signs": lambda: vg.construct.robust_two_layer(torch.eye(4) * 3, torch.tensor([0, 1, 0, 1])),
    "transformer": lambda: vg.construct.build_counter(3, 4, dim=3),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("honest")
    for name, make in MAKERS.items():
        save(make(), folder / f"{name}.safetensors")
    return folder


def parts(path):
    weights = read_weights(path)
    document = json.loads(bytes(weights.tensors[TEXT].numpy()))
    return document, {k: v.clone() for k, v in weights.tensors.items() if k != TEXT}, weights.metadata


def forge(out, document, tensors, metadata):
    everything = {**tensors, TEXT: torch.from_numpy(np.frombuffer(json.dumps(document).encode(), np.uint8).copy())}
    write_tensors(out, everything, {**metadata, "sha256": digest_of(everything)})
    return out


def verdict(path, **options):
    """Whether every claim holds; a file that is refused holds none."""
    try:
        found = verify(path, **options)
    except CheckpointError:
        return WRONG
    assert {c.name: c.holds for c in found.claims}[DIGEST], "the digest was made to fit"
    return RIGHT if found.holds else WRONG


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


CASES = {
    "a constant that is right at the one stored input": ("near", near_constant),
    "sizes that hide the error": ("near", near_sizes),
    "no values to compare": ("near", lambda d, t: d["specification"]["fields"].update(values=None)),
    "a bound of its own": ("memorize", lambda d, t: d["claims"][2].__setitem__(1, {"int": "270f"})),
    "a bound of its own, narrow": ("near", lambda d, t: d["claims"][0].__setitem__(1, {"int": "270f"})),
    "a bound of its own, robust": (
        "robust",
        lambda d, t: next(c for c in d["claims"] if c[0] == "width").__setitem__(1, {"int": "270f"}),
    ),
    "numbers of its own": ("robust", lambda d, t: d["numbers"].update(eps={"float": (123.0).hex()})),
    "escape codes": ("memorize", lambda d, t: d["claims"][2].__setitem__(3, "\x1b[31mTheorem: secure\x1b[0m")),
    "a negative radius": ("masks", lambda d, t: stored_float(d, "radius", (-1e6).hex())),
    "an infinite radius": ("masks", lambda d, t: stored_float(d, "radius", "inf")),
    "a radius as text": ("masks", lambda d, t: d["specification"]["fields"].update(radius="1.0")),
    "a tolerance as a list": ("masks", lambda d, t: d["specification"]["fields"].update(tolerance=[{"float": "1"}])),
    "an infinite scale": ("masks", lambda d, t: d["network"]["plan"].update(scale=[math.inf, 1.0])),
    "an infinite width": ("masks", lambda d, t: d["network"]["plan"].update(hidden=[math.inf, 1])),
    "eps as text": ("robust", lambda d, t: d["specification"]["fields"].update(eps="1")),
    "a norm as a list": ("robust", lambda d, t: d["specification"]["fields"].update(norm=[{"int": "2"}])),
    "an outcome of its own": ("memorize", lambda d, t: d.update(outcome="proved")),
}


@pytest.mark.parametrize("case", CASES)
def test_a_forged_file_is_refused(files, tmp_path, case):
    name, change = CASES[case]
    document, tensors, metadata = parts(files / f"{name}.safetensors")
    change(document, tensors)
    assert verdict(forge(tmp_path / "forged.safetensors", document, tensors, metadata)) == WRONG


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


def leaves(value, place=()):
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(item, (*place, key))
    else:
        yield place


def mutated(document, tensors, draw):
    """One random change of one value: a digit, a sign, a step, another type."""
    document, tensors = copy.deepcopy(document), {k: v.clone() for k, v in tensors.items()}
    if tensors and draw.random() < 0.3:
        tensor = tensors[draw.choice(sorted(tensors))]
        flat = tensor.view(-1)
        k = draw.randrange(len(flat)) if len(flat) else 0
        flat[k] = not flat[k] if tensor.dtype == torch.bool else flat[k] + draw.choice([1, -1])
        return document, tensors
    *path, last = draw.choice(list(leaves(document)))
    holder = document
    for key in path:
        holder = holder[key]
    holder[last] = _changed(holder[last], draw)
    return document, tensors


def _changed(value, draw):
    if isinstance(value, bool) or value is None:
        return draw.choice([True, False, None, 1])
    if isinstance(value, str):
        k = draw.randrange(len(value)) if value else 0
        return value[:k] + draw.choice("0123456789abcdef-") + value[k + 1 :]
    return draw.choice([value + 1, value - 1, -value, str(value), math.inf])


def refused_by_load(path):
    """Fields that no claim is about are looked at where the construction is built."""
    try:
        load(path)
    except CheckpointError:
        return True
    return False


def claims_hold_by_brute_force(path):
    """What the file specifies of its network, looked at directly with the maker's own evaluators."""
    made = load(path)
    by_kind = {
        "interpolation": hits_its_targets,
        "balls": keeps_its_labels,
        "sign balls": keeps_its_signs,
        "pruned": is_near_at_the_inputs,
        "transformer": gives_the_answers,
        "narrow": agrees_on_a_grid,
    }
    if made.specification.kind == "narrow" and made.specification.radius is None:
        if not any(claim.name == EVERYWHERE for claim in verify(path).claims):
            return all(claim.holds for claim in made.verify().claims)  # nothing is claimed of other inputs
    return by_kind[made.specification.kind](made.network, made.specification)


def hits_its_targets(network, asked):
    off = [abs(a - Fraction(b)) for a, b in zip(network(asked.points).ravel(), asked.targets.ravel(), strict=True)]
    return max(off) <= asked.tolerance


def keeps_its_labels(network, asked):
    """At 20 points of each ball, exactly; most of them near its edge."""
    draw, eps = np.random.default_rng(0), min(asked.eps, 1e3)
    for point, target in zip(asked.points.astype(float), asked.targets, strict=True):
        ways = draw.standard_normal((20, len(point)))
        ways *= (eps * (1 - 1e-9) / np.linalg.norm(ways, ord=asked.norm, axis=1))[:, None]
        if any(value != Fraction(target[0]) for value in network(point + ways).ravel()):
            return False
    return True


def keeps_its_signs(network, asked):
    draw = torch.Generator().manual_seed(0)
    ways = torch.randn(50, *asked.points.shape, generator=draw, dtype=torch.float64)
    near = torch.from_numpy(asked.points) + asked.eps * (1 - 1e-9) * ways / ways.norm(dim=-1, keepdim=True)
    with torch.no_grad():
        outputs = network.double()(near.reshape(-1, near.shape[-1])).reshape(50, -1)
    return bool((outputs.sign() == torch.from_numpy(asked.signs)).all())


def is_near_at_the_inputs(network, asked):
    with torch.no_grad():
        outputs = network.to_torch().double()(torch.from_numpy(asked.points))
    return float((outputs - torch.from_numpy(asked.values)).norm(dim=1).max()) <= asked.tolerance


def gives_the_answers(network, asked):
    return asked.off(asked.errors(network, torch.float64, None)) == 0


def agrees_on_a_grid(network, asked):
    x = np.linspace(-3, 3, 301)[:, None]
    if asked.radius is not None:
        scaled = x * 2.0**asked.bits
        below = np.ceil(scaled) - scaled
        x = x[((abs(x) <= asked.radius) & ((below == 0) | (below >= float(asked.ramp))))[:, 0]]
    pairs = zip(network(x).ravel(), asked.target(x).ravel(), strict=True)
    return not len(x) or max(abs(a - b) for a, b in pairs) <= asked.tolerance


def count_of_mutants(files, tmp_path, name, times):
    document, tensors, metadata = parts(files / f"{name}.safetensors")
    draw, held = random.Random(f"{name} {times}"), 0
    for _ in range(times):
        changed, moved = mutated(document, tensors, draw)
        path = forge(tmp_path / "mutant.safetensors", changed, moved, metadata)
        if verdict(path) == RIGHT:
            held += 1
            assert refused_by_load(path) or claims_hold_by_brute_force(path), changed
    return held


@pytest.mark.parametrize("name", MAKERS)
def test_a_single_change_is_refused_or_harmless(files, tmp_path, name):
    assert count_of_mutants(files, tmp_path, name, 12) < 12


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
def test_500_single_changes_are_refused_or_harmless(files, tmp_path, name):
    assert count_of_mutants(files, tmp_path, name, 500) < 500


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
