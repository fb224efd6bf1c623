"""The page of a study: lengths that mean what their note says, empty tables, names of places, and the words it uses."""

import re

import pytest
import torch
from pages import HOSTILE, Page, wide_tables

from vestige.report.study import render_study
from vestige.report.words import words_of

MANIFEST = {"config": {"vestige": "0"}, "started": "2026-11-30T00:04:12+00:00", "key": "ab" * 32}


def page_of(**parts):
    plain = {"tables": [], "curves": [], "facts": [], "map": None, "warnings": [], "citations": "none", "verb": "study"}
    results = {**plain, "title": "title", "verdict": "verdict", **parts}
    return render_study(MANIFEST, results, {"none": torch.zeros(1)})


def widths(text):
    return [float(width) for width in re.findall(r'style="width: ([\d.]+)%', text)]


def test_bars_reach_as_far_as_their_share_of_what_fills_them():
    bars = {"title": "used", "note": "", "rows": [["a", 0.2], ["b", 0.5], ["c", -1.0]]}
    assert widths(page_of(bars=[{**bars, "full": 1.0}])) == [20.0, 50.0, 0.0]
    assert widths(page_of(bars=[bars])) == [40.0, 100.0, 0.0]
    assert widths(page_of(bars=[{**bars, "full": 0.1}])) == [100.0, 100.0, 0.0]


def test_a_table_without_rows_says_so():
    table = {"title": "minima", "note": "", "columns": ["a", "b"], "rows": []}
    empty = Page(page_of(tables=[table]))
    assert "None." in empty.words and "table" not in empty.tags
    full = Page(page_of(tables=[{**table, "rows": [[1, "x"]]}]))
    assert "None." not in full.words and "table" in full.tags


def test_a_claim_that_fails_is_in_the_color_of_a_fault():
    table = {"title": "claims", "note": "", "columns": ["verdict", "claim"], "rows": [["FAILS", "a"], ["holds", "b"]]}
    text = page_of(tables=[table])
    assert '<td class="fails">FAILS</td>' in text and "<td>holds</td>" in text
    assert re.search(r"td\.fails \{[^}]*var\(--bad\)", text)


def test_values_of_wide_tables_stand_under_the_names_of_their_columns_on_a_phone():
    columns = ["topic", "a < b", "b", "c", HOSTILE]
    text = page_of(
        tables=[{"title": "t", "note": "", "columns": columns, "rows": [["x", 1, 2, 3, 4], ["y", 5, 6, 7, 8]]}]
    )
    assert [*wide_tables(text)] == [(columns, [columns, columns])] and "script" not in Page(text).tags
    assert (
        "data-of"
        not in page_of(tables=[{"title": "t", "note": "", "columns": ["a"], "rows": [[1]]}]).split("</style>")[1]
    )


def test_headers_wrap_where_a_page_is_narrow_and_numbers_do_not():
    rules = re.findall(r"([^{}]+)\{([^{}]*)\}", page_of())
    kept = [name.strip() for name, rule in rules if "white-space: nowrap" in rule]
    assert "td.n" in kept and not any(re.search(r"(^|[ ,])(th|\.n)\b", name) for name in kept)


def test_names_of_places_stand_below_their_points_and_stay_text():
    curve = {"title": "t", "x": [1.0, 2.0], "series": {"a": [1.0, 2.0]}, "xlabel": "x", "ylabel": "y", "note": ""}
    page = Page(page_of(curves=[{**curve, "ticks": ["cities", HOSTILE]}]))
    assert "cities" in page.words and HOSTILE in page.words and "script" not in page.tags


def test_a_page_says_when_its_run_started_and_explains_the_words_on_it_only():
    text = page_of(facts=[["smallest margin", 1.0]])
    page = Page(text)
    assert "2026-11-30 00:04 UTC" in text and not page.wrong and not page.open
    assert "by how much an output favors the right class" in page.words
    assert "Words used here" not in page_of(facts=[["sides", 1.0]])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("aggregate of investigations", []),
        ('<svg id="margin-1" class="null">x</svg>', []),
        ("gates and kinks", ["gate", "kink"]),
        ("an auc of 0.5", ["AUC"]),
    ],
)
def test_a_word_is_explained_where_it_begins_a_word_of_the_text(text, words):
    assert [word for word, _ in words_of(text)] == words
