"""Saving and loading: bit-equal round trips, architectures from the file, the shapes or the caller."""

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from vestige.nets.architecture import ArchitectureError, parse_architecture
from vestige.nets.checkpoint import CheckpointError, convert, load_model, save_model
from vestige.nets.fully_connected import mlp


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("text", ["mlp:6-5-2", "mlp:6-5-4-1:gelu:bias=all", "cnn:1x6x6-c3k3s2-2:softplus"])
def test_round_trip_is_bit_equal(tmp_path, text, dtype):
    model = parse_architecture(text, dtype=dtype)
    metadata = {"input_shape": "[1, 6, 6]" if text.startswith("cnn") else "[6]", "loss": "mse"}
    save_model(model, tmp_path / "m.safetensors", metadata=metadata, tensors={"mean": torch.arange(6.0)})
    loaded = load_model(tmp_path / "m.safetensors")
    assert (loaded.architecture, loaded.metadata["loss"], loaded.warnings) == (text, "mse", ())
    assert loaded.input_shape == tuple(json.loads(metadata["input_shape"]))
    x = torch.ones(2, *loaded.input_shape, dtype=dtype)
    assert torch.equal(loaded.model(x), model(x))
    assert torch.equal(loaded.tensors["mean"], torch.arange(6.0))
    assert not loaded.model.training and model.training


def test_architecture_is_read_off_the_shapes_whatever_the_names(tmp_path):
    first, second = torch.randn(5, 6), torch.randn(2, 5)
    save_file({"z_in.weight": first, "a_out.weight": second}, tmp_path / "m.safetensors")
    loaded = load_model(tmp_path / "m.safetensors")
    assert loaded.architecture == "mlp:6-5-2:bias=none"
    assert "ReLU assumed" in loaded.warnings[0]
    x = torch.randn(3, 6)
    torch.testing.assert_close(loaded.model(x), torch.relu(x @ first.T) @ second.T)


def test_input_space_comes_back(tmp_path):
    metadata = {"space": '{"low": -1.0, "high": 2.0}'}
    save_model(mlp([3, 2, 1]), tmp_path / "m.safetensors", metadata=metadata, tensors={"mean": torch.ones(3)})
    space = load_model(tmp_path / "m.safetensors").space
    assert space is not None and (space.low, space.high) == (-1.0, 2.0)
    assert torch.equal(space.to_model(torch.ones(2, 3)), torch.zeros(2, 3))
    save_model(mlp([3, 2, 1]), tmp_path / "n.safetensors")
    assert load_model(tmp_path / "n.safetensors").space is None
    assert load_model(tmp_path / "n.safetensors").input_shape == (3,)


def test_half_precision_is_widened_and_said(tmp_path):
    weights = {"0.weight": torch.ones(2, 3, dtype=torch.bfloat16), "2.weight": torch.ones(1, 2)}
    save_file(weights, tmp_path / "m.safetensors")
    loaded = load_model(tmp_path / "m.safetensors")
    assert {p.dtype for p in loaded.model.parameters()} == {torch.get_default_dtype()}
    assert any("bfloat16" in line for line in loaded.warnings)


def test_saving_replaces_whole_files_and_leaves_no_temporary(tmp_path):
    path = tmp_path / "m.safetensors"
    save_model(mlp([3, 2, 1]), path)
    save_model(mlp([4, 2, 1]), path)
    assert load_model(path).architecture == "mlp:4-2-1"
    assert list(tmp_path.iterdir()) == [path]
    broken = mlp([3, 2, 1])
    broken[1].weight.data[0, 0] = torch.nan
    with pytest.raises(CheckpointError, match="1 of 3 tensors hold NaN"):
        save_model(broken, path)
    with pytest.raises(CheckpointError, match="metadata must be text"):
        save_model(mlp([3, 2, 1]), path, metadata={"n": 3})
    with pytest.raises(CheckpointError, match="does not exist"):
        save_model(mlp([3, 2, 1]), tmp_path / "no" / "m.safetensors")
    assert load_model(path).architecture == "mlp:4-2-1"


def test_pickle_is_converted_in_its_own_process(tmp_path):
    model = mlp([6, 5, 2])
    torch.save({"state_dict": model.state_dict(), "epoch": 3}, tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match="vestige convert"):
        load_model(tmp_path / "m.pt")
    convert(tmp_path / "m.pt", tmp_path / "m.safetensors")
    trusted = load_model(tmp_path / "m.pt", trust_pickle=True)
    for loaded in (load_model(tmp_path / "m.safetensors"), trusted):
        assert torch.equal(loaded.model(torch.ones(1, 6)), model(torch.ones(1, 6)))
    with pytest.raises(CheckpointError, match="not overwritten"):
        convert(tmp_path / "m.pt", tmp_path / "m.safetensors")
    with pytest.raises(CheckpointError, match="nothing to convert"):
        convert(tmp_path / "m.safetensors", tmp_path / "n.safetensors")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.pt", "m.safetensors"]


def test_digest_is_checked(tmp_path):
    save_model(mlp([3, 2, 1]), tmp_path / "m.safetensors")
    digest = load_model(tmp_path / "m.safetensors").sha256
    assert load_model(tmp_path / "m.safetensors", sha256=digest.upper()).sha256 == digest
    with pytest.raises(CheckpointError, match="SHA-256"):
        load_model(tmp_path / "m.safetensors", sha256="0" * 64)


TIED = """
from torch import nn
class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
        self.b.weight = self.a.weight
        self.norm = nn.BatchNorm1d(3)
    def forward(self, x):
        return self.norm(self.b(self.a(x)))
"""


def test_tied_weights_of_a_users_model_stay_tied(tmp_path, monkeypatch):
    (tmp_path / "tied_net.py").write_text(TIED)
    monkeypatch.syspath_prepend(tmp_path)
    model = parse_architecture("tied_net:Tied")
    save_model(model, tmp_path / "m.safetensors")
    loaded = load_model(tmp_path / "m.safetensors", architecture="tied_net:Tied").model
    assert loaded.a.weight is loaded.b.weight
    state = {name: t.clone() for name, t in model.state_dict().items()}
    once = {name: t for name, t in state.items() if name != "b.weight"}
    save_file(once, tmp_path / "once.safetensors")
    loaded = load_model(tmp_path / "once.safetensors", architecture="tied_net:Tied").model
    assert torch.equal(loaded.b.weight, state["a.weight"])
    state["b.weight"] += 1
    save_file(state, tmp_path / "two.safetensors")
    with pytest.raises(CheckpointError, match=r"a.weight and b.weight are one tensor"):
        load_model(tmp_path / "two.safetensors", architecture="tied_net:Tied")
    with pytest.raises(CheckpointError, match="num_batches_tracked"):
        load_model(tmp_path / "once.safetensors")


def test_what_does_not_fit_is_named(tmp_path):
    path = tmp_path / "m.safetensors"
    save_model(mlp([3, 2, 1]), path)
    with pytest.raises(CheckpointError, match=r"1.bias has shape \[2\], the architecture needs \[5\]"):
        load_model(path, architecture="mlp:3-5-1")
    with pytest.raises(CheckpointError, match="it has layers"):
        load_model(path, architecture="mlp:3-2-2-1")
    with pytest.raises(CheckpointError, match="missing"):
        load_model(path, architecture="mlp:3-2-1:bias=all")
    with pytest.raises(ArchitectureError, match="unknown architecture"):
        load_model(path, architecture="resnet50")
    save_file({"0.weight": torch.ones(2, 3, dtype=torch.int8)}, path)
    with pytest.raises(CheckpointError, match="int8"):
        load_model(path)
    assert isinstance(mlp([3, 2, 1]), nn.Module)


def test_equal_models_make_equal_files(tmp_path):
    model = mlp([3, 4, 2], generator=torch.Generator().manual_seed(0))
    metadata = {name: "ä" * size for size, name in enumerate(["loss", "space", "seed", "data", "n", "weight_decay"])}
    written = set()
    for number, names in enumerate([sorted(metadata), sorted(metadata, reverse=True)] * 4):
        path = tmp_path / f"{number}.safetensors"
        save_model(model, path, metadata={name: metadata[name] for name in names}, tensors={"mean": torch.ones(3)})
        written.add(path.read_bytes())
        assert load_model(path).metadata.items() >= metadata.items()
    assert len(written) == 1
