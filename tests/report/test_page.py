"""A page is made from a finished folder or not at all, and what goes into a template is escaped or missed."""

import stat

import pytest
import torch
from jinja2 import UndefinedError
from pages import HOSTILE

from vestige.report.page import template, write_page
from vestige.runs.folder import RunError, RunFolder

TENSORS = {"a": torch.ones(2)}


def finished(folder):
    run = RunFolder.open(folder, {"verb": "audit"})
    run.save_tensors("kept", TENSORS)
    run.finish({"n": 1})
    return run


def test_a_page_is_written_from_what_the_folder_holds_for_its_owner_alone(tmp_path):
    run = finished(tmp_path)
    page = write_page(run, "kept", lambda m, r, t: f"{m['config']['verb']} {r['n']} {t['a'].sum():g} é", "numbers")
    assert page == tmp_path / "report.html" and page.read_text(encoding="utf-8") == "audit 1 2 é"
    assert stat.S_IMODE(page.stat().st_mode) == 0o600


def test_without_results_or_tensors_there_is_no_page(tmp_path):
    run = RunFolder.open(tmp_path / "a", {})
    with pytest.raises(RunError, match="no results to report"):
        write_page(run, "kept", lambda *_: "", "numbers")
    with pytest.raises(RunError, match=r"lacks others\.safetensors"):
        write_page(finished(tmp_path / "b"), "others", lambda *_: "", "numbers")
    assert not list(tmp_path.rglob("report.html"))


@pytest.mark.parametrize("error", [KeyError, TypeError, IndexError])
def test_results_of_another_kind_are_named_and_other_errors_are_ours(error, tmp_path):
    def broken(*_):
        raise error("x")

    run = finished(tmp_path)
    with pytest.raises(RunError, match=f"does not hold numbers: {error.__name__}"):
        write_page(run, "kept", broken, "numbers")
    with pytest.raises(ZeroDivisionError):
        write_page(run, "kept", lambda *_: 1 / 0, "numbers")
    assert not (tmp_path / "report.html").exists()


def test_a_template_escapes_and_misses():
    page = template("report.html.jinja")
    with pytest.raises(UndefinedError):
        page.render()
    assert HOSTILE not in page.environment.from_string("{{ x }}").render(x=HOSTILE)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("number", None, "–"),
        ("number", 1234567, "1,234,567"),
        ("number", 0.123456, "0.123"),
        ("number", True, "True"),
        ("number", "x", "x"),
        ("fixed", 0.5, "0.500"),
        ("fixed", None, "–"),
        ("percent", 0.0034, "0.34 %"),
        ("percent", 5.736e-5, "0.0057 %"),
        ("percent", 2.3e-11, "< 0.001 %"),
        ("percent", 0.0, "0 %"),
        ("percent", None, "–"),
    ],
)
def test_numbers_are_short_and_a_missing_one_is_a_dash(name, value, text):
    assert template("report.html.jinja").environment.filters[name](value) == text
