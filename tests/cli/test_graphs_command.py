"""`vestige graphs` and `vestige probe` on the terminal."""

import pytest

from vestige.cli import run


@pytest.fixture
def graph_set(tmp_path):
    """Paths of 2 to 12 nodes, of two classes."""
    text = "12\n"
    for i in range(12):
        n = 2 + i % 11
        text += f"{n} {i % 2}\n"
        near = [[u for u in (v - 1, v + 1) if 0 <= u < n] for v in range(n)]
        text += "".join(f"0 {len(row)} {' '.join(map(str, row))}\n" for row in near)
    (tmp_path / "set.txt").write_text(text)
    return str(tmp_path / "set.txt")


@pytest.fixture
def topics(tmp_path):
    for name in ("animals", "<b>plants"):
        rows = [f"The {name[-6:]} {i} is so.,{i % 2},{i // 2}" for i in range(40)]
        (tmp_path / f"{name}.csv").write_text("statement,label,subject\n" + "\n".join(rows) + "\n")
    return [str(tmp_path / f"{name}.csv") for name in ("animals", "<b>plants")]


def backbone():
    """Texts to two numbers, of which one is the label."""
    import torch

    return lambda texts: torch.tensor([[float(int(t.split()[2]) % 2), float(len(t))] for t in texts])


def test_tokens_and_shift_have_a_verdict_tables_and_a_report(graph_set, tmp_path, capsys):
    for verb, said in (
        (["tokens", graph_set], "spectral, adjacency, combined"),
        (["shift", graph_set], "Local structure"),
    ):
        out = tmp_path / verb[0]
        assert run(["graphs", *verb, "--out", str(out)]) == 0
        assert said in capsys.readouterr().out and (out / "report.html").is_file()
        assert run(["report", str(out)]) == 0


def test_truth_has_a_verdict_and_names_are_escaped(topics, tmp_path, capsys):
    out = tmp_path / "run"
    assert run(["probe", "truth", *topics, "--backbone", "test_graphs_command:backbone", "--out", str(out)]) == 0
    assert "A direction is shared across topics" in capsys.readouterr().out
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;plants" in page and "<b>plants" not in page


def set_of(folder, graphs):
    """A file of graphs, each given by its class and the neighbors of its nodes."""
    lines = [str(len(graphs))]
    for label, nodes in graphs:
        lines += [f"{len(nodes)} {label}", *(f"0 {len(near)} {' '.join(map(str, near))}" for near in nodes)]
    (folder / "odd.txt").write_text("\n".join(lines) + "\n")
    return str(folder / "odd.txt")


def floats(folder):
    """Continuous features where tags are expected."""
    (folder / "floats.txt").write_text("1\n2 0\n0.5 1 1\n0.25 1 0\n")
    return str(folder / "floats.txt")


def all_true(folder):
    (folder / "true.csv").write_text("statement,label\n" + "".join(f"Sentence {i}.,1\n" for i in range(20)))
    return str(folder / "true.csv")


TRIANGLE, LONELY, PAIR = ([[1, 2], [0, 2], [0, 1]], [[1], [0], []], [[1], [0]])


TRAINED = ["tokens", "--steps", "1", "--repeats", "1"]


@pytest.mark.parametrize(
    ("graphs", "options", "said"),
    [
        ([(0, LONELY), (1, PAIR)], ["tokens"], "1 of 2 graphs have isolated nodes: their walk is 0"),
        ([(0, LONELY), (1, PAIR)], ["tokens"], "are disconnected: the basis of eigenvalue 0 is arbitrary"),
        ([(0, TRIANGLE), (1, PAIR)], ["tokens"], "repeated eigenvalues: their tokens depend on an arbitrary basis"),
        ([(0, [[1], []]), (1, PAIR)], ["tokens"], "what their directions say is lost"),
        ([(0, PAIR)] * 9 + [(1, TRIANGLE)], ["shift"], "All test graphs are of one class"),
        ([(i % 2, PAIR) for i in range(20)], TRAINED, "also among those for training"),
    ],
)
def test_what_graphs_mean_for_a_result_is_said(graphs, options, said, tmp_path, capsys):
    assert run(["graphs", options[0], set_of(tmp_path, graphs), *options[1:], "--out", str(tmp_path / "x")]) == 0
    assert said in " ".join(capsys.readouterr().out.split())


def test_mistakes_are_one_line(graph_set, topics, tmp_path, capsys):
    for arguments, said in (
        (["graphs", "tokens", "nowhere.txt"], "not there"),
        (["graphs", "shift", topics[0]], "no graph set"),
        (["graphs", "shift", graph_set, "--small", "2"], "at most 1"),
        (["graphs", "tokens", graph_set, "--depths", "deep"], "numbers with commas"),
        (["graphs", "tokens", set_of(tmp_path, [(0, PAIR)] * 9), "--steps", "1"], "labels of one class"),
        (["graphs", "shift", floats(tmp_path)], "round continuous features into classes"),
        (["probe", "truth", all_true(tmp_path)], "0 and 1, both, are needed"),
        (["probe", "truth", graph_set], "lacks the columns"),
        (["probe", "truth", topics[0], "--kind", "ccs", "--backbone", "test_graphs_command:backbone"], "needs pairs"),
    ):
        assert run([*arguments, "--out", str(tmp_path / "x")]) == 2
        assert said in capsys.readouterr().err
