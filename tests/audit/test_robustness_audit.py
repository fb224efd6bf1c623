"""The audit of a classifier's inputs: the shipped model, a report with pictures, resuming, refusals."""

import sys

import pytest
import torch
from safetensors.torch import load_file

import vestige as vg
from vestige.audit.robustness import shipped_model
from vestige.audit.training import fit, save, untrained
from vestige.audit.truth import draw, recipe, split_classes
from vestige.data.load import load_data
from vestige.nets.checkpoint import load_model
from vestige.runs.folder import RunMismatch

DIGITS = {"data": "digits", "eps": 0.15}


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    return vg.audit_robustness(shipped_model(), **DIGITS, n=40, out=tmp_path_factory.mktemp("attacked") / "run")


def test_the_shipped_model_gets_a_report_that_repeats(attacked):
    assert 0.9 <= attacked.clean_accuracy <= 1 and 0.5 <= attacked.robust_accuracy < attacked.clean_accuracy
    assert attacked.robust_interval[0] <= attacked.robust_accuracy <= attacked.robust_interval[1]
    kept = load_file(attacked.folder / "adversarial.safetensors")
    assert torch.equal(kept["adv"], attacked.adv)
    assert bool(((attacked.adv - attacked.clean).abs().amax((1, 2, 3)) <= 0.15 + 1e-6).all())
    model = load_model(shipped_model()).model
    again = (model(kept["adv"]).argmax(1) == kept["label"]).double().mean().item()
    assert again == pytest.approx(attacked.robust_accuracy, abs=1e-12)
    page = (attacked.folder / "report.html").read_text()
    assert page.count("data:image/png") >= 3 and "<script" not in page and "95 % interval" in page


def test_a_finished_run_is_read_and_another_eps_or_range_refused(attacked):
    again = vg.audit_robustness(shipped_model(), **DIGITS, n=40, out=attacked.folder)
    assert again.results == attacked.results and torch.equal(again.adv, attacked.adv) and again.report is None
    with pytest.raises(RunMismatch, match="eps: "):
        vg.audit_robustness(shipped_model(), data="digits", eps=8 / 255, n=40, out=attacked.folder)
    with pytest.raises(RunMismatch, match="input_range: "):
        vg.audit_robustness(shipped_model(), **DIGITS, n=40, space=(-1, 1), out=attacked.folder)


def test_a_module_and_tensors_need_no_file(attacked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loaded = load_model(shipped_model())
    kept = load_file(attacked.folder / "adversarial.safetensors")
    found = vg.audit_robustness(
        loaded.model, data=(kept["clean"], kept["label"]), eps=0.15, input_shape=(1, 8, 8), space=loaded.space
    )
    assert found.robust_accuracy == attacked.robust_accuracy and torch.equal(found.adv, attacked.adv)
    assert found.folder is None and not list(tmp_path.iterdir())


def test_a_rare_class_does_not_stop_the_attack():
    generator = torch.Generator().manual_seed(0)
    y = torch.tensor([0] * 30 + [1] * 29 + [2])
    data = (torch.rand(60, 4, generator=generator), y)
    found = vg.audit_robustness(vg.nets.mlp([4, 8, 3]), data=data, eps=0.1, n=20)
    assert found.results["n"] == 20 and any("class '2' has 1 samples, too few" in note for note in found.warnings)


def test_theory_answers_three_questions_and_the_page_shows_them(tmp_path):
    found = vg.audit_robustness(shipped_model(), **DIGITS, n=60, theory=True, pair=(3, 8), out=tmp_path / "run")
    assert found.theory["universal"]["pair"] == [3, 8] and found.theory["universal"]["radius"] > 0
    assert found.theory["off_subspace"]["codimension"] == 8  # two columns of pixels, nearly, that no digit reaches
    assert found.theory["linearity"]["reach"] >= 0.2
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Why it is fooled" in page and page.count("<svg") == 3


def test_a_network_of_one_output_is_attacked_as_two_logits(tmp_path):
    digits = load_data("digits")
    chosen, _ = draw(split_classes(digits, "1,3,5,7,9"), 20, 0)
    path = tmp_path / "odd.safetensors"
    made_from = recipe(digits, 20, 0, "1,3,5,7,9")
    save(fit(untrained(chosen, architecture="mlp:64-50-1"), chosen), chosen, path, made_from)
    found = vg.audit_robustness(path, data="digits", n=60, eps=0.05, theory=True, out=tmp_path / "run")
    assert len(found.results["classes"]) == 2 and found.robust_accuracy < found.clean_accuracy
    universal = found.theory["universal"]
    assert universal["pair"] is None and universal["left_out"] == round(60 * (1 - found.clean_accuracy))
    assert "samples on the margin" in (tmp_path / "run" / "report.html").read_text()


def test_theory_finds_the_two_classes_itself(tmp_path):
    found = vg.audit_robustness(shipped_model(), **DIGITS, n=40, theory=True, out=tmp_path / "run")
    universal = found.theory["universal"]
    assert universal["chosen"] and len(set(universal["pair"])) == 2 and universal["radius"] > 0
    assert "which the model separates least" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize(
    ("wrong", "options", "message"),
    [
        ("one class", {}, "of 1 classes"),
        ("mistakes", {}, "gets 0 right"),
        ("given", {"pair": (3, 12)}, "pair=.3, 12. given"),
        ("given", {"pair": (3, 3)}, "two different classes"),
    ],
)
def test_without_two_classes_theory_says_so_before_the_attack(wrong, options, message, monkeypatch):
    monkeypatch.setattr(sys.modules["vestige.audit.robustness"], "evaluate_robustness", None)  # no work is done
    digits = load_data("digits", split="test")
    rows = digits.y == 3 if wrong == "one class" else digits.y >= 0
    y = (digits.y + 1) % 10 if wrong == "mistakes" else digits.y
    with pytest.raises(ValueError, match=message):
        vg.audit_robustness(shipped_model(), data=(digits.x[rows], y[rows]), eps=0.1, theory=True, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eps": 8}, "8/255"),
        ({"norm": "l7"}, "linf"),
        ({"attacks": "fast,quick"}, "fast"),
        ({"input_shape": (1, 9, 9)}, "does not accept"),
    ],
)
def test_mistakes_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        vg.audit_robustness(shipped_model(), **{**DIGITS, "n": 10, **options})


def test_the_shipped_model_is_small():
    assert shipped_model().stat().st_size < 2**20
