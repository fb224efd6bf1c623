"""Samples of tables: columns by name, each within its own range, and never a picture."""

import json

import pytest
import torch
from pages import HOSTILE, Page

import vestige as vg
from vestige.audit.summary import columns_of
from vestige.report import render_report
from vestige.report.picture import MOST, painter

NAMES = ["age", "income", HOSTILE]


def table(audit, *, scored):
    """The made-up audit, of samples with three columns."""
    manifest, results, tensors, progress = audit(scored=scored)
    results["model"] |= {"input_shape": [3], "columns": NAMES, "space": {"low": None, "high": None}}
    tensors["samples"] = torch.arange(36.0).reshape(12, 3) * torch.tensor([1.0, 1000.0, -0.01])
    if scored:
        tensors["truth"] = tensors["samples"].flip(0)
        tensors["unseen"] = tensors["samples"]
    return manifest, results, tensors, progress


@pytest.mark.parametrize("scored", [True, False])
def test_columns_are_named_and_nothing_is_a_picture(scored, audit):
    page = Page(render_report(*table(audit, scored=scored)))
    assert "img" not in page.tags and "script" not in page.tags and not page.wrong and not page.open
    assert [page.words.count(name) for name in NAMES] == [12] * 3  # once on each card
    assert page.words.count("–") >= 3 * scored  # the sample that has no match
    assert "34,000" in page.words  # the last income
    assert "from the smallest to the largest value of its column" in " ".join(page.words)


def test_a_bar_lies_between_the_least_and_the_largest_of_its_column():
    results = {"model": {"columns": ["a", "b"], "space": {"low": None, "high": None}}}
    seen = torch.tensor([[10.0, 7.0], [20.0, 7.0]])
    drawn = painter(results, seen)(torch.tensor([12.5, 9.0]))
    assert [(c.name, c.place, c.value) for c in drawn] == [("a", 25.0, "12.5"), ("b", 100.0, "9")]
    low, high = (painter(results, seen)(torch.tensor([value, 7.0]))[0].place for value in (5.0, 50.0))
    assert (low, high) == (0.0, 100.0)


def test_wide_tables_are_cut_and_say_so():
    names = [f"c{k}" for k in range(MOST + 5)]
    drawn = painter({"model": {"columns": names}}, torch.rand(4, len(names)))(torch.rand(len(names)))
    assert len(drawn) == MOST + 1 and drawn[-1].name == "and 5 columns more"


def test_samples_without_names_stay_pictures():
    space = {"space": {"low": 0.0, "high": 1.0}}
    for columns in ({}, {"columns": []}, {"columns": ["a", "b", "c"]}):
        assert isinstance(painter({"model": {**space, **columns}}, torch.rand(4, 2))(torch.rand(2)), str)


def test_names_come_from_the_data_or_else_from_the_models_file():
    data = vg.data.DataSet(name="d", x=torch.rand(4, 2), y=torch.arange(4) % 2, classes=("a", "b"), columns=("x", "y"))
    stored = {"columns": json.dumps(["p", "q"])}
    assert columns_of(data, stored, (2,)) == ["x", "y"]
    assert columns_of(None, stored, (2,)) == ["p", "q"]
    for odd in ('["p"]', '["p", 1]', '{"p": "q"}', "nonsense", "[" * 10**5):
        assert columns_of(None, {"columns": odd}, (2,)) == []
    assert columns_of(None, {"columns": json.dumps(["n" * 10**6, "q"])}, (2,))[0] == "n" * 80
    assert columns_of(data, {}, (1, 1, 2)) == []
