"""Statements from files, what tells them apart without a model, and statistics of documents."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
import torch

import vestige as vg
from vestige.core.rng import child

P = vg.probe
TRUTH = Path(os.environ.get("VESTIGE_DATA", "")) / "truth"


def test_a_file_is_read(tmp_path):
    text = 'statement,label,city\n"Rome, is in Italy.",1,Rome\nRome is in Peru.,0,Rome\n'
    (tmp_path / "cities.csv").write_text(text)
    (tmp_path / "cities.csv.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("cities.csv", "cities.csv.gz"):
        found = P.read_statements(tmp_path / name)
        assert found.texts[0] == "Rome, is in Italy." and found.y.tolist() == [1, 0]
        assert found.groups == ("Rome", "Rome") and found.name == "cities"
    assert len(found.take(1, generator=child(0, "x")).texts) == 1


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "statement,label\nx,2\ny,1\n", "statement,label\nx,1\ny,1\n"])
def test_what_is_no_table_of_statements_is_refused(text, tmp_path):
    (tmp_path / "x.csv").write_text(text)
    for path in (tmp_path / "x.csv", tmp_path / "other.csv"):
        with pytest.raises(ValueError, match=r"lacks the columns|0 and 1|not there"):
            P.read_statements(path)


def test_shortcuts_are_found():
    draw = torch.Generator().manual_seed(0)
    words = torch.randint(50, (200, 3), generator=draw).tolist()
    y = torch.arange(200) % 2
    plain = [f"w{a} w{b} w{c}" for a, b, c in words]
    none = P.text_confounds(plain, y)
    assert not none.warnings and abs(none.length - 0.5) < 0.12
    longer = P.text_confounds([t + " " * 9 * int(label) for t, label in zip(plain, y, strict=True)], y)
    assert longer.length > 0.95 and "length alone" in longer.warnings[0]
    common = P.text_confounds(
        [f"{t} {'usual' if label else f'odd{i}'}" for i, (t, label) in enumerate(zip(plain, y, strict=True))], y
    )
    assert common.common == 1.0 and len(common.warnings) >= 2
    with pytest.raises(ValueError, match="both kinds"):
        P.text_confounds(plain, y * 0)


def test_groups_keep_a_word_on_one_side():
    """Forty words without meaning, each in ten statements of one label: copies on both sides look like a shortcut."""
    y = (torch.randperm(40, generator=torch.Generator().manual_seed(0)) % 2).repeat_interleave(10)
    texts = [f"word{i // 10} number{i}" for i in range(400)]
    groups = [text.split()[0] for text in texts]
    assert P.text_confounds(texts, y).words > 0.9
    assert P.text_confounds(texts, y, groups=groups).words < 0.65


def test_some_statements_keep_their_labels_and_groups():
    whole = P.Statements("x", tuple("abcdef"), torch.arange(6) % 2, tuple("ABCDEF"))
    some = whole.take(4, generator=child(3, "x"))
    places = [whole.texts.index(text) for text in some.texts]
    assert len(set(places)) == 4 and some.groups == tuple("ABCDEF"[i] for i in places)
    assert some.y.tolist() == [i % 2 for i in places]


@pytest.mark.skipif(not TRUTH.is_dir(), reason="VESTIGE_DATA names no folder with truth/")
def test_cities_are_read_and_have_no_shortcut_in_their_length():
    found = P.read_statements(TRUTH / "cities.csv")
    assert len(found.texts) == 1496 and len(set(found.groups)) > 500
    assert abs(P.text_confounds(found.texts, found.y, groups=found.groups).length - 0.5) < 0.1


def test_documents_that_share_their_truth_are_seen():
    rng = np.random.default_rng(0)
    alone = [rng.integers(0, 2, 10).tolist() for _ in range(400)]
    sharing = [([1] * 10 if rng.random() < 0.5 else rng.integers(0, 2, 10).tolist()) for _ in range(400)]
    one, other = P.truth_statistics(alone), P.truth_statistics(sharing)
    assert 0.8 < one.variance_ratio < 1.2 and one.p_value > 1e-4 and abs(one.both_false - one.expected) < 0.02
    assert other.variance_ratio > 2 and other.p_value < 1e-9 and other.both_false > 1.5 * other.expected
    pairs = [(a, b) for d in sharing for i, a in enumerate(d) for j, b in enumerate(d) if i != j]
    assert other.both_false == pytest.approx(sum(a == b == 0 for a, b in pairs) / len(pairs))
    assert other.documents == 400 and other.statements == 4000


@pytest.mark.parametrize("documents", [[[1, 2]], [[1, 1], [1, 1]], [[0, 1]], [[1], [0]]])
def test_bad_documents_are_refused(documents):
    with pytest.raises(ValueError, match="given"):
        P.truth_statistics(documents)
