"""Invariant networks from training to the score modulo the group, and groups that do not fit."""

import pytest
import torch

import vestige as vg
from vestige.audit.training import fit, save, untrained
from vestige.audit.truth import draw
from vestige.data.load import load_data
from vestige.nets.architecture import parse_architecture
from vestige.nets.checkpoint import load_model, save_model
from vestige.nets.groups import Rotations


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "m.safetensors"
    net = parse_architecture("c4@1x8x8:mlp:64-20-10", dtype=torch.float32)
    save_model(net, path, metadata={"input_shape": "[1, 8, 8]", "loss": "cross_entropy"})
    return path


@pytest.mark.parametrize(
    ("group", "words"),
    [("c5", "are known"), ("d4", "not invariant to d4"), ("shifts:3", "does not act"), ("set:4", "does not act")],
)
def test_groups_that_do_not_fit_are_refused(group, words, model, tmp_path):
    with pytest.raises(ValueError, match=words):
        vg.audit(model, group=group, out=tmp_path / "r")
    assert not (tmp_path / "r").exists()


@pytest.mark.slow
def test_trained_audited_and_scored_modulo_the_group(tmp_path):
    chosen, rest = draw(load_data("digits"), 10, 0)
    start = untrained(chosen, group="c4")
    path = tmp_path / "m.safetensors"
    save(fit(start, chosen, weight_decay=1e-3, group="c4"), chosen, path, {}, "c4")
    loaded = load_model(path)
    assert loaded.architecture == "c4@1x8x8:mlp:64-1000-10"
    mean = loaded.tensors["mean"]
    torch.testing.assert_close(Rotations().project(mean[None])[0], mean)
    how = {"group": Rotations(), "restarts": 1, "n_candidates": 10}
    found = vg.audit(path, data=chosen, held_out=rest, out=tmp_path / "run", **how)
    assert found.score.metric == "NCC modulo c4"
    assert "symmetrized noise" in {null.name for null in found.score.nulls}
    assert (tmp_path / "run" / "report.html").exists()
