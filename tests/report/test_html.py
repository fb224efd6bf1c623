"""The page: complete, self-contained, without a script, and no name from a file can break out of its place."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pages import HOSTILE, Page, wide_tables

from vestige.report import figures, render_report, write_report
from vestige.runs.folder import RunError, RunFolder

LOADING = {"src", "href", "xlink:href", "action", "data", "srcset", "poster"}


@pytest.mark.parametrize("scored", [True, False])
def test_page_is_whole_and_self_contained(scored, audit):
    page = Page(render_report(*audit(scored=scored)))
    assert not page.wrong and not page.open
    assert "script" not in page.tags and "iframe" not in page.tags and "link" not in page.tags
    assert not [a for a in page.attributes if a[1].startswith("on")]
    loaded = [value for _, name, value in page.attributes if name in LOADING]
    assert loaded and all(value.startswith(("data:image/png;base64,", "#")) for value in loaded)
    policy = next(v for t, n, v in page.attributes if t == "meta" and n == "content" and "default-src" in v)
    assert policy.startswith("default-src 'none'")
    assert page.tags.count("svg") == (4 if scored else 3)
    assert page.tags.count("img") == (23 if scored else 12)


def test_page_shows_the_residual_with_the_best_gates_where_it_is_known(audit):
    manifest, results, tensors, progress = audit()
    words = " ".join(Page(render_report(manifest, results, tensors, progress)).words)
    assert "0.34 %" in words and "Clarke" in words
    results["stationarity"]["residual_clarke"] = None
    words = " ".join(Page(render_report(manifest, results, tensors, progress)).words)
    assert "21 %" in words and "Clarke" not in words


def test_page_says_what_was_found(audit):
    words = " ".join(Page(render_report(*audit())).words)
    for expected in (
        "8 of the 12 training samples",
        "held-out samples",
        "1,777",
        "0.862",
        "Homogeneous of degree 2",
        "cross_entropy (from the model file)",
        "mlp:64-1000-10",
        "Reconstructing & <more>",
        "31 % of the gates",
        "2.13.0+cpu",
        "It used all its steps",
    ):
        assert expected in words
    assert "absent" not in words


def test_values_of_wide_tables_stand_under_the_names_of_their_columns(audit):
    tables = [*wide_tables(render_report(*audit()))]
    assert len(tables) >= 2
    for names, rows in tables:
        assert rows and all(row == names[1:] for row in rows)


def test_page_ends_its_pictures_with_the_command_that_takes_them_out(audit):
    manifest, results, tensors, progress = audit()
    command = "vestige unlearn model.safetensors --data ... --forget leaked"
    assert command in Page(render_report(manifest, results, tensors, progress)).words
    without = [{**results, "unlearn": None}, {key: value for key, value in results.items() if key != "unlearn"}]
    for other in without:  # nothing leaked; the results of an older version
        assert "vestige unlearn" not in render_report(manifest, other, tensors, progress)


def test_hostile_names_stay_text(audit):
    manifest, results, tensors, progress = audit(name=HOSTILE)
    results["warnings"] = [HOSTILE]
    results["model"]["architecture"] = HOSTILE
    results["citations"] = HOSTILE
    results["unlearn"] = HOSTILE
    results["theory"]["layers"][0].update(name=HOSTILE, kind=HOSTILE, reason=HOSTILE, falls=HOSTILE)
    results["reconstruction"]["residual_per_layer"][HOSTILE] = 0.5
    results["score"]["nulls"][0]["name"] = HOSTILE
    results["level"] = HOSTILE
    manifest["config"][HOSTILE] = HOSTILE
    page = Page(render_report(manifest, results, tensors, [{**p, "note": HOSTILE + p["note"]} for p in progress]))
    assert "script" not in page.tags and not page.wrong
    assert not [a for a in page.attributes if a[1].startswith("on")]
    assert page.tags.count("img") == 23
    assert sum(HOSTILE in word for word in page.words) >= 10


@settings(max_examples=12)
@given(name=st.text(max_size=30))
def test_any_name_keeps_the_page_whole(name, audit):
    manifest, results, tensors, _ = audit(name=name)
    results["reconstruction"] |= {"residual_per_layer": {name: 0.1}, "confidence": [], "support": []}
    page = Page(render_report(manifest, {**results, "score": None}, {"samples": tensors["samples"][:0]}))  # no figures
    assert not page.wrong and not page.open and "script" not in page.tags


def test_samples_without_confidence_are_shown_only_where_there_is_nothing_better(audit):
    manifest, results, tensors, progress = audit(scored=False)
    found = results["reconstruction"]
    found.update(confidence=[0.9, 0.2] + [0.0] * 10, support=[3, 2] + [1] * 10, verified=[False] * 11 + [True])
    page = Page(render_report(manifest, results, tensors, progress))
    assert page.tags.count("img") == 3 and "Shown are 3 of 12" in " ".join(page.words)
    found.update(confidence=[0.0] * 12, verified=[False] * 12)
    page = Page(render_report(manifest, results, tensors, progress))
    words = " ".join(page.words)
    assert page.tags.count("img") == 12 and "exact fit" not in words
    assert "Nothing can be said" in words and "Show the pictures anyway" in words


def test_unseen_samples_stand_beside_the_pairs(audit):
    manifest, results, tensors, progress = audit()
    page = Page(render_report(manifest, results, {**tensors, "unseen": tensors["truth"].flip(0)}, progress))
    assert page.tags.count("img") == 23 + 12 and "what chance looks like" in " ".join(page.words)


def test_a_step_done_again_after_a_resume_is_drawn_once(audit, monkeypatch):
    drawn = []
    monkeypatch.setattr(figures, "history", lambda series: drawn.append(series) or b"<svg></svg>")
    manifest, results, tensors, _ = audit()
    steps = [(1, 9.0, "a"), (2, 8.0, "a"), (2, 7.0, "a"), (1, 5.0, "b"), (3, None, "a"), ("4", 1.0, "a")]
    progress = [{"index": index, "value": value, "note": note} for index, value, note in steps]
    render_report(manifest, results, tensors, progress)
    assert drawn == [{"a": [(1, 9.0), (2, 7.0)], "b": [(1, 5.0)]}]


def test_no_candidates_is_said(audit):
    manifest, results, tensors, progress = audit(scored=False)
    results["reconstruction"].update(confidence=[], support=[])
    tensors["samples"] = tensors["samples"][:0]
    words = " ".join(Page(render_report(manifest, results, tensors, progress)).words)
    assert "No candidate survived" in words


def test_report_is_made_again_from_the_folder(audit, tmp_path):
    _, results, tensors, progress = audit()
    run = RunFolder.open(tmp_path, {"verb": "audit", "seed": 0})
    run.save_tensors("samples", tensors)
    for step in progress:
        run.log(step)
    with pytest.raises(RunError, match="no results"):
        write_report(run)
    run.finish(results)
    first = write_report(RunFolder.read(tmp_path)).read_bytes()
    assert write_report(RunFolder.read(tmp_path)).read_bytes() == first
    run.finish({"something": "else"})
    with pytest.raises(RunError, match="not hold the results of an audit"):
        write_report(run)


def test_what_there_is_nothing_of_is_not_drawn(audit):
    """Networks whose first layer tells nothing: no empty axes, and no claim that 0 samples can be identified."""
    manifest, results, tensors, progress = audit(scored=False)
    tensors["singular_values"], results["reconstruction"]["identifiable"] = torch.zeros(0), 0
    results["reconstruction"] |= {"confidence": [0.0] * 12, "restarts": 1}
    page = Page(render_report(manifest, results, tensors, progress))
    words = " ".join(page.words)
    assert page.tags.count("svg") == 1 and "can be identified" not in words and "1 restarts" not in words
    words = " ".join(Page(render_report(manifest, results, tensors, [])).words)
    assert "Curves" not in words


def test_a_phase_is_named_by_what_stands_before_the_colon(audit):
    manifest, results, tensors, _ = audit()
    steps = [{"index": k, "value": 1.0 + k, "note": f"round {r}: {k} of 9 verified"} for r in (1, 2) for k in range(5)]
    text = render_report(manifest, results, tensors, steps)
    assert "round 1<" in text and "round 2<" in text and "of 9 verified" not in text
