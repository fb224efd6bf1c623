"""Heads on a frozen backbone: their data are given as what the backbone takes."""

import numpy as np
import pytest
import torch
from torch import nn

import vestige as vg
from vestige.audit.embeddings import embedder
from vestige.data.dataset import DataError
from vestige.data.texts import load_texts
from vestige.nets.backbones import load_backbone
from vestige.nets.checkpoint import save_model
from vestige.nets.fully_connected import mlp
from vestige.nets.training import train_to_margin
from vestige.runs.folder import RunFolder

WORDS = "alpha beta gamma delta epsilon zeta eta theta iota kappa".split()


class Letters(nn.Module):
    """Texts to the counts of 26 letters, scaled."""

    def forward(self, texts):
        rows = [[float(text.lower().count(chr(97 + k))) for k in range(26)] for text in texts]
        return torch.tensor(rows) / 3


class Means(nn.Module):
    """Images to the means of their four quarters."""

    def forward(self, x):
        return torch.nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A head on letter counts, trained on eight texts, and texts it never saw."""
    folder = tmp_path_factory.mktemp("backbone")
    draw = np.random.default_rng(0)
    for name, count in (("train", 8), ("other", 40)):
        for k in range(count):
            place = folder / name / f"class-{k % 4}"
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{k}.txt").write_text(" ".join(draw.choice(WORDS, 12)))
    texts, y, _ = load_texts(folder / "train")
    x = Letters()(texts).float()
    start = mlp([26, 120, 4], first_init=1e-3, dtype=torch.float32)
    head = train_to_margin(start, x, y, loss="cross_entropy", weight_decay=1e-3, steps=500).model
    save_model(head, folder / "head.safetensors", metadata={"loss": "cross_entropy", "weight_decay": "0.001"})
    return folder


FAST = {"restarts": 2, "n_candidates": 8, "steps": 50}


def test_a_head_is_audited_in_the_space_of_embeddings(files, tmp_path):
    texts = {"data": f"texts:{files / 'train'}", "held_out": f"texts:{files / 'other'}"}
    name, phases = f"{__name__}:Letters", []
    found = vg.audit(
        files / "head.safetensors",
        backbone=name,
        out=tmp_path / "run",
        on_step=lambda step: phases.append(step.note.partition(":")[0]),
        **texts,
        **FAST,
    )
    retrieval = found.results["retrieval"]
    assert retrieval["gallery"] == 48 and retrieval["training"] == 8
    assert retrieval["rank_1"] <= retrieval["within_10"] <= 8
    assert found.score.metric == "cosine" and (tmp_path / "run" / "report.html").exists()
    assert "unlearn" not in found.results and found.source[0].arxiv == "2407.15845"
    assert phases[0] == "embedding" and RunFolder.read(tmp_path / "run").config["backbone"] == name


def test_a_head_that_never_saw_the_texts_gives_nothing_away(files):
    """Null: fresh weights."""
    texts = {"data": f"texts:{files / 'train'}", "held_out": f"texts:{files / 'other'}"}
    stranger = mlp([26, 120, 4], dtype=torch.float32, generator=torch.Generator().manual_seed(7))
    found = vg.audit(stranger, backbone=f"{__name__}:Letters", loss="cross_entropy", **texts, **FAST)
    assert found.score.n_recovered == 0 and found.level == "unknown" and "do not fit" in found.verdict


def test_a_backbone_of_another_width_is_refused(files, tmp_path):
    x, y = torch.rand(6, 3, 8, 8), torch.arange(6) % 2
    with pytest.raises(ValueError, match=r"26 numbers.* returns 12"):
        vg.audit(files / "head.safetensors", data=(x, y), backbone=f"{__name__}:Means", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_images_for_a_text_backbone_are_refused(files):
    with pytest.raises(ValueError, match="texts:FOLDER"):
        embedder(f"{__name__}:Means", 12)(f"texts:{files / 'train'}")


@pytest.mark.parametrize("text", ["resnet", "minilm@64", "efficientnet-lite0@8", "os:nothing"])
def test_unknown_backbones_are_refused(text):
    with pytest.raises(ValueError, match="backbone"):
        load_backbone(text)


def test_texts_are_read_by_class_and_bad_folders_refused(files, tmp_path):
    texts, y, classes = load_texts(files / "train")
    assert len(texts) == 8 and y.tolist() == [0, 0, 1, 1, 2, 2, 3, 3] and classes[0] == "class-0"
    (tmp_path / "a.txt").write_bytes(b"\xff bytes")
    assert load_texts(tmp_path)[0][0].endswith(" bytes")
    with pytest.raises(DataError, match=r"0 \.txt files"):
        load_texts(files)
    with pytest.raises(DataError, match="not a folder"):
        load_texts(tmp_path / "missing")
