"""A share of a network is not read as a narrower network, as far as its file, its folder or its settings tell."""

import argparse
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from vestige.nets.checkpoint import CheckpointError, load_model
from vestige.nets.parts import part_of


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("pytorch_model-00001-of-00002.bin", "1 of 2"),
        ("mp_rank_01_model_states.pt", "1"),
        ("consolidated.03.pth", "3"),
        ("model.shard2.safetensors", "2"),
        ("consolidated.00.pth", None),
        ("part.pt", None),
        ("compart2.pt", None),
        ("model-00001-of-00001.safetensors", None),
        ("ckpt_rank_0_of_4.pt", "0 of 4"),
        ("net_fold_1_of_5.pt", None),
        ("mp_rank_01/model_optim_rng.pt", "1"),
        ("tp_rank_00_pp_rank_001/model.pt", "1"),
        ("mp_rank_00/model_optim_rng.pt", None),
    ],
)
def test_names_of_parts(name, part, tmp_path):
    assert part_of(tmp_path / name) == part


def test_the_first_of_several_ranks_is_a_part(tmp_path):
    for k in range(2):
        (tmp_path / f"consolidated.0{k}.pth").touch()
    assert part_of(tmp_path / "consolidated.00.pth") == "0"
    assert part_of(Path("nowhere") / "consolidated.00.pth") is None


def state():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)).state_dict()


SETTINGS = {
    "Megatron": {"model": state(), "args": argparse.Namespace(tensor_model_parallel_size=2, layers=3)},
    "DeepSpeed": {"module": state(), "mp_world_size": 2, "dp_world_size": 4},
    "a configuration": {"state_dict": state(), "config": {"model": {"tp_size": 8}}},
}


@pytest.mark.parametrize("kind", SETTINGS)
def test_settings_that_say_a_share_are_believed(kind, tmp_path):
    torch.save(SETTINGS[kind], tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match=r"one share of a network .* --key if it is whole"):
        load_model(tmp_path / "m.pt", trust_pickle=True)


def test_shares_of_the_data_are_no_shares_of_the_network(tmp_path):
    torch.save({"module": state(), "mp_world_size": 1, "dp_world_size": 4, "world_size": 4}, tmp_path / "m.pt")
    assert load_model(tmp_path / "m.pt", trust_pickle=True).architecture == "mlp:5-4-3:bias=all"


@pytest.mark.parametrize("place", ["consolidated.00.safetensors", "mp_rank_00/m.safetensors"])
def test_a_lone_first_part_is_noted(place, tmp_path):
    (tmp_path / place).parent.mkdir(exist_ok=True)
    save_file(state(), tmp_path / place)
    assert any("the first of several parts" in note for note in load_model(tmp_path / place).warnings)


def test_metadata_that_say_a_share_are_noted(tmp_path):
    save_file(state(), tmp_path / "m.safetensors", {"tp_size": "2"})
    assert any("tp_size=2" in note for note in load_model(tmp_path / "m.safetensors").warnings)


def test_files_of_sharded_tensors_say_how_to_join_them(tmp_path):
    save_file({"_fsdp_wrapped_module._flat_param": torch.ones(9)}, tmp_path / "flat.safetensors")
    with pytest.raises(CheckpointError, match="FULL_STATE_DICT"):
        load_model(tmp_path / "flat.safetensors")
    (tmp_path / "__0_0.distcp").write_bytes(b"PK\x03\x04" + bytes(60))
    with pytest.raises(CheckpointError, match="dcp_to_torch_save"):
        load_model(tmp_path / "__0_0.distcp")
