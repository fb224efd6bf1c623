"""`vestige verify`: the table, the exit status, and files that are none."""

import numpy as np
import torch

import vestige as vg
from vestige.cli import run
from vestige.construct.exact.exact_construction import ExactConstruction
from vestige.construct.exact.interpolation import Interpolation
from vestige.construct.exact.layers import layer
from vestige.construct.exact.network import ExactNetwork
from vestige.construct.file.saved import save
from vestige.core.cite import paper
from vestige.core.claims import Certificate, Claim
from vestige.core.outcome import Outcome
from vestige.core.rng import child


def saved(path, slope, **numbers):
    network = ExactNetwork((layer(1, [({0: slope}, 0)]),))
    specification = Interpolation(np.array([[1.0], [3.0]]), np.array([[1], [3]]), "the identity")
    claims = Certificate((*specification.check(network), Claim("width", 0, 0, "the identity")))
    made = ExactConstruction(
        network=network,
        specification=specification,
        certificate=claims,
        outcome=Outcome.CONVERGED,
        source=(paper("2110.03187"),),
        numbers=numbers,
    )
    save(made, path)
    return str(path)


def test_a_true_file_gets_a_table(tmp_path, capsys):
    assert run(["verify", saved(tmp_path / "net.safetensors", 1)]) == 0
    said = capsys.readouterr().out
    assert "all 5 claims hold" in said and "holds  points off target" in said and "FAILS" not in said


def test_numbers_that_nothing_derives_are_printed_as_the_files_own(tmp_path, capsys):
    assert run(["verify", saved(tmp_path / "net.safetensors", 1, security=9e9)]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "security" in line]
    assert "numbers that are not derived" in line and "stated by the file: security" in line and "9" not in line


def test_a_false_one_fails(tmp_path, capsys):
    assert run(["verify", saved(tmp_path / "net.safetensors", 2), "--points", "1"]) == 1
    assert "FAILS: points off target; largest error" in capsys.readouterr().out


def test_a_report_says_what_was_found(tmp_path, capsys):
    for slope, status, level in ((1, 0, "nothing"), (2, 1, "leaks")):
        folder = tmp_path / str(slope)
        assert run(["verify", saved(tmp_path / "net.safetensors", slope), "--report", str(folder)]) == status
        assert f"{folder}/report.html" in capsys.readouterr().out.replace("\n", "")
        page = (folder / "report.html").read_text(encoding="utf-8")
        assert f'class="verdict {level}"' in page and "points off target" in page
        assert run(["report", str(folder)]) == 0
        assert (folder / "report.html").read_text(encoding="utf-8") == page


def test_no_file_is_the_users_mistake(tmp_path, capsys):
    assert run(["verify", str(tmp_path / "nothing.safetensors")]) == 2
    assert "not there" in capsys.readouterr().err


def test_masks_are_checked_against_their_target(tmp_path, capsys):
    torch.set_default_dtype(torch.float32)
    files = [tmp_path / name for name in ("model.safetensors", "other.safetensors", "masks.safetensors")]
    for seed, file in enumerate(files[:2]):
        vg.save_model(vg.nets.mlp([3, 4, 2], bias="all", generator=child(seed, "target")), file)
    model, other, masks = map(str, files)
    assert run(["construct", "prune", model, "--tolerance", "0.05", "--out", masks]) == 0
    capsys.readouterr()
    assert run(["verify", masks]) == 0
    assert "error anywhere" not in capsys.readouterr().out
    assert run(["verify", masks, "--target", model]) == 0
    assert "holds  error anywhere in the ball" in capsys.readouterr().out
    assert run(["verify", masks, "--target", other]) == 1  # null: another network of the same shape
    assert "FAILS  error anywhere in the ball" in capsys.readouterr().out


def test_a_target_is_for_masks(tmp_path, capsys):
    vg.save_model(vg.nets.mlp([1, 1]), tmp_path / "model.safetensors")
    target = str(tmp_path / "model.safetensors")
    assert run(["verify", saved(tmp_path / "net.safetensors", 1), "--target", target]) == 2
    assert "holds all that its claims need" in capsys.readouterr().err
