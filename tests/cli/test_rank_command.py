"""`vestige rank`: a table of heads, and what has none."""

import sys

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from vestige.cli import run


@pytest.fixture
def factory(tmp_path, monkeypatch):
    (tmp_path / "heads_of_mine.py").write_text(
        "from torch import nn\n\n\ndef make():\n    return nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "heads_of_mine:make"
    sys.modules.pop("heads_of_mine", None)


def test_every_head_has_a_row(tmp_path, factory, capsys):
    weights = nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16)).float().state_dict()
    save_file(weights, tmp_path / "model.safetensors")
    assert run(["rank", str(tmp_path / "model.safetensors"), "--arch", factory]) == 0
    said = capsys.readouterr().out
    assert said.count("0.self_attn, head") == 2 and "2 of 2 heads are narrower" in said


def test_a_model_without_attention_is_one_line(tmp_path, capsys):
    weights = {
        "0.weight": torch.ones(2, 3),
        "0.bias": torch.ones(2),
        "2.weight": torch.ones(1, 2),
        "2.bias": torch.ones(1),
    }
    save_file({k: v.float() for k, v in weights.items()}, tmp_path / "mlp.safetensors")
    assert run(["rank", str(tmp_path / "mlp.safetensors")]) == 2
    assert "without attention" in capsys.readouterr().err.replace("\n", " ")
