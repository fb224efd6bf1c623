"""Files and folders that are not read are called what they are, with the next step."""

import json
import re
import struct

import pytest
import torch
from safetensors.torch import save_file

from vestige.nets.checkpoint import CheckpointError, load_model
from vestige.nets.file_formats import folder_kind, format_of

FILES = {
    "m.mat": (b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512) + b"\x89HDF", "a MATLAB file"),
    "ggml.bin": (b"lmgg" + bytes(60), "a GGML file"),
    "m.RData": (b"RDX3\nX\n" + bytes(60), "an R workspace"),
    "m.xml": (b'<?xml version="1.0"?><net name="x"/>', "OpenVINO"),
    "m.txt": (b"tree\nversion=v4\nnum_class=1\n", "LightGBM model, of trees"),
    "m.json": (b'{"learner":{"attributes":{}},"version":[2,0,0]}', "XGBoost model, of trees"),
    "w.json": (b'{"layer1": {"weight": [[1, 2], [3, 4]]}}', "numbers as text"),
    "m.ubj": (b"{L" + bytes(7) + b"\x07learner" + bytes(60), "XGBoost model, of trees, by its name"),
    "m.msgpack": (b"\x82\xa6params\x81" + bytes(60), "a Flax file, by its name"),
    "m.mlmodel": (b"\x08\x05\x12\x9a\x01\n\x10" + bytes(60), "a Core ML model, by its name"),
    "m.engine": (b"ftrt" + bytes(range(60)), "a TensorRT program, by its name"),
    "m.params": (struct.pack("<QQ", 0x112, 0) + bytes(60), "an MXNet file, by its name"),
    "frozen.pb": (b"\n\x12\n\x01x\x12\x0bPlaceholder" + bytes(60), "a TensorFlow graph, by its name"),
    "ckpt.data-00000-of-00001": (bytes(range(1, 61)), "part of a TensorFlow checkpoint, by its name"),
    "other.bin": (bytes(range(100, 160)), "no header at its start"),
}
FOLDERS = {
    "manifest.ocdbt": "Orbax",
    "_METADATA": "Orbax",
    "saved_model.pb": "SavedModel",
    "__0_0.distcp": "dcp_to_torch_save",
    "zero_pp_rank_0_mp_rank_00_optim_states.pt": "zero_to_fp32",
    "Manifest.json": "Core ML",
    "pytorch_model.bin": "holds pytorch_model.bin; give a file",
    "model.safetensors.index.json": "holds model.safetensors.index.json; give a file",
    "notes.md": "a folder; give a file",
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_called_what_it_is(name, tmp_path):
    data, words = FILES[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(CheckpointError, match=re.escape(words)):
        load_model(tmp_path / name)


def test_a_name_alone_says_nothing_where_the_bytes_do(tmp_path):
    (tmp_path / "m.msgpack").write_bytes(b"GGUF" + bytes(60))
    assert format_of(tmp_path / "m.msgpack").startswith("a GGUF file")
    save_file({"0.weight": torch.ones(2, 3), "0.bias": torch.ones(2)}, tmp_path / "weights.pb")
    assert load_model(tmp_path / "weights.pb").architecture == "mlp:3-2"


@pytest.mark.parametrize("member", FOLDERS)
def test_a_folder_is_called_what_it_holds(member, tmp_path):
    (tmp_path / member).write_bytes(b"x")
    assert FOLDERS[member] in folder_kind(tmp_path)
    with pytest.raises(CheckpointError, match=re.escape(FOLDERS[member])):
        load_model(tmp_path)


def test_an_index_of_pickles_says_how_to_save_without_them(tmp_path):
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": {"0.weight": "pytorch_model-00001-of-00002.bin"}}))
    with pytest.raises(CheckpointError, match=r"a pickle: .*safe_serialization=True"):
        load_model(index)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"0.biases": (5, 1), "0.scales": (5, 1)}, "quantized weights: export floats"),
        ({"1.bias": (5,), "1.weight.tensor_impl.int_data": (5, 5)}, "int_data.*quantized weights: export floats"),
        ({"0.lora_A.default.weight": (2, 5), "0.lora_B.default.weight": (5, 2)}, "low-rank adapter.*merge_and_unload"),
        ({"fc.lora_down.weight": (2, 5)}, "low-rank adapter.*merge_and_unload"),
    ],
)
def test_tensors_that_no_chain_has_are_called_what_says_most(extra, words, tmp_path):
    state = {"0.weight": (5, 5), "0.bias": (5,)} | extra
    save_file({name: torch.ones(shape) for name, shape in state.items()}, tmp_path / "m.safetensors")
    with pytest.raises(CheckpointError, match=words):
        load_model(tmp_path / "m.safetensors")


def test_an_architecture_that_is_given_is_believed_over_the_name_of_an_adapter(tmp_path):
    save_file({"lora_A.weight": torch.ones(2, 5), "lora_B.weight": torch.ones(3, 2)}, tmp_path / "m.safetensors")
    assert load_model(tmp_path / "m.safetensors", architecture="mlp:5-2-3:bias=none").architecture
