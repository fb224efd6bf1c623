"""What a user sees when things go wrong, and the verbs that need no model."""

import json
import subprocess
import sys
from importlib import import_module

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

from vestige.audit import self_test
from vestige.cli import run, words
from vestige.cli.app import app
from vestige.cli.options import read_quotient
from vestige.core.threat import Norm
from vestige.papers.catalogue import RECORDS

WORKING = sum(record.works for record in RECORDS)  # which ones is tested beside the catalogue


def test_help_names_every_verb(capsys):
    assert run(["--help"]) == 0
    text = capsys.readouterr().out
    for verb in ("audit", "reconstruct", "train", "demo", "doctor", "papers", "convert", "report", "cite"):
        assert verb in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "nonsense"),
        (["audit"], "'model'"),
        (["audit", "/nowhere/model.safetensors"], "nowhere"),
        (["audit", "m", "--restarts", "0"], "restarts"),
        (["audit", "m", "--held-out", "digits"], "Give data too"),
        (["report", "/nowhere"], "no run"),
        (["cite", "1234.56789"], "vestige papers"),
        (["convert", "/nowhere.pt", "x.safetensors"], "nowhere"),
        (["train", "--data", "imagenet"], "imagenet"),
        (["overfit", "--dims", "1e999"], "inf given; whole numbers"),
        (["overfit", "--sizes", "10.5"], "10.5 given; whole numbers"),
        (["train", "--out", "model.pt"], ".safetensors"),
    ],
)
def test_a_users_mistake_is_one_line(arguments, words, capsys):
    assert run(arguments) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("error: ") and words in shown.err
    assert "Traceback" not in shown.err


def test_our_mistake_says_so_and_debug_shows_where(monkeypatch, capsys):
    def broken(*arguments):
        raise KeyError("lost")

    monkeypatch.setattr("vestige.cli.papers.citation", broken)
    assert run(["cite"]) == 1
    assert "bug in vestige" in capsys.readouterr().err
    assert run(["cite", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


TOO_MUCH = {
    "not enough memory": [
        MemoryError(),
        MemoryError("Unable to allocate 4 TiB"),
        RuntimeError("can't allocate memory: 9"),
    ],
    "too large": [
        OverflowError(),
        OverflowError("int too large"),
        RuntimeError("value cannot be converted to type int64_t without overflow\nframe 1"),
        TypeError("randn(): argument 'size' failed to unpack the object: Overflow when unpacking long long\nframe 1"),
        RuntimeError("Storage size calculation overflowed with sizes=[3000000000, 3000000000]"),
    ],
}


@pytest.mark.parametrize(("said", "error"), [(said, error) for said, errors in TOO_MUCH.items() for error in errors])
def test_too_much_for_the_machine_is_no_bug(said, error, monkeypatch, capsys):
    def fail(*arguments):
        raise error

    monkeypatch.setattr("vestige.cli.papers.citation", fail)
    assert run(["cite"]) == 2
    shown = capsys.readouterr().err
    assert said in shown and "frame" not in shown


@pytest.mark.parametrize("error", [RuntimeError("stack overflow"), KeyError("overflow"), IndexError("overflowing")])
def test_another_overflow_is_a_bug(error, monkeypatch, capsys):
    def fail(*arguments):
        raise error

    monkeypatch.setattr("vestige.cli.papers.citation", fail)
    assert run(["cite"]) == 1
    assert "bug in vestige" in capsys.readouterr().err


def test_a_count_beyond_64_bits_is_the_users_number(tmp_path, capsys):
    line = ["landscape", "neuron", "--out", str(tmp_path / "run")]
    assert run([*line, "--restarts", str(10**19)]) == 2
    assert "too large" in capsys.readouterr().err


def test_interruption_is_130(monkeypatch, capsys):
    def stopped(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("vestige.cli.papers.citation", stopped)
    assert run(["cite"]) == 130
    assert capsys.readouterr().err == "stopped\n"  # nothing that could continue


@settings(max_examples=60)
@given(
    verb=st.sampled_from(["", "papers", "cite", "report", "convert", "audit", "reconstruct"]),
    rest=st.lists(st.text(max_size=8).filter(lambda t: "\0" not in t), max_size=3),
)
def test_any_command_line_ends_in_a_status(verb, rest):
    assert run([verb, *(f"zz{part}" for part in rest)] if verb else rest) in (0, 2)


def test_papers_as_json(capsys):
    assert run(["papers", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 30 and all(set(row) == {"paper", "title", "functions", "status"} for row in rows)
    assert sum(row["status"].startswith("works") for row in rows) == WORKING


def test_papers_as_a_table(capsys):
    assert run(["papers"]) == 0
    text = capsys.readouterr().out
    assert f"{WORKING} of 30 papers work" in text and "2206.07758" in text


def test_cite(capsys):
    assert run(["cite", "2307.01827"]) == 0
    assert capsys.readouterr().out.startswith("@inproceedings{buzaglo2023")
    assert run(["cite"]) == 0
    assert capsys.readouterr().out.count("eprint") == WORKING


def test_doctor(capsys):
    assert run(["doctor"]) == 0
    text = capsys.readouterr().out
    assert text.count("self-test") == 3 and "torchvision" in text and "cache" in text


def test_doctor_fails_when_a_self_test_does(monkeypatch, capsys):
    def wrong():
        """broken on purpose"""
        raise RuntimeError("wrong")

    monkeypatch.setattr(self_test, "_stationarity", wrong)
    assert run(["doctor"]) == 1
    assert "RuntimeError: wrong" in capsys.readouterr().out


def test_version_and_module(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("vestige ")
    done = subprocess.run([sys.executable, "-m", "vestige", "nonsense"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "error: " in done.stderr and "Traceback" not in done.stderr


def test_what_needs_no_network_does_not_wait_for_torch():
    lines = [["--help"], ["--version"], ["audit", "--help"], ["train", "--help"], ["papers"], ["cite"], ["nonsense"]]
    code = f"""
import sys
from vestige.cli import run
statuses = [run(line) for line in {lines}]
assert statuses == [0] * 6 + [2], statuses
loaded = {{"torch", "scipy", "sklearn", "matplotlib", "numpy"}} & set(sys.modules)
assert not loaded, loaded
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


GONE = [  # what is not there, of every verb that takes a file, a folder or data
    *([verb, "no.st"] for verb in ("audit", "reconstruct", "attack", "verify", "rank")),
    *(["audit", "no.st", "--kernel", "auto"], ["attack", "--data", "npz:no.npz"], ["report", "nowhere"]),
    *(["membership", "no.st", "--data", "digits"], ["membership", __file__, "--data", "digits", "--base", "no.st"]),
    *(["unlearn", "no.st", "--data", "digits", "--forget", "1"], ["convert", "no.pt", "o.st"]),
    *(["train", "--data", "npz:no.npz"], ["redex", "fit", "--data", "npz:no.npz"], ["probe", "truth", "no.csv"]),
    *(["construct", verb, "no.st", "--out", "o.safetensors"] for verb in ("narrow", "prune")),
    *(["construct", verb, "--data", "npz:no.npz", "--out", "o.safetensors"] for verb in ("memorize", "robust")),
    ["construct", "recall", "--facts", "no.csv", "--out", "o.safetensors"],
    *(["graphs", "tokens", "no.txt"], ["graphs", "shift", "no.txt"], ["graphs", "shift", __file__, "--test", "no.txt"]),
    ["verify", __file__, "--target", "no.st"],
]


UNKNOWN = [  # words and files that an option cannot be
    *(["attack", "--norm", "l7"], ["attack", "--preset", "fast,quick"], ["train", "--loss", "hinge"]),
    *(["audit", __file__, "--loss", "hinge"], ["audit", __file__, "--solver", "best"]),
    *(["audit", __file__, "--mean", "no.npy"], ["audit", __file__, "--std", "no.npy"]),
    *(["audit", __file__, "--arch", "./no.py:make"], ["audit", __file__, "--scores", "all"]),
    *(["overfit", "--fit", "spline"], ["redex", "fit", "--solver", "simplex"], ["probe", "truth", "--kind", "x", "a"]),
    ["unlearn", __file__, "--data", "digits", "--forget", "1", "--step", "all"],
    ["construct", "separate", "circle:3"],
]


def refused_early(lines):
    """What is said of command lines that are all refused before torch is imported."""
    code = f"""
import sys
from vestige.cli import run
wrong = [line for line in {lines} if run(line) != 2]
assert not wrong, wrong
loaded = {{"torch", "scipy", "sklearn", "matplotlib", "numpy"}} & set(sys.modules)
assert not loaded, loaded
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_words_that_cannot_be_are_refused_before_torch_is_imported():
    refused_early(UNKNOWN)


WORDS = {
    words.LOSSES: "core.margins:Loss",
    words.SCORES: "reconstruct.kernels.black_box:Scores",
    words.STEPS: "unlearning.unlearned:StepRule",
    words.STRATEGIES: "construct.memorization.memorizer:Strategy",
    words.PRUNINGS: "construct.prune.subset_sum:PruneMethod",
    words.HOPS: "construct.transformer.recall.builder:HopMethod",
    words.COUNTS: "construct.transformer.counting.counter:CountMethod",
    words.PROJECTIONS: "construct.robust.projection:Projection",
    words.LAYOUTS: "construct.robust.layers:Layout",
    words.LEARNERS: "audit.learners:Learner",
    words.PROBES: "probe.truth.probes:ProbeKind",
    words.PROGRAMS: "convex.redex.estimators:RedExSolver",
    words.STAGES: "attack.suite:Stage",
}


@pytest.mark.parametrize(("known", "place"), WORDS.items(), ids=WORDS.values())
def test_the_words_are_those_of_the_library(known, place):
    module, _, name = place.partition(":")
    library = {str(word) for word in getattr(import_module(f"vestige.{module}"), name)}
    assert set(known) - {"autoattack"} == library


def test_every_word_for_a_norm_is_one():
    assert {Norm(word) for word in words.NORMS} == set(Norm)


def test_what_is_not_there_is_said_before_torch_is_imported():
    said = refused_early(GONE)
    assert said.count("not there") + said.count("holds no run") == len(GONE)


def test_an_error_prints_nothing_that_controls_the_terminal(capsys):
    assert run(["audit", "no\x1b[31mway.st"]) == 2
    said = capsys.readouterr().err
    assert "no?[31mway.st is not there" in said and "\x1b" not in said


def test_numbers_may_be_quotients():
    assert read_quotient("8/255") == 8 / 255 and read_quotient("0.5") == 0.5
    for text in ("1/0", "a/2", ""):
        with pytest.raises(typer.BadParameter, match="a number or a quotient"):
            read_quotient(text)


def test_names_in_messages_are_not_markup(capsys):
    assert run(["report", "/nowhere/[red]x[/red]"]) == 2
    assert "[red]x[/red]" in capsys.readouterr().err


def test_every_verb_has_help():
    assert all(command.callback and command.callback.__doc__ for command in app.registered_commands)
