"""`vestige attack` from the command line: the shipped model, a report with pictures, resume, refusals."""

import json

import pytest
import torch
from safetensors.torch import load_file

from vestige.cli import run
from vestige.cli.attack import shipped
from vestige.nets.checkpoint import load_model


@pytest.fixture
def attacked(tmp_path):
    torch.set_default_dtype(torch.float32)  # as the command runs for a user
    arguments = ["attack", "--n", "40", "--out", str(tmp_path / "run")]
    assert run(arguments) == 0
    return tmp_path / "run", arguments


def test_the_shipped_model_gets_a_report_that_repeats(attacked, capsys):
    folder, arguments = attacked
    results = json.loads((folder / "results.json").read_text())
    assert 0.9 <= results["clean_accuracy"] <= 1 and 0.5 <= results["robust_accuracy"] < results["clean_accuracy"]
    kept = load_file(folder / "adversarial.safetensors")
    assert bool(((kept["adv"] - kept["clean"]).abs().amax((1, 2, 3)) <= 0.15 + 1e-6).all())
    model = load_model(shipped()).model
    again = (model(kept["adv"]).argmax(1) == kept["label"]).double().mean().item()
    assert again == pytest.approx(results["robust_accuracy"], abs=1e-12)
    page = (folder / "report.html").read_text()
    assert page.count("data:image/png") >= 3 and "<script" not in page and "95 % interval" in page
    assert run(arguments) == 0 and run(["report", str(folder)]) == 0  # finished: nothing is done again
    assert "withstand" in capsys.readouterr().out


def test_another_eps_is_refused_in_the_same_folder(attacked, capsys):
    _, arguments = attacked
    assert run([*arguments, "--eps", "8/255"]) == 2
    assert "another configuration" in capsys.readouterr().err


def test_theory_answers_three_questions_and_the_page_shows_them(tmp_path):
    torch.set_default_dtype(torch.float32)
    folder = tmp_path / "run"
    assert run(["attack", "--n", "60", "--theory", "--pair", "3,8", "--out", str(folder)]) == 0
    theory = json.loads((folder / "results.json").read_text())["theory"]
    assert theory["universal"]["pair"] == [3, 8] and theory["universal"]["radius"] > 0
    assert theory["off_subspace"]["codimension"] == 8  # two columns of pixels, nearly, that no digit reaches
    assert theory["linearity"]["reach"] >= 0.2
    page = (folder / "report.html").read_text()
    assert "Why it is fooled" in page and page.count("<svg") == 2


def test_a_network_of_one_output_is_attacked_as_two_logits(tmp_path):
    torch.set_default_dtype(torch.float32)
    model = tmp_path / "odd.safetensors"
    options = [
        "--data",
        "digits",
        "--n",
        "20",
        "--positive",
        "1,3,5,7,9",
        "--arch",
        "mlp:64-50-1",
        "--weight-decay",
        "0",
    ]
    assert run(["train", *options, "--out", str(model)]) == 0
    folder = tmp_path / "run"
    assert run(["attack", str(model), "--n", "60", "--eps", "0.05", "--theory", "--out", str(folder)]) == 0
    results = json.loads((folder / "results.json").read_text())
    assert len(results["classes"]) == 2 and results["robust_accuracy"] < results["clean_accuracy"]
    universal = results["theory"]["universal"]
    assert universal["pair"] is None and universal["left_out"] == round(60 * (1 - results["clean_accuracy"]))
    assert "samples on the margin" in (folder / "report.html").read_text()


def test_theory_says_what_it_lacks(tmp_path):
    torch.set_default_dtype(torch.float32)
    assert run(["attack", "--n", "20", "--theory", "--out", str(tmp_path / "run")]) == 0
    theory = json.loads((tmp_path / "run" / "results.json").read_text())["theory"]
    assert "name two" in theory["universal"]["reason"]
    assert "name two" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--eps", "8"], "8/255"),
        (["--eps", "eight"], "quotient"),
        (["--norm", "l7"], "linf"),
        (["--preset", "quick"], "allowed are fast"),
        (["--input-shape", "1x9x9"], "does not accept"),
        (["--theory", "--pair", "3"], "two class numbers"),
    ],
)
def test_mistakes_are_one_line(tmp_path, capsys, options, message):
    torch.set_default_dtype(torch.float32)
    assert run(["attack", "--n", "10", "--out", str(tmp_path / "run"), *options]) == 2
    assert message in capsys.readouterr().err


def test_the_shipped_model_is_small():
    assert shipped().stat().st_size < 2**20
