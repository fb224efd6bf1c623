"""The audit of a network's weights: results, files, resuming, refusals; nothing of the data reaches the attack."""

import importlib
import json
import math
import os
import stat

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import vestige as vg
from vestige.audit import search as search_module
from vestige.core.files import sha256_of
from vestige.nets.checkpoint import load_model, save_model
from vestige.nets.fully_connected import mlp
from vestige.report import Level
from vestige.runs.folder import RunError, RunFolder, RunMismatch, RunState

FAST = {"restarts": 2, "n_candidates": 6, "steps": 50}


def audit(case, **more):
    return vg.audit(case.model, **{"data": case.data, "held_out": case.held_out, **FAST, **more})


@pytest.fixture(scope="module")
def audited(case, tmp_path_factory):
    """One audit with a folder, and what it returned."""
    return audit(case, out=tmp_path_factory.mktemp("audited") / "r")


@pytest.fixture
def watched(monkeypatch):
    """The options of the last attack."""
    real, seen = search_module.reconstruct_from_weights, []

    def attack(*arguments, **options):
        seen.append(options)
        return real(*arguments, **options)

    monkeypatch.setattr(search_module, "reconstruct_from_weights", attack)
    return seen


def test_the_result_says_what_the_numbers_say(audited):
    results = audited.results
    assert results["verdict"] == audited.verdict and results["level"] == audited.level
    assert results["score"]["n"] == 6 == len(audited.score.similarity)
    assert results["score"]["n_recovered"] == audited.score.n_recovered
    assert results["model"]["loss_source"] == "from the model file"
    at_truth = results["stationarity"]
    assert 0 <= at_truth["residual_clarke"] <= at_truth["residual"] + 1e-9
    assert set(at_truth["residual_clarke_per_layer"]) == set(at_truth["residual_per_layer"])
    assert audited.robustness["n"] == 34 and audited.robustness["data"] == "held-out samples"
    assert 0 <= audited.robustness["robust_accuracy"] <= audited.robustness["clean_accuracy"] <= 1
    theory = audited.robustness["theory"]
    assert theory["universal"]["radius"] > 0 and theory["universal"]["kkt_residual"] is not None
    assert theory["off_subspace"]["codimension"] == 3  # six centered samples in eight dimensions
    assert audited.theory.homogeneous and audited.source and "eprint" in results["citations"]


def test_the_folder_holds_the_report_the_numbers_and_the_samples(audited):
    assert json.loads((audited.folder / "results.json").read_text()) == audited.results
    tensors = load_file(audited.folder / "samples.safetensors")
    assert torch.equal(tensors["samples"], audited.samples) and tensors["truth"].shape == (6, 1, 2, 4)
    page = (audited.folder / "report.html").read_text()
    assert "How easily is it fooled?" in page and "Why it is fooled" in page
    assert "<script" not in page and audited.verdict in page.replace("&#39;", "'")
    run = RunFolder.read(audited.folder)
    assert run.state is RunState.FINISHED and {step["note"] for step in run.progress()}
    assert not list(audited.folder.glob("checkpoint*")) and not list(audited.folder.glob("untrained*"))


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX; run it on Linux or macOS")
def test_files_that_can_hold_personal_data_are_for_their_owner_alone(audited):
    for name in ("samples.safetensors", "results.json", "report.html"):
        assert stat.S_IMODE((audited.folder / name).stat().st_mode) == 0o600, name


def test_without_a_folder_nothing_is_written_and_the_samples_are_the_same(case, audited, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = audit(case)
    assert found.folder is None and not list(tmp_path.iterdir())
    assert torch.equal(found.samples, audited.samples)
    same = ("verdict", "level", "model", "theory", "score", "stationarity", "robustness", "warnings", "citations")
    assert all(found.results[key] == audited.results[key] for key in same)


def test_the_attack_never_sees_the_data(case, audited, watched):
    without = vg.audit(case.model, **FAST)
    assert not {"x", "y", "data", "x_true", "held_out"} & set(watched[-1])
    assert torch.equal(without.samples, audited.samples)
    assert without.score is None and without.robustness is None


def test_data_may_be_a_name_a_data_set_or_a_pair(case, audited):
    other = vg.load_data(case.held_out)
    for data, held_out in ((case.train, other), ((case.train.x, case.train.y), (other.x, 2 * other.y - 1))):
        score = audit(case, data=data, held_out=held_out).score
        assert torch.equal(score.similarity, audited.score.similarity)
        assert score.threshold == audited.score.threshold


def test_a_module_in_memory_is_audited_as_its_file_and_left_as_it_was(case, audited):
    loaded = load_model(case.model)
    model = loaded.model.train()
    model[1].eval()
    modes = [module.training for module in model.modules()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    known = {"input_shape": (1, 2, 4), "space": loaded.space, "loss": "logistic", "weight_decay": 1e-3}
    given = {"data": case.data, "held_out": case.held_out, **FAST}
    found = vg.audit(model, **known, **given)
    assert torch.equal(found.samples, audited.samples) and found.results["score"] == audited.results["score"]
    assert "unlearn" not in found.results  # there is no file to name in the command
    with pytest.raises(ValueError, match="does not accept"):
        vg.audit(model, **{**known, "input_shape": (9,)})
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_a_module_is_known_by_its_weights_and_its_activation(tmp_path):
    model = mlp([4, 6, 1])
    how = {"loss": "logistic", "n_candidates": 2, "restarts": 1, "steps": 2, "out": tmp_path / "r"}
    vg.audit(model, **how)
    with torch.no_grad():
        next(model.parameters())[0, 0] += 1e-3
    with pytest.raises(RunMismatch, match="model: "):
        vg.audit(model, **how)
    other = mlp([4, 6, 1], activation="gelu")
    other.load_state_dict(mlp([4, 6, 1]).state_dict())
    with pytest.raises(RunMismatch, match="model: "):
        vg.audit(other, **how)


def test_a_network_that_never_saw_the_data_gives_nothing_away(case):
    """Null: fresh weights, audited against the same data: they do not fit, so that nothing is said of them."""
    stranger = mlp([8, 32, 1], dtype=torch.float32, generator=torch.Generator().manual_seed(5))
    known = {"input_shape": (1, 2, 4), "space": load_model(case.model).space, "loss": "logistic"}
    found = vg.audit(stranger, data=case.data, held_out=case.held_out, **known, **FAST)
    assert found.score.n_recovered == 0 and found.level is Level.UNKNOWN
    assert "do not fit this model" in found.verdict
    assert found.results["fit"]["reasons"] and not [w for w in found.warnings if w in found.verdict]


def test_steps_name_their_phases(case):
    seen = []
    audit(case, on_step=lambda step: seen.append(step.note.partition(":")[0]))
    assert list(dict.fromkeys(seen)) == [
        "reconstructing",
        "the same on an untrained network",
        "attacking its inputs",
        "looking for members",
    ]


def test_a_finished_run_is_read_and_not_done_again(case, audited, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("done again")

    monkeypatch.setattr(search_module, "reconstruct_from_weights", refuse)
    (audited.folder / "report.html").unlink()
    again = audit(case, out=audited.folder)
    assert (audited.folder / "report.html").exists()
    assert again.results == audited.results and torch.equal(again.samples, audited.samples)
    assert again.reconstruction is None and again.score is None and again.warnings == audited.warnings


def test_another_seed_row_range_or_mean_is_another_run(case, audited, tmp_path):
    with pytest.raises(RunMismatch, match="seed: 0 there, 1 now"):
        audit(case, out=audited.folder, seed=1)
    x, y = case.train.x.clone(), case.train.y
    x[0, 0, 0, 0] += 0.01
    with pytest.raises(RunMismatch, match="data: "):
        audit(case, out=audited.folder, data=(x, y))
    with pytest.raises(RunMismatch, match="input_range: "):
        audit(case, out=audited.folder, space=(-2, 2.5))
    with pytest.raises(RunMismatch, match="normalization: "):
        audit(case, out=audited.folder, space=vg.InputSpace(mean=0.25))


def test_a_range_is_told_to_the_attack_and_keeps_the_mean_of_the_file(case, watched):
    vg.audit(case.model, **FAST, space=(-2.0, 2.5))
    space = watched[-1]["space"]
    assert (space.low, space.high) == (-2.0, 2.5) and isinstance(space.mean, torch.Tensor)


def test_a_folder_in_use_is_refused(case, tmp_path):
    out, refused = tmp_path / "r", []

    def second(step):
        if not refused:
            with pytest.raises(RunError, match="in use by another process"):
                vg.audit(case.model, **FAST, out=out)
            refused.append(step)

    vg.audit(case.model, **FAST, out=out, on_step=second)
    assert refused and RunFolder.read(out).state is RunState.FINISHED


def test_an_error_is_written_down_and_the_folder_can_be_used_again(case, tmp_path):
    def broken(step):
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        vg.audit(case.model, **FAST, out=tmp_path / "r", on_step=broken)
    run = RunFolder.read(tmp_path / "r")
    assert run.state is RunState.FAILED and run.manifest["reason"] == "RuntimeError: disk full"
    assert vg.audit(case.model, **FAST, out=tmp_path / "r").folder == tmp_path / "r"


def test_the_model_file_is_left_alone(case):
    before, state = sha256_of(case.model), torch.get_rng_state()
    audit(case)
    assert sha256_of(case.model) == before and torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"data": "digits", "held_out": None}, "1x8x8"),
        ({"data": (torch.rand(6, 1, 2, 4), torch.arange(6) % 3)}, "label"),
        ({"data": (torch.rand(6, 8), torch.rand(6))}, "one integer per sample"),
        ({"data": None}, "Give data too"),
        ({"backbone": "minilm", "group": "c4"}, "Give one of them"),
        ({"space": (1.0, 0.0)}, "range 1 0"),
        ({"weight_decay": math.nan}, "finite"),
        ({"solver": "magic"}, "magic"),
    ],
)
def test_mistakes_are_named_before_any_file_is_written(case, options, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        audit(case, out=tmp_path / "r", **options)
    assert not (tmp_path / "r" / "results.json").exists() and ("solver" in options or not (tmp_path / "r").exists())


def test_layers_outside_the_theory_are_audited_with_a_warning(tmp_path, monkeypatch):
    layers = "nn.Flatten(), nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1)"
    code = f"from torch import nn\ndef build():\n    return nn.Sequential({layers}).float()\n"
    (tmp_path / "own_code.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    save_model(importlib.import_module("own_code").build(), tmp_path / "bn.safetensors")
    found = vg.audit(tmp_path / "bn.safetensors", architecture="own_code:build", input_shape=(4,), **FAST)
    assert any("BatchNorm1d" in warning for warning in found.warnings)
    assert found.theory.homogeneous is False and found.results["theory"]["homogeneous"] is False
    direct = vg.audit(nn.Sequential(nn.Linear(4, 3), nn.Dropout(), nn.Linear(3, 1)), input_shape=(4,), **FAST)
    assert direct.results["model"]["architecture"].endswith("Sequential")


@pytest.mark.parametrize("content", [b"<html>not found</html>", b"", b"\x80\x02}q\x00.", b"\x08\0\0\0\0\0\0\0{"])
def test_files_that_are_not_weights(content, tmp_path):
    (tmp_path / "m.safetensors").write_bytes(content)
    with pytest.raises(ValueError):
        vg.audit(tmp_path / "m.safetensors", out=tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_nan_weights(tmp_path):
    model = mlp((4, 3, 1), dtype=torch.float32)
    state = {k: v.detach().clone() for k, v in model.state_dict().items()}
    next(iter(state.values()))[0, 0] = float("nan")
    save_file(state, tmp_path / "m.safetensors")
    with pytest.raises(ValueError, match="NaN"):
        vg.audit(tmp_path / "m.safetensors", out=tmp_path / "r")
    model.load_state_dict(state)
    with pytest.raises(ValueError, match="largest of the model's weights is nan"):
        vg.audit(model, loss="logistic")


def test_nothing_is_printed(case, capsys):
    audit(case)
    shown = capsys.readouterr()
    assert not shown.out and not shown.err
