"""The audit of unlearning on a tiny network: results, files, resuming, refusals, and what the audit offers."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

import vestige as vg
from vestige.audit import retraining, unlearning, weights
from vestige.audit.forgotten import picked, read_request
from vestige.audit.summary import offer
from vestige.audit.training import fit, save, untrained
from vestige.audit.truth import draw, recipe
from vestige.data.load import load_data
from vestige.nets.checkpoint import load_model
from vestige.runs.folder import RunMismatch

FAST = {"restarts": 1, "n_candidates": 6, "steps": 30}


def unlearn(case, forget, **more):
    given = {"data": case.data, "held_out": case.held_out, "repair": 20, **FAST, **more}
    return vg.audit_unlearning(case.model, forget=forget, **given)


@pytest.fixture(scope="module")
def done(case, tmp_path_factory):
    return unlearn(case, [1, 2], out=tmp_path_factory.mktemp("unlearned") / "run")


def test_positions_are_forgotten_and_the_new_weights_say_so(case, done):
    results, folder = done.results, done.folder
    assert done.forgotten == (1, 2) and results["n_kept"] == 4 and results["outcome"] == "erased"
    assert set(results["attacks"]) == set(done.attacks) == {"before", "after", "retrained"}
    compared = results["evaluation"]["compared"]
    assert compared["retain_accuracy"]["unlearned"] == 1
    assert compared["forget_margin"]["unlearned"] < 0.5 < compared["forget_margin"]["untouched"]
    assert results["certificate"]["provable"] is False and results["heuristic"]
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["forgotten"]) == [1, 2] and metadata["unlearned_from"] == results["model"]["sha256"]
    new, old = (load_model(path) for path in (folder / "model.safetensors", case.model))
    assert new.input_shape == old.input_shape and torch.equal(new.tensors["mean"], old.tensors["mean"])
    assert not torch.equal(next(new.model.parameters()), next(old.model.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(new.model.parameters(), done.model.parameters(), strict=True))
    assert load_file(folder / "samples.safetensors")["truth"].shape == (6, 1, 2, 4)
    page = (folder / "report.html").read_text()
    assert "<script" not in page and page.count("data:image/png") >= 6 and "retrained" in page
    assert json.loads((folder / "results.json").read_text()) == results


def test_a_finished_run_is_read_and_another_request_refused(case, done):
    again = unlearn(case, "1,2", out=done.folder)
    assert again.results == done.results and again.forgotten == done.forgotten and not again.attacks
    assert all(torch.equal(a, b) for a, b in zip(again.model.parameters(), done.model.parameters(), strict=True))
    with pytest.raises(RunMismatch, match="forget: "):
        unlearn(case, [1], out=done.folder)


def test_without_a_folder_nothing_is_written_and_the_network_is_the_same(case, done, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = load_model(case.model)
    known = {"input_shape": (1, 2, 4), "space": model.space, "loss": "logistic", "weight_decay": 1e-3}
    before = {name: value.clone() for name, value in model.model.state_dict().items()}
    found = vg.audit_unlearning(
        model.model, data=case.train, held_out=case.held_out, forget=[2, 1], repair=20, **known, **FAST
    )
    assert found.folder is None and not list(tmp_path.iterdir())
    assert all(torch.equal(a, b) for a, b in zip(found.model.parameters(), done.model.parameters(), strict=True))
    assert all(torch.equal(before[name], value) for name, value in model.model.state_dict().items())


def test_retraining_is_left_out_where_it_is_not_wanted_or_takes_too_long(case, done, monkeypatch):
    seconds = done.results["seconds"]
    assert seconds["retraining"] is not None and 0 < seconds["retraining_at_most"] < 1800
    monkeypatch.setattr(retraining, "AFFORDABLE", 0.0)
    for wanted, words in ((False, "not asked for"), (None, "hours")):
        found = unlearn(case, [1, 2], retrain=wanted)
        assert set(found.attacks) == {"before", "after"} and found.evaluation is None
        assert found.results["seconds"]["retraining"] is None and "retrained" not in found.verdict
        assert any("No network was retrained" in said and words in said for said in found.warnings)
        assert all(torch.equal(a, b) for a, b in zip(found.model.parameters(), done.model.parameters(), strict=True))
    assert "retrained" in unlearn(case, [1, 2], retrain=True).attacks


@pytest.mark.parametrize(
    ("forget", "words"),
    [
        ("0,1,2,3,4,5", "names all 6"),
        ("9", "0 to 5"),
        ("some", "leaked:5"),
        ("leaked:0", "leaked:5"),
        ([-1], "0 to 5 are allowed"),
    ],
)
def test_what_cannot_be_forgotten_is_refused(case, forget, words):
    with pytest.raises(ValueError, match=words):
        unlearn(case, forget)


def test_a_network_that_has_no_terms_of_samples_is_refused_before_any_search(monkeypatch):
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(12, 4, generator=draw), torch.arange(12) % 2
    model = nn.Sequential(nn.Linear(4, 40), nn.BatchNorm1d(40), nn.ReLU(), nn.Linear(40, 2))
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    monkeypatch.setattr(unlearning, "_run", lambda *_: pytest.fail("work was begun"))
    with pytest.raises(ValueError, match="no sample has a term of its own"):
        vg.audit_unlearning(model.eval(), data=(x, y), forget="1", input_shape=(4,), loss="cross_entropy")


def test_those_that_leak_most_are_picked():
    similarity, recovered = torch.tensor([0.9, 0.2, 0.95, 0.8]), torch.tensor([True, False, True, True])
    assert picked("leaked", similarity, recovered).tolist() == [0, 2, 3]
    assert picked("leaked:2", similarity, recovered).tolist() == [0, 2]
    for given in ("3,1,3", [3, 1], torch.tensor([1, 3]), torch.tensor([False, True, False, True])):
        assert picked(read_request(given, 4), similarity, recovered).tolist() == [1, 3]
    with pytest.raises(ValueError, match="no sample leaks"):
        picked("leaked", similarity, ~recovered & recovered)
    with pytest.raises(ValueError, match="leaked:1 for those"):
        picked("leaked", similarity, recovered | ~recovered)


@pytest.mark.parametrize(
    ("recovered", "command"),
    [
        (3, "vestige unlearn 'm y.safetensors' --data 'npz:d e.npz' --forget leaked"),
        (8, "vestige unlearn 'm y.safetensors' --data 'npz:d e.npz' --forget leaked:2"),
        (0, None),
    ],
)
def test_the_audit_offers_it_where_something_leaked(recovered, command):
    assert offer("m y.safetensors", "npz:d e.npz", torch.arange(8) < recovered) == command


def test_the_offer_of_an_audit_stands_in_the_results_and_on_the_page(case, tmp_path, monkeypatch):
    real, chance = weights.compare, 0

    def leaky(*args, **options):
        found = real(*args, **options)
        nulls = [replace(null, n_recovered=chance) for null in found.nulls]
        return replace(found, recovered=torch.arange(6) < 2, n_recovered=2, nulls=tuple(nulls))

    nothing = vg.audit(case.model, data=case.data, out=tmp_path / "nothing", **FAST)
    assert nothing.results["unlearn"] is None
    assert "vestige unlearn" not in (tmp_path / "nothing" / "report.html").read_text()
    monkeypatch.setattr(weights, "compare", leaky)
    some = vg.audit(case.model, data=case.data, out=tmp_path / "some", **FAST)
    command = some.results["unlearn"]
    assert command == f"vestige unlearn {case.model} --data {case.data} --forget leaked"
    assert f"<code>{command}</code>" in (tmp_path / "some" / "report.html").read_text()
    chance = 2
    equal = vg.audit(case.model, data=case.data, out=tmp_path / "equal", **FAST)
    assert "shows no leak" in equal.verdict and equal.results["unlearn"] is None
    assert "vestige unlearn" not in (tmp_path / "equal" / "report.html").read_text()


@pytest.mark.slow
def test_the_forgotten_sample_of_a_real_digit_network_is_gone(tmp_path):
    digits = load_data("digits")
    chosen, _ = draw(digits, 20, 0)
    path = tmp_path / "m.safetensors"
    save(fit(untrained(chosen), chosen, weight_decay=1e-3), chosen, path, recipe(digits, 20, 0, None))
    found = vg.audit_unlearning(path, data="digits", forget="leaked:3")
    attacks = found.results["attacks"]
    assert attacks["before"]["forgotten"] == 3
    assert attacks["after"]["forgotten"] == attacks["retrained"]["forgotten"] == 0
    assert attacks["after"]["kept"] >= 12 and attacks["retrained"]["kept"] >= 12
    assert "recovered 3 before and 0 after" in found.verdict
