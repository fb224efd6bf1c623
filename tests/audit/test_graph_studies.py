"""Graph sets and statements as jobs: the numbers are those of the methods, and a second call only reads."""

import json

import pytest
import torch

from vestige.audit import study_size_shift, study_tokens, study_truth


@pytest.fixture
def graph_set(tmp_path):
    text = "30\n"
    for i in range(30):
        n = 3 + i % 5
        text += f"{n} {i % 2}\n" + "".join(f"{v % 2} 2 {(v - 1) % n} {(v + 1) % n}\n" for v in range(n))
    (tmp_path / "cycles.txt").write_text(text)
    return tmp_path / "cycles.txt"


def test_a_shift_is_that_of_the_report(graph_set, tmp_path):
    found = study_size_shift(graph_set, small=0.5, large=0.2, features=False, out=tmp_path / "run")
    assert found.results["facts"][0] == ["risk", "low"] and found.results["tables"][0]["rows"][0][:2] == [1, 0.0]
    stamp = (tmp_path / "run" / "results.json").stat().st_mtime_ns
    again = study_size_shift(graph_set, small=0.5, large=0.2, features=False, out=tmp_path / "run")
    assert again.results == found.results and (tmp_path / "run" / "results.json").stat().st_mtime_ns == stamp
    other = study_size_shift(graph_set, test=graph_set)
    assert other.results["tables"][0]["rows"][0][1] == 0.0 and other.source[0].arxiv == "2010.08853"


def test_tokens_are_tried_and_trained(graph_set, tmp_path):
    found = study_tokens(graph_set, steps=3, repeats=1, depths=[1], out=tmp_path / "run")
    shares = {row[0]: row[2] for row in found.results["tables"][0]["rows"]}
    assert shares == {"spectral": 1.0, "random_walk": 0.0, "adjacency": 1.0, "combined": 1.0}
    assert len(found.results["tables"]) == 3 and len(found.results["tables"][2]["rows"]) == 4
    assert found.results["tables"][1]["rows"][0][3:] == ["yes", "no"]  # planar
    assert any("test graphs are also among those for training" in note for note in found.warnings)
    norms, scores = found.results["curves"]
    assert norms["x"] == [3.0, 4.0, 5.0, 6.0, 7.0]
    assert norms["series"]["adjacency"] == pytest.approx([4.0] * 5)  # |A| of a cycle is its degree
    assert set(scores["series"]) == {"spectral", "random_walk", "adjacency", "combined", "constant"}
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["config"]["data"]["file"] == "cycles.txt"


def test_what_a_file_says_against_its_graphs_is_told(tmp_path):
    (tmp_path / "arrows.txt").write_text("4\n" + "".join(f"{n} 0\n0 1 1\n" + "0 0\n" * (n - 1) for n in (2, 3, 3, 4)))
    said = "4 of 4 graphs have edges one way only"
    for study in (study_tokens, study_size_shift):
        options = {} if study is study_tokens else {"large": 0.25, "test": tmp_path / "arrows.txt"}
        found = study(tmp_path / "arrows.txt", **options)
        assert sum(said in note for note in found.warnings) == 1 + len(options) // 2


def test_statements_that_two_topics_share_are_told(tmp_path):
    for name, extra in (("a", 3), ("b", 0)):
        rows = [f"Sentence {i if i < 5 else name + str(i)} is so.,{i % 2}" for i in range(20 + extra)]
        (tmp_path / f"{name}.csv").write_text("statement,label\n" + "\n".join(rows) + "\n")
    found = study_truth([tmp_path / "a.csv", tmp_path / "b.csv"], backbone="test_graph_studies:noise", kind="mass_mean")
    assert any(note.startswith("5 statements stand in a and b:") for note in found.warnings)


def test_a_probe_that_sees_words_only_is_told(tmp_path):
    """Truth that one word says: the probe is no better than words alone."""
    for name in ("a", "b"):
        rows = [f"It {'surely' if i % 2 else 'hardly'} is {i}.,{i % 2}" for i in range(40)]
        (tmp_path / f"{name}.csv").write_text("statement,label\n" + "\n".join(rows) + "\n")
    found = study_truth([tmp_path / "a.csv", tmp_path / "b.csv"], backbone="test_graph_studies:backbone")
    assert "within 0 of 2 topics" in found.verdict and any("a bag of words" in note for note in found.warnings)
    with pytest.raises(ValueError, match="of another name"):
        study_truth([tmp_path / "a.csv", tmp_path / "a.csv"])
    with pytest.raises(ValueError, match="at least one"):
        study_truth([])


def backbone():
    return lambda texts: torch.tensor([[float("surely" in t), float(len(t))] for t in texts])


def test_nothing_is_found_in_noise(tmp_path):
    for name in ("a", "b"):
        rows = [f"Sentence {name} {i} is so.,{(i * 7919 // 13) % 2}" for i in range(60)]
        (tmp_path / f"{name}.csv").write_text("statement,label\n" + "\n".join(rows) + "\n")
    found = study_truth([tmp_path / "a.csv", tmp_path / "b.csv"], backbone="test_graph_studies:noise", kind="mass_mean")
    assert found.verdict.startswith("No direction is shared")


def noise():
    from vestige.core.rng import child

    return lambda texts: torch.stack([torch.randn(16, generator=child(0, t)) for t in texts])
