"""Files made to harm: whatever the bytes, loading runs nothing and ends in a CheckpointError that names the fault."""

import json
import pickle
import struct
from contextlib import suppress

import pytest
import torch
from corpus import FILES, WEIGHTS, Touch, entry, raw
from counting import counted
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file

from vestige.nets.checkpoint import CheckpointError, convert, load_model, save_model
from vestige.nets.fully_connected import mlp


@pytest.mark.parametrize(
    ("how", "name"),
    [("torch", "m.pt"), ("pickle", "m.safetensors"), ("protocol0", "m.pt"), ("legacy", "m.pth"), ("nested", "m.ckpt")],
)
def test_a_pickle_that_touches_a_file_never_runs(tmp_path, how, name):
    path, touched = tmp_path / name, tmp_path / "touched"
    bomb = {"1.weight": torch.ones(2, 3), "x": Touch(touched)}
    if how == "torch":
        torch.save(bomb, path)
    elif how == "legacy":
        torch.save(bomb, path, _use_new_zipfile_serialization=False)
    elif how == "nested":
        torch.save({"state_dict": bomb}, path)
    else:
        path.write_bytes(pickle.dumps(Touch(touched), protocol=0 if how == "protocol0" else None))
    for trust in (False, True) if how in ("torch", "nested") else (False,):  # a process each, as below
        with pytest.raises(CheckpointError):
            load_model(path, trust_pickle=trust)
    with pytest.raises(CheckpointError):
        convert(path, tmp_path / "out.safetensors")
    assert not touched.exists() and not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("case", FILES)
def test_hostile_file_is_named(tmp_path, case):
    data, said = FILES[case]
    path = tmp_path / "m.safetensors"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=said):
        load_model(path)


def test_size_limit_folder_and_missing_file(tmp_path):
    path = tmp_path / "m.safetensors"
    save_model(mlp([3, 2, 1]), path)
    with pytest.raises(CheckpointError, match="max_bytes"):
        load_model(path, max_bytes=100)
    with pytest.raises(CheckpointError, match="a folder"):
        load_model(tmp_path)
    with pytest.raises(CheckpointError, match="not there"):
        load_model(tmp_path / "none.safetensors")


def test_a_header_that_looks_like_another_format_is_still_read(tmp_path):
    """A header of 60 bytes begins with '<', one of 128 with a pickle's first byte."""
    for length in (60, 128):
        text = json.dumps({"a.weight": entry(0, 16, [2, 2])}).encode()
        path = tmp_path / f"{length}.safetensors"
        path.write_bytes(raw(text.ljust(length), struct.pack("<4f", 1, 2, 3, 4)))
        assert load_model(path).architecture == "mlp:2-2:bias=none"


@pytest.mark.parametrize(
    ("metadata", "attribute"),
    [
        ({"input_shape": "[" * 5000}, "input_shape"),
        ({"input_shape": "[0]"}, "input_shape"),
        ({"input_shape": '["a"]'}, "input_shape"),
        ({"input_shape": "[true]"}, "input_shape"),
        ({"space": '{"low": NaN, "high": 1}'}, "space"),
        ({"space": "[]"}, "space"),
        ({"space": '{"low": 1}'}, "space"),
    ],
)
def test_hostile_metadata_is_named(tmp_path, metadata, attribute):
    (tmp_path / "m.safetensors").write_bytes(save(WEIGHTS, metadata))
    loaded = load_model(tmp_path / "m.safetensors", architecture="mlp:3-2-1")
    with pytest.raises(CheckpointError, match=attribute):
        getattr(loaded, attribute)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200))
def test_random_bytes_end_in_a_named_error(tmp_path, data):
    path = tmp_path / "m.safetensors"
    path.write_bytes(data)
    with pytest.raises(CheckpointError):
        load_model(path)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 300), value=st.integers(0, 255), cut=st.integers(0, 40))
def test_one_changed_byte_loads_finite_weights_or_ends_in_a_named_error(tmp_path, position, value, cut):
    data = bytearray(save(WEIGHTS, {"architecture": "mlp:3-2-1"}))
    data[position % len(data)] = value
    path = tmp_path / "m.safetensors"
    path.write_bytes(bytes(data[: len(data) - cut]))
    try:
        loaded = load_model(path)
    except CheckpointError:
        return
    assert all(bool(torch.isfinite(p).all()) for p in loaded.model.parameters())


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    header=st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda s: (
            st.lists(s, max_size=3)
            | st.dictionaries(
                st.sampled_from(["__metadata__", "dtype", "shape", "data_offsets", "a.weight"]), s, max_size=4
            )
        ),
        max_leaves=10,
    )
)
def test_random_headers_end_in_a_named_error(tmp_path, header):
    path = tmp_path / "m.safetensors"
    path.write_bytes(raw(json.dumps(header).encode(), bytes(16)))
    with pytest.raises(CheckpointError):
        load_model(path)


MANY = {
    "one layer each": lambda n: [f"a{k}x.weight" for k in range(2 * n)],
    "blocks": lambda n: [f"b.{k}.{name}.weight" for k in range(n) for name in "xy"],
    "copies": lambda n: [f"{before}{k}.weight" for before in ("", "ema_") for k in range(n)],
    "factors": lambda n: [f"l{k}.weight_{kind}" for k in range(n) for kind in "gv"],
}


@pytest.mark.parametrize("architecture", [None, "plain"])
@pytest.mark.parametrize("case", MANY)
def test_many_names_take_no_longer_than_their_number(case, architecture, tmp_path):
    (tmp_path / "mine.py").write_text("from torch import nn\ndef plain(): return nn.Linear(2, 2, bias=False)\n")
    given = f"{tmp_path / 'mine.py'}:plain" if architecture == "plain" else architecture
    save_file({name: torch.ones(2, 2) for name in MANY[case](3000)}, tmp_path / "m.safetensors")
    with pytest.raises(ValueError) as refused:
        load_model(tmp_path / "m.safetensors", architecture=given)
    assert len(str(refused.value)) < 100_000
    calls = []
    for n in (100, 400):  # of which some load
        save_file({name: torch.ones(2, 2) for name in MANY[case](n)}, tmp_path / "m.safetensors")
        with counted() as so_far, suppress(ValueError):
            load_model(tmp_path / "m.safetensors", architecture=given)
        calls.append(so_far())
    assert calls[1] < 6 * calls[0], calls  # PyTorch's own part grows a little faster than the number
