"""`vestige audit --backbone`: a head on embeddings, its data given as what the backbone takes."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from vestige.audit import weights as pipeline
from vestige.audit.embeddings import embedder
from vestige.cli import run
from vestige.data.dataset import DataError
from vestige.data.texts import load_texts
from vestige.nets.backbones import load_backbone
from vestige.nets.checkpoint import save_model
from vestige.nets.mlp import mlp
from vestige.nets.training import train_to_margin

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


def audit(files, out, *more):
    texts = ("--data", f"texts:{files / 'train'}", "--held-out", f"texts:{files / 'other'}")
    fast = ("--restarts", "2", "--n-candidates", "8")
    return run(["audit", str(files / "head.safetensors"), "--out", str(out), *fast, *texts, *more])


@pytest.fixture
def few_steps(monkeypatch):
    real = pipeline.reconstruct_from_embeddings
    monkeypatch.setattr(pipeline, "reconstruct_from_embeddings", lambda *a, **k: real(*a, **k, steps=50))


def test_a_head_is_audited_in_the_space_of_embeddings(files, tmp_path, few_steps, capsys):
    assert audit(files, tmp_path / "run", "--backbone", f"{__name__}:Letters") == 0
    assert "Looked up among 48 embeddings" in capsys.readouterr().out
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["retrieval"]["gallery"] == 48 and results["retrieval"]["training"] == 8
    assert results["retrieval"]["rank_1"] <= results["retrieval"]["within_10"] <= 8
    assert results["score"]["metric"] == "cosine" and (tmp_path / "run" / "report.html").exists()
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["config"]["backbone"] == f"{__name__}:Letters"


def test_a_backbone_of_another_width_is_refused(files, tmp_path, capsys):
    np.savez(tmp_path / "images.npz", x=np.random.default_rng(0).uniform(size=(6, 3, 8, 8)), y=np.arange(6) % 2)
    code = run(["audit", str(files / "head.safetensors"), "--out", str(tmp_path / "run"),
                "--data", f"npz:{tmp_path / 'images.npz'}", "--backbone", f"{__name__}:Means"])  # fmt: skip
    assert code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "26 numbers" in said and "returns 12" in said


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
