"""What the audits print, which options reach them, and how a stopped one ends; findings: tests/audit."""

import json
import signal
from functools import partial
from importlib import import_module

import numpy as np
import pytest
import torch

import vestige as vg
from vestige.audit.training import fit, save, untrained
from vestige.audit.truth import read_data
from vestige.cli import options, run
from vestige.nets.architecture import parse_architecture
from vestige.nets.checkpoint import save_model
from vestige.runs.folder import RunFolder, RunState

FAST = ("--restarts", "1", "--n-candidates", "2")


@pytest.fixture(autouse=True)
def single_precision(exact_arithmetic):
    """As a command runs for a user."""
    torch.set_default_dtype(torch.float32)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Searches of a few steps: what is printed does not depend on what they find."""
    for home, name in ((vg, "audit"), (import_module("vestige.audit"), "audit_unlearning")):
        monkeypatch.setattr(home, name, partial(getattr(home, name), steps=20))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A network of 4-6-1 on four points, and its data."""
    folder = tmp_path_factory.mktemp("cli")
    x = np.random.default_rng(0).uniform(size=(24, 1, 2, 2)).astype("float32")
    np.savez(folder / "train.npz", x=x[:4], y=np.arange(4) % 2)
    np.savez(folder / "other.npz", x=x[4:], y=np.arange(20) % 2)
    chosen = read_data(f"npz:{folder / 'train.npz'}")
    fitted = fit(untrained(chosen, architecture="mlp:4-6-1"), chosen, weight_decay=1e-2)
    save(fitted, chosen, folder / "m.safetensors", {})
    return folder


def audit(files, out, *more):
    data = ("--data", f"npz:{files / 'train.npz'}", "--held-out", f"npz:{files / 'other.npz'}")
    return run(["audit", str(files / "m.safetensors"), "--out", str(out), *FAST, *data, *more])


def test_the_verdict_the_table_and_the_files_are_printed(files, tmp_path, capsys):
    assert audit(files, tmp_path / "r") == 0
    shown = capsys.readouterr().out
    results = json.loads((tmp_path / "r" / "results.json").read_text())
    assert results["verdict"] in shown and "held-out" in shown and "untrained network" in shown
    assert "report.html" in shown and "samples.safetensors" in shown
    assert audit(files, tmp_path / "r", "--seed", "1") == 2
    assert "seed: 0 there, 1 now" in capsys.readouterr().err
    page = (tmp_path / "r" / "report.html").read_bytes()
    assert run(["report", str(tmp_path / "r")]) == 0
    assert (tmp_path / "r" / "report.html").read_bytes() == page
    capsys.readouterr()
    assert run(["cite", str(tmp_path / "r")]) == 0
    assert "eprint" in capsys.readouterr().out


def test_the_folder_is_named_after_verb_and_model(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["reconstruct", str(files / "m.safetensors"), *FAST, "--range", "-2", "2.5"]) == 0
    folder = tmp_path / "vestige-reconstruct-m"
    assert {p.name for p in folder.iterdir()} >= {"manifest.json", "results.json", "samples.safetensors"}
    assert not (folder / "report.html").exists()
    assert RunFolder.read(folder).config["input_range"] == [-2.0, 2.5]


def test_scores_are_asked_for_by_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_scores.py").write_text(
        "import numpy as np\nx = np.random.default_rng(0).random((3, 4))\n"
        "def scores(z):\n    return np.exp(-0.5 * ((np.asarray(z)[:, None] - x) ** 2).sum(-1))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert run(["audit", "own_scores:scores", "--kernel", "rbf:gamma=0.5", "--input-shape", "4"]) == 0
    assert "points, of which 3 pass the check" in " ".join(capsys.readouterr().out.split())
    assert (tmp_path / "vestige-audit-own_scores-scores" / "report.html").exists()


def test_every_option_reaches_the_audit(files, tmp_path, monkeypatch):
    seen = {}

    class Stop(ValueError):
        pass

    def record(model, **given):
        seen.update(given, model=model)
        raise Stop("seen")

    monkeypatch.setattr(vg, "audit", record)
    line = ["--arch", "mlp:4-6-1", "--loss", "mse", "--weight-decay", "0.5", "--data", "digits", "--held-out", "mnist"]
    line += ["--n-candidates", "3", "--restarts", "4", "--seed", "5", "--solver", "published", "--trust-pickle"]
    line += ["--input-shape", "1x2x2", "--range", "0", "2", "--group", "c4", "--out", str(tmp_path / "r")]
    assert run(["audit", str(files / "m.safetensors"), *line]) == 2
    assert seen.pop("on_step") is not None
    assert seen == {
        "model": files / "m.safetensors", "architecture": "mlp:4-6-1", "loss": "mse", "weight_decay": 0.5,
        "data": "digits", "held_out": "mnist", "n_candidates": 3, "restarts": 4, "seed": 5, "solver": "published",
        "trust_pickle": True, "input_shape": (1, 2, 2), "space": (0.0, 2.0), "group": "c4", "backbone": None,
        "out": tmp_path / "r",
    }  # fmt: skip


def test_kinds_of_models_exclude_each_other(files, capsys):
    assert audit(files, "r", "--group", "c4", "--backbone", "minilm") == 2
    assert "Give one of them" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["axb", "0x2", "1x2x3x4x5", ""])
def test_shapes_that_are_not_sizes(text, files, capsys):
    assert audit(files, "r", "--input-shape", text) == 2
    assert "3x32x32" in capsys.readouterr().err


def test_text_is_read_as_numbers():
    assert options.read_shape("3x32x32") == (3, 32, 32)
    assert options.read_quotient("8/255") == 8 / 255 and options.read_quotient("0.03") == 0.03
    assert options.read_pair("3,8") == (3, 8)


def test_an_interrupt_is_said_to_be_resumable_and_is(files, tmp_path, monkeypatch, capsys):
    from vestige.cli import progress

    real, pressed = progress.progress_bar, []

    class Bar:
        def __init__(self, title, **more):
            self.inner = real(title, **more)

        def __enter__(self):
            bar = self.inner.__enter__()

            def press(step):
                bar(step)
                if not pressed:
                    pressed.append(signal.raise_signal(signal.SIGINT))

            return press

        def __exit__(self, *error):
            return self.inner.__exit__(*error)

    monkeypatch.setattr(progress, "progress_bar", Bar)
    assert audit(files, tmp_path / "r") == 130
    assert "continues from its last checkpoint" in capsys.readouterr().err
    assert RunFolder.read(tmp_path / "r").state is RunState.INTERRUPTED
    assert audit(files, tmp_path / "r") == 0


def test_a_model_that_is_not_invariant_is_one_line(tmp_path, capsys):
    path = tmp_path / "m.safetensors"
    save_model(parse_architecture("mlp:4-6-3"), path, metadata={"input_shape": "[1, 2, 2]", "loss": "cross_entropy"})
    assert run(["audit", str(path), "--group", "c4", "--out", str(tmp_path / "r")]) == 2
    assert "not invariant to c4" in " ".join(capsys.readouterr().err.split())


def test_unlearning_is_told_in_a_few_lines(files, tmp_path, capsys):
    data = ("--data", f"npz:{files / 'train.npz'}", "--held-out", f"npz:{files / 'other.npz'}")
    where = ("--out", str(tmp_path / "r"))
    how = (*FAST, "--repair", "5")
    assert run(["unlearn", str(files / "m.safetensors"), *data, "--forget", "1", *how, *where]) == 0
    shown = capsys.readouterr().out
    results = json.loads((tmp_path / "r" / "results.json").read_text())
    assert results["verdict"] in shown and "forget accuracy" in shown and "model.safetensors" in shown
    assert run(["unlearn", str(files / "m.safetensors"), *data, "--forget", "9", *how, *where]) == 2
    assert "0 to 3" in capsys.readouterr().err


@pytest.mark.parametrize("preset", ["standard", "published", "square", "fast,square"])
def test_presets_and_stages_are_named_as_in_python(preset, tmp_path, capsys):
    assert run(["attack", "--n", "2", "--eps", "0.3", "--preset", preset, "--out", str(tmp_path / "r")]) == 0
    results = json.loads((tmp_path / "r" / "results.json").read_text())
    assert [stage["name"] for stage in results["stages"]] == preset.split(",")


def test_an_attack_is_told_in_a_few_lines(tmp_path, capsys):
    line = ["attack", "--n", "20", "--out", str(tmp_path / "r")]
    assert run(line) == 0
    assert "withstand linf perturbations of 0.15" in capsys.readouterr().out
    assert run(["report", str(tmp_path / "r")]) == 0
    for more, words in ((["--eps", "eight"], "quotient"), (["--theory", "--pair", "3"], "two class numbers"),
                        (["--preset", "quick"], "fast"), (["--eps", "8/255"], "another configuration")):  # fmt: skip
        assert run([*line, *more]) == 2
        assert words in capsys.readouterr().err
