"""The checker of balls: it reproduces every certificate, and no change of the file gets past it."""

import json
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vestige.construct.file.ball_blueprint import layers_that_differ, read_blueprint
from vestige.construct.file.check_balls import DIFFER
from vestige.construct.file.saved import load, save, verify
from vestige.construct.file.stored import TEXT, digest_of
from vestige.construct.robust.memorizer import memorize_robustly
from vestige.nets.checkpoint import write_tensors
from vestige.nets.weights_file import read_weights

KINDS = [
    {"width": 5},
    {"width": 5, "layout": "parallel"},
    {"width": 5, "norm": 1},
    {"width": 5, "norm": "inf"},
    {"width": 5, "norm": 3},
    {"projection": "identity"},
    {"projection": "identity", "norm": 1},
    {"projection": "identity", "norm": 1, "layout": "parallel"},
    {"projection": "identity", "norm": "inf"},
    {"projection": "identity", "norm": "inf", "layout": "parallel"},
]


def gaussian(n=4, d=3):
    draw = torch.Generator().manual_seed(0)
    return torch.randn(n, d, generator=draw), torch.arange(n) % 2


@pytest.fixture(scope="module", params=KINDS, ids=str)
def made(request):
    with torch.no_grad():
        x, y = gaussian()
        return memorize_robustly(x.double(), y, **request.param)


def failed(path):
    return {claim.name for claim in verify(path).claims if not claim.holds}


def forge(path, change):
    """Change the file and make its digest fit again."""
    weights = read_weights(path)
    document = json.loads(bytes(weights.tensors[TEXT].numpy()))
    tensors = {name: t for name, t in weights.tensors.items() if name != TEXT}
    change(document, tensors)
    tensors[TEXT] = torch.from_numpy(np.frombuffer(json.dumps(document).encode(), dtype=np.uint8).copy())
    write_tensors(path, tensors, {**weights.metadata, "sha256": digest_of(tensors)})


def test_every_certificate_is_reproduced(made, tmp_path):
    save(made, tmp_path / "net.safetensors")
    found = verify(tmp_path / "net.safetensors")
    assert found.holds, found.table()
    again = {claim.name: claim for claim in found.claims}
    for claim in made.certificate.claims:
        assert again[claim.name].measured == pytest.approx(claim.measured, rel=1e-9)
        assert again[claim.name].bound == pytest.approx(claim.bound, rel=1e-6)
    back = load(tmp_path / "net.safetensors")
    assert back.network == made.network and dict(back.numbers) == made.numbers and back.verify().holds


def test_a_radius_two_percent_beyond_the_largest_fails(made, tmp_path):
    path = tmp_path / "net.safetensors"
    save(made, path)

    def widen(document, tensors):
        eps = 1.02 * made.numbers["eps_max"]
        document["specification"]["fields"]["eps"] = {"float": eps.hex()}

    forge(path, widen)
    assert {"radius", "limit + 1 / slope"} <= failed(path)


def test_left_out_claims_are_made_all_the_same(made, tmp_path):
    path = tmp_path / "net.safetensors"
    save(made, path)
    forge(path, lambda document, tensors: document["claims"].clear())
    names = {claim.name for claim in verify(path).claims}
    assert {"points off target", "radius", "limit + 1 / slope", DIFFER} <= names and not failed(path)


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_last_bit_of_any_weight_is_caught_even_with_a_new_digest(made, tmp_path, data):
    path = tmp_path / "net.safetensors"
    save(made, path)
    depth = data.draw(st.integers(0, made.network.depth - 1))
    row = data.draw(st.integers(0, made.network.layers[depth].outputs - 1))
    place = data.draw(st.integers(0, len(made.network.layers[depth].neurons[row].weights)))

    def change(document, tensors):
        stored = document["network"]["layers"][depth][row]
        stored[1 + 2 * place] = f"{int(stored[1 + 2 * place], 16) ^ 1:x}"

    forge(path, change)
    assert failed(path)


@pytest.mark.parametrize("tensor", ["specification.points", "specification.targets"])
def test_a_moved_point_or_another_label_is_caught(made, tmp_path, tensor):
    path = tmp_path / "net.safetensors"
    save(made, path)
    forge(path, lambda document, tensors: tensors[tensor][0, 0].add_(1))
    assert failed(path)


@pytest.mark.parametrize("layers", [[[[0, "0"]]], [[[0, "0", 0, "1"]], [[0, "0", 0, "1"]]]])
def test_networks_that_do_nothing_fail(made, tmp_path, layers):
    path = tmp_path / "net.safetensors"
    save(made, path)
    forge(path, lambda document, tensors: document["network"].update(layers=layers))
    assert "points off target" in failed(path)


def test_a_constant_is_checked_too(tmp_path):
    made = memorize_robustly(torch.randn(3, 2), torch.full((3,), 4))
    save(made, tmp_path / "net.safetensors")
    found = verify(tmp_path / "net.safetensors")
    assert found.holds and math.isinf(next(c.measured for c in found.claims if c.name == "radius"))
    forge(tmp_path / "net.safetensors", lambda document, tensors: tensors["specification.targets"][0, 0].add_(1))
    assert {"points off target", "radius"} <= failed(tmp_path / "net.safetensors")


def test_a_sample_of_the_points_still_proves_all_balls(made, tmp_path):
    save(made, tmp_path / "net.safetensors")
    found = verify(tmp_path / "net.safetensors", points=2)
    assert found.holds and "2 of 4" in found.claims[0].source


def test_the_numbers_are_read_off_the_layers(made):
    n, narrow = made.numbers["points"], made.network.width < 9
    for norm in (1.0, 2.0, math.inf):
        plan = read_blueprint(made.network.layers, n, narrow, norm)
        if plan is not None and layers_that_differ(made.network.layers, plan) == 0:
            break
    else:
        pytest.fail("no reading fits")
    assert plan.limit == Fraction(made.numbers["limit"]) and plan.knots == made.numbers["knots"]
    assert plan.shift == Fraction(made.numbers["shift"]) and plan.slope == Fraction(made.numbers["slope"])


@pytest.mark.parametrize(
    "change",
    [
        lambda d, t: d["specification"]["fields"].pop("norm"),
        lambda d, t: d["specification"]["fields"].update(eps="1"),
        lambda d, t: d["specification"]["fields"].update(eps={"float": "nan"}),
        lambda d, t: d["specification"]["fields"].update(eps={"int": "-1"}),
        lambda d, t: d["specification"]["fields"].update(norm={"float": "0x0p+0"}),
        lambda d, t: t.update({"specification.targets": t["specification.targets"][:1]}),
        lambda d, t: t.update({"specification.points": t["specification.points"][:, :1].contiguous()}),
        lambda d, t: t.update({"specification.points": t["specification.points"][:0]}),
        lambda d, t: t["specification.points"].zero_(),
    ],
)
def test_specifications_that_are_none_are_refused(tmp_path, change):
    x, y = gaussian()
    save(memorize_robustly(x, y, width=4), tmp_path / "net.safetensors")
    forge(tmp_path / "net.safetensors", change)
    with pytest.raises(ValueError, match="not one of 'balls'"):
        verify(tmp_path / "net.safetensors")
