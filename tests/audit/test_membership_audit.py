"""The job and the audit's section on membership: candidates of a file or a module, nulls, verdicts and pages."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from vestige.audit import audit_membership
from vestige.audit.candidates import asked_of, forgotten_members
from vestige.audit.target import read_target
from vestige.audit.truth import read_data, read_truth
from vestige.core.rng import child
from vestige.nets.checkpoint import save_model
from vestige.nets.fully_connected import mlp
from vestige.report.verdict import Level, membership_verdict, verdict

MEMBERS, OTHERS, UNSEEN = 60, 60, 200


def fitted(x, y, seed=0):
    net = mlp([40, 30, 3], bias="all", generator=child(seed, "start"), dtype=torch.float64)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(300):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net.eval()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A network in a file, candidates of which the first 60 are members, and a reference."""
    folder, draw = tmp_path_factory.mktemp("membership"), np.random.default_rng(0)
    y = np.arange(MEMBERS + OTHERS + UNSEEN) % 3
    x = 0.5 + 0.1 * draw.standard_normal((len(y), 40))
    x[np.arange(len(y)), y] += 0.1
    first, rest = slice(0, MEMBERS + OTHERS), slice(MEMBERS + OTHERS, None)
    np.savez(folder / "candidates.npz", x=x[first], y=y[first])
    np.savez(folder / "reference.npz", x=x[rest], y=y[rest])
    known = torch.from_numpy(10 * x[:MEMBERS] - 5), torch.from_numpy(y[:MEMBERS])
    net = fitted(*known)
    with torch.no_grad():  # the same network on data in [0, 1]
        net[1].bias.sub_(5 * net[1].weight.sum(1))
        net[1].weight.mul_(10)
    path = folder / "m.safetensors"
    save_model(net, path, metadata={"loss": "cross_entropy"})
    return {
        "model": path,
        "data": f"npz:{folder / 'candidates.npz'}",
        "reference": f"npz:{folder / 'reference.npz'}",
        "space": (-9.0, 9.0),
        "folder": folder,
    }


def options(made, **changed):
    return {key: value for key, value in (made | changed).items() if key != "folder"}


@pytest.fixture(scope="module")
def found(made):
    return audit_membership(**options(made), out=made["folder"] / "run")


def test_members_are_named_and_others_are_not(found):
    section, scores = found.results["membership"], found.membership
    held = scores.held(section["rate"])
    assert section["n_held"] == len(held) > 20 and (held < MEMBERS).double().mean() > 0.85
    assert found.level is Level.LEAKS and str(section["n_held"]) in found.verdict
    assert [row["position"] for row in section["held"]][:10] == held[:10].tolist()
    assert {null["name"]: null["n_held"] for null in section["nulls"]} == {
        "an untrained network": 0,
        "unseen samples as candidates": 0,
        "wrong labels": 0,
    }


def test_the_folder_holds_the_page_and_every_number(found, made):
    page = (found.folder / "report.html").read_text()
    assert found.verdict in page and page.count('alt="candidate"') == 24 and "<script" not in page
    assert json.loads((found.folder / "results.json").read_text()) == found.results
    again = audit_membership(**options(made), out=found.folder)
    assert again.membership is None and again.results == found.results and again.level is found.level
    with pytest.raises(ValueError, match="other"):
        audit_membership(**options(made, seed=1), out=found.folder)


def test_a_module_is_asked_as_its_file(made, found):
    from vestige.nets.checkpoint import load_model

    net = load_model(made["model"]).model
    pairs = {key: (lambda d: (d.x, d.y))(read_data(made[key])) for key in ("data", "reference")}
    same = audit_membership(**options(made, model=net, loss="cross_entropy", **pairs))
    torch.testing.assert_close(same.membership.scores, found.membership.scores)
    assert same.folder is None


def test_without_reference_nothing_is_named(made):
    found = audit_membership(**options(made, reference=None))
    assert found.level is Level.UNKNOWN and found.results["membership"]["n_held"] is None
    assert any("no reference" in warning for warning in found.warnings)


def test_another_distribution_names_nobody(made):
    dataset = read_data(made["reference"])
    found = audit_membership(**options(made, reference=(dataset.x + 0.2, dataset.y)))
    assert found.level is Level.UNKNOWN and "differ without the network" in found.verdict


def test_candidates_that_do_not_fit_the_model_are_no_good_news(made):
    """Null: the same reference with candidates that fit is green or red, never gray."""
    rest = read_data(made["reference"])
    half = {"reference": (rest.x[100:], rest.y[100:])}
    found = audit_membership(**options(made, data=(rest.x[:100], (rest.y[:100] + 1) % 3), **half))
    assert found.level is Level.UNKNOWN and "do not fit this model" in found.verdict
    assert not found.results["fit"]["fits"] and "by chance" in found.verdict
    assert not [warning for warning in found.warnings if warning in found.verdict]
    found = audit_membership(**options(made, data=(rest.x[:100], rest.y[:100]), **half))
    assert found.level is Level.NOTHING and found.results["fit"]["fits"]


def test_what_cannot_be_asked_is_refused(made):
    with pytest.raises(ValueError, match="among the candidates"):
        audit_membership(**options(made, reference=made["data"]))
    with pytest.raises(ValueError, match="must agree"):
        audit_membership(**options(made, reference=(torch.zeros(9, 5), torch.arange(9) % 3)))
    with pytest.raises(ValueError, match="same weights"):
        audit_membership(**options(made, base=made["model"]))


def test_half_of_the_unseen_stand_among_the_candidates(made):
    truth = read_truth(made["data"], made["reference"], {})
    asked = asked_of(truth, 0)
    assert len(asked.reference) == UNSEEN // 2 and len(asked.candidates) == MEMBERS + OTHERS + UNSEEN // 2
    assert int(asked.member.sum()) == MEMBERS + OTHERS and (asked.position >= 0).equal(asked.member)
    torch.testing.assert_close(asked.candidates.x[asked.member], truth.train.x)
    assert asked_of(read_truth(made["data"], None, {}), 0) is None


def test_forgotten_samples_are_members_until_the_network_is_trained_without_them(made):
    """The truth is the first 60; the first 20 are forgotten by training on the others alone."""
    candidates = read_data(made["data"])
    members = (candidates.x[:MEMBERS], candidates.y[:MEMBERS])
    truth = read_truth(members, made["reference"], {})
    target = read_target(made["model"], space=made["space"])
    again = fitted(10 * members[0][20:].double() - 5, members[1][20:])
    with torch.no_grad():
        again[1].bias.sub_(5 * again[1].weight.sum(1))
        again[1].weight.mul_(10)
    rows = forgotten_members(target, truth, {"before": target.model, "after": again}, torch.arange(20), seed=0)
    assert rows["before"]["named"] > 4 > 1 >= rows["after"]["named"] and rows["before"]["n"] == 20
    assert rows["before"]["median_p"] < 0.05 < rows["after"]["median_p"]
    assert forgotten_members(target, read_truth(members, None, {}), {}, torch.arange(2), seed=0) is None


def rates(common, low, rare=0.0):
    return {
        "weights": {"rates": [{"false": 0.01, "true": common, "low": low}, {"false": 0.001, "true": rare}]},
        "loss": {"rates": [{"true": 0.01}, {"true": 0.0}]},
        "members": 50,
    }


ROW = {"n": 40, "n_reference": 90, "n_held": 0, "rate": 0.05, "differs": False, "nulls": [], "curve": None}


@pytest.mark.parametrize(
    ("changed", "level", "words"),
    [
        ({}, Level.NOTHING, "does not prove"),
        ({"n_held": 1}, Level.SOME, "1 of 40 candidates is named"),
        ({"n_held": 10}, Level.LEAKS, "10 of 40 candidates are named"),
        ({"n_reference": None, "n_held": None}, Level.UNKNOWN, "ranked"),
        ({"n_held": 10, "differs": True, "blind_auc": 0.9}, Level.UNKNOWN, "AUC 0.90"),
        ({"n_held": 10, "nulls": [{"name": "x", "must": True, "uniform": 1e-9}]}, Level.UNKNOWN, "not at chance"),
        ({"n_held": 10, "nulls": [{"name": "x", "must": True, "uniform": None}]}, Level.UNKNOWN, "not at chance"),
        ({"n_held": 10, "nulls": [{"name": "x", "must": False, "uniform": 1e-9}]}, Level.LEAKS, "are named"),
        ({"curve": rates(0.02, 0.0)}, Level.NOTHING, "no more than chance"),
        ({"curve": rates(0.1, 0.03)}, Level.SOME, "10.0% of 50"),
        ({"curve": rates(0.5, 0.3)}, Level.LEAKS, "50.0% of 50"),
    ],
)
def test_the_verdict_claims_what_was_measured(changed, level, words):
    found, sentence = membership_verdict(ROW | changed)
    assert found is level and words in sentence


def test_membership_is_the_finding_where_reconstruction_has_none():
    nothing = {"reconstruction": {}, "score": {"n": 20, "n_recovered": 0, "rate": 0.001}}
    held = {"level": "some", "verdict": "Held."}
    assert verdict(nothing | {"membership": held})[0] is Level.SOME
    assert verdict(nothing | {"membership": held})[1].startswith("Held. None of the 20")
    assert verdict(nothing | {"membership": {"level": "unknown", "verdict": "?"}}) == verdict(nothing)
    leak = {"reconstruction": {}, "score": {"n": 20, "n_recovered": 20, "rate": 0.001}}
    assert verdict(leak | {"membership": held}) == verdict(leak)
