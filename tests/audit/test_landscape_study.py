"""Landscapes as jobs: a folder, a report without loose ends, and a second call that only reads."""

import json
import sys
from pathlib import Path

import pytest

from vestige.audit import study_minima, study_neuron, study_overfitting

sys.path.append(str(Path(__file__).parents[1] / "report"))
from pages import Page

STUDIES = {
    "neuron": lambda out: study_neuron(dimension=3, bias=-0.5, inputs="ball", restarts=5, steps=50, out=out),
    "minima": lambda out: study_minima(k=6, restarts=8, steps=300, out=out),
    "overfitting": lambda out: study_overfitting("nearest_neighbor", dims=(1, 2), sizes=(40,), repeats=2, out=out),
}


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_leaves_a_report_and_is_not_done_twice(name, tmp_path):
    found = STUDIES[name](tmp_path / "run")
    page = Page((tmp_path / "run" / "report.html").read_text(encoding="utf-8"))
    assert not page.wrong and not page.open and "script" not in page.tags
    assert found.verdict in page.words
    assert json.loads((tmp_path / "run" / "results.json").read_text())["verdict"] == found.verdict
    stamp = (tmp_path / "run" / "results.json").stat().st_mtime_ns
    again = STUDIES[name](tmp_path / "run")
    assert again.results == found.results and (tmp_path / "run" / "results.json").stat().st_mtime_ns == stamp
    assert STUDIES[name](None).verdict == found.verdict and found.source


def test_the_numbers_in_a_study_are_those_of_the_method():
    found = study_neuron(dimension=3, restarts=6, steps=200)
    assert found.results["facts"] == [["starts", 6], ["proved to learn", 6], ["proved to fail", 0]]
    assert found.results["tables"][0]["rows"][0] == ["learns", 6, 0, 0, 0]
    profile = study_overfitting("margin", noise_levels=(0.2, 0.4), sizes=(30,), repeats=2)
    assert len(profile.results["tables"][0]["rows"][0]) == 2 + 2 + 3


def test_networks_by_name_fit_their_labels():
    for name in ("network", "network_without_bias"):
        found = study_overfitting(name, noise_levels=(0.2,), dims=(300,), sizes=(20,), repeats=2)
        assert found.results["facts"][1][1] > 0


def test_bad_options_are_refused(tmp_path):
    for call, message in (
        (lambda: study_neuron(dimension=0), "positive"),
        (lambda: study_neuron(inputs="cube"), "'gaussian'"),
        (lambda: study_neuron(inputs="ball", bias=-2.0), "0 on all inputs"),
        (lambda: study_minima(k=3, n=2), "n >= 3"),
        (lambda: study_overfitting("margin", dims=(2,)), "for 1 only"),
        (lambda: study_overfitting("forest"), "'margin'"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
