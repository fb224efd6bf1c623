"""`vestige redex fit`: accuracy, gaps and the layers in a file."""

import numpy as np
from safetensors.torch import load_file

from vestige.cli import run


def test_a_product_of_signs_is_learned_and_kept(tmp_path, capsys):
    rng = np.random.default_rng(0)
    x = rng.choice([0.0, 1.0], size=(300, 6))
    np.savez(tmp_path / "xor.npz", x=x, y=(x[:, 0] != x[:, 1]).astype(int))
    out = tmp_path / "layers.safetensors"
    assert run(["redex", "fit", "--data", f"npz:{tmp_path / 'xor.npz'}", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "held-out samples 100.0%" in said and "layer 1:" in said
    kept = load_file(out)
    assert kept["layer.1.v"].shape[1] == 7 and kept["layer.1.p"].shape[0] == 1


def test_a_mistake_is_one_line(tmp_path, capsys):
    np.savez(tmp_path / "few.npz", x=np.random.default_rng(0).random((8, 3)), y=np.arange(8) % 2)
    assert run(["redex", "fit", "--data", f"npz:{tmp_path / 'few.npz'}", "--ridge", "-1"]) == 2
    assert "ridge" in capsys.readouterr().err
