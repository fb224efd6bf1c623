"""Several files that an index lists are one network, or none."""

import json

import pytest
import torch
from safetensors.torch import save_file

from vestige.nets.checkpoint import CheckpointError, load_model, save_model
from vestige.nets.fully_connected import mlp

NAMES = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


@pytest.fixture
def parts(tmp_path):
    """A network in one file and in two, and what its index says."""
    network = mlp([4, 3, 3, 2])
    save_model(network, tmp_path / "one.safetensors")
    held = {"1.weight": 0, "1.bias": 0, "3.weight": 1, "5.weight": 1}
    state = network.state_dict()
    for k, name in enumerate(NAMES):
        save_file({n: state[n] for n, place in held.items() if place == k}, tmp_path / name, {"format": "pt"})
    return tmp_path, {name: NAMES[place] for name, place in held.items()}


def write(folder, places, **more):
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places, **more}))
    return path


def test_an_index_joins_its_files(parts):
    folder, places = parts
    joined, one = load_model(write(folder, places)), load_model(folder / "one.safetensors")
    assert joined.architecture == one.architecture == "mlp:4-3-3-2"
    x = torch.rand(5, 4)
    assert torch.equal(joined.model(x), one.model(x))
    before = joined.sha256
    state = {"3.weight": torch.ones(3, 3), "5.weight": torch.ones(2, 3)}
    save_file(state, folder / NAMES[1])
    assert load_model(write(folder, places)).sha256 != before


def test_one_part_names_the_index(parts):
    folder, _ = parts
    with pytest.raises(CheckpointError, match=r"part 1 of 2 .* give their index"):
        load_model(folder / NAMES[0])


WRONG = {
    "a missing file": (lambda p: p | {"5.weight": "model-00003-of-00002.safetensors"}, "is not there"),
    "another tensor": (lambda p: p | {"7.weight": NAMES[0]}, "disagree: '7.weight' is not in it"),
    "a tensor left out": (lambda p: {n: f for n, f in p.items() if n != "5.weight"}, "'5.weight' is not listed"),
    "another folder": (lambda p: p | {"5.weight": "../" + NAMES[1]}, "beside it are read"),
    "a pickle": (lambda p: p | {"5.weight": "model.bin"}, "a pickle: load the model where it was made"),
    "no names": (lambda p: {}, "names no files"),
    "numbers": (lambda p: {"a": 3}, "names no files"),
    "a list": (lambda p: [1], "names no files"),
    "odd names": (lambda p: {"<b>": NAMES[0]}, "names that no layer"),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_index_that_does_not_fit_is_refused(case, parts):
    change, said = WRONG[case]
    folder, places = parts
    path = write(folder, change(places))
    with pytest.raises(CheckpointError, match=said):
        load_model(path)


def test_size_digest_and_damage(parts):
    folder, places = parts
    path = write(folder, places)
    with pytest.raises(CheckpointError, match="Raise max_bytes"):
        load_model(path, max_bytes=path.stat().st_size + 10)
    with pytest.raises(CheckpointError, match="SHA-256"):
        load_model(path, sha256="0" * 64)
    path.write_text('{"weight_map": ')
    with pytest.raises(CheckpointError, match="not an index"):
        load_model(path)
    save_file({"1.weight": torch.full((3, 4), torch.nan), "1.bias": torch.ones(3)}, folder / NAMES[0])
    with pytest.raises(CheckpointError, match="NaN"):
        load_model(write(folder, places))
