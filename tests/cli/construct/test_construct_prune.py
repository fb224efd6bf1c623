"""`vestige construct prune` from the model file to the file of masks, and its refusals."""

import numpy as np
import pytest
import torch

import vestige as vg
from vestige.cli import run
from vestige.core.rng import child


@pytest.fixture
def model(tmp_path):
    """A small network on disk, with the data that it classifies."""
    torch.set_default_dtype(torch.float32)
    net = vg.nets.mlp([4, 5, 3], bias="all", generator=child(0, "net"))
    vg.save_model(net, tmp_path / "m.safetensors")
    draw = np.random.default_rng(0)
    x = draw.uniform(size=(30, 1, 2, 2)).astype("float32")
    y = net(torch.from_numpy(x)).argmax(1).numpy()
    np.savez(tmp_path / "data.npz", x=x, y=y)
    return tmp_path


def test_masks_come_out_with_a_certificate(model, capsys):
    out = model / "p.safetensors"
    arguments = ["construct", "prune", str(model / "m.safetensors"), "--data", f"npz:{model / 'data.npz'}"]
    assert run([*arguments, "--tolerance", "0.02", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "holds  error anywhere in the ball" in printed and "masks and a seed" in printed
    assert "accuracy on 30 samples" in printed and "before" in printed
    target = vg.load_model(model / "m.safetensors").model
    assert vg.construct.verify(out, target=target).holds
    x = torch.from_numpy(np.load(model / "data.npz")["x"])
    with torch.no_grad():
        assert float((vg.construct.load(out).to_torch()(x) - target(x)).norm(dim=1).max()) <= 0.02


def test_equal_seeds_write_equal_files(model):
    files = [model / f"{k}.safetensors" for k in range(3)]
    for file, seed in zip(files, ("1", "1", "2"), strict=True):
        assert run(["construct", "prune", str(model / "m.safetensors"), "--seed", seed, "--out", str(file)]) == 0
    assert files[0].read_bytes() == files[1].read_bytes() != files[2].read_bytes()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--tolerance", "0"], "--tolerance 0.0 given"),
        (["--rows", "3", "--tolerance", "1e-5"], "too small"),
        (["--method", "gurobi"], "gurobi"),
        (["--out", "masks.bin"], ".safetensors"),
    ],
)
def test_mistakes_are_one_line(model, options, words, capsys):
    assert run(["construct", "prune", str(model / "m.safetensors"), *options]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
