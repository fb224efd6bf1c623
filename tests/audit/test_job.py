"""A job with a folder and one without: what is told, what is kept, and what an interrupt leaves."""

import json
import math
import os
import signal

import pytest
import torch

from vestige.audit.job import LINES, Job, open_job
from vestige.core.outcome import Step
from vestige.runs.folder import RunFolder
from vestige.runs.signals import Interrupted

CONFIG = {"verb": "audit", "seed": 0}


def test_without_a_folder_work_is_done_told_and_nothing_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told, made = [], []
    with open_job(None, CONFIG, told.append) as job:
        assert (job.folder, job.finished, job.checkpoint("a")) == (None, False, None)
        with job.phase("searching", recorded=True) as on_step:
            on_step(Step(1, 2, 0.5, "anneal"))
            on_step(Step(2, 2, 0.25, ""))
        for _ in range(2):
            job.once("x", lambda: made.append(1) or {"x": torch.ones(1)})
        assert job.keep({"n": (1, 2)}, "out", {}, ()) == {"n": [1, 2]}
        job.write(lambda run: pytest.fail("there is no folder"))
    assert [step.note for step in told] == ["searching: anneal", "searching"] and len(made) == 2
    assert not list(tmp_path.iterdir())


def test_what_was_made_once_is_not_made_again(tmp_path):
    made = []
    for _ in range(2):
        with open_job(tmp_path / "run", CONFIG, None) as job:
            found = job.once("x", lambda: made.append(1) or {"x": torch.arange(3.0)})
            assert found["x"].tolist() == [0, 1, 2]
    assert len(made) == 1


def test_results_come_last_and_checkpoints_go(tmp_path):
    with open_job(tmp_path / "run", CONFIG, None) as job:
        job.checkpoint("search").save({"a": torch.ones(1)})
        assert not job.finished
        job.keep({"n": 1}, "samples", {"samples": torch.ones(2)}, ("search", "never-saved"))
        assert job.finished
    assert not (tmp_path / "run" / "search.safetensors").exists()
    with open_job(tmp_path / "run", CONFIG, None) as job:
        assert job.finished
        results, tensors = job.kept("samples")
        assert results == {"n": 1} and tensors["samples"].tolist() == [1, 1]
        with pytest.raises(ValueError, match=r"no others\.safetensors"):
            job.kept("others")


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_numbers_that_are_not_finite_never_reach_a_file(bad, tmp_path):
    for out in (tmp_path / "run", None):
        with open_job(out, CONFIG, None) as job:
            with pytest.raises(ValueError):
                job.keep({"n": bad}, "samples", {"samples": torch.ones(1)}, ())
            assert not job.finished
    assert not (tmp_path / "run" / "samples.safetensors").exists()


def test_a_recorded_phase_keeps_some_lines_and_always_the_last(tmp_path):
    total = 3 * LINES + 1
    with open_job(tmp_path / "run", CONFIG, None) as job:
        with job.phase("searching", recorded=True) as on_step:
            for index in range(1, total + 1):
                on_step(Step(index, total, math.nan if index == 3 else 1 / index, "note"))
        with job.phase("scoring") as on_step:
            on_step(Step(1, 1, 0.0, "unrecorded"))
    lines = [json.loads(line) for line in (tmp_path / "run" / "progress.jsonl").read_text().splitlines()]
    assert [line["index"] for line in lines] == [*range(3, total, 3), total]
    assert lines[0]["value"] is None and lines[1]["value"] == 1 / 6 and {line["note"] for line in lines} == {"note"}


@pytest.fixture
def default_interrupt():
    """Python's own handler for Ctrl-C, also where a shell's background job started the tests and ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("default_interrupt")
def test_a_signal_stops_between_two_steps_and_only_in_a_folder(tmp_path):
    seen = []
    with open_job(tmp_path / "run", CONFIG, seen.append) as job, pytest.raises(Interrupted), job.phase("p") as on_step:
        os.kill(os.getpid(), signal.SIGINT)
        seen.append("the step is finished")
        on_step(Step(1, 2, 0.0, ""))
    assert [getattr(each, "note", each) for each in seen] == ["the step is finished", "p"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(KeyboardInterrupt) as raised, Job(None, None).phase("p"):
        os.kill(os.getpid(), signal.SIGINT)
    assert not isinstance(raised.value, Interrupted)


def test_a_page_is_made_of_the_folder(tmp_path):
    with open_job(tmp_path / "run", CONFIG, None) as job:
        job.write(lambda run: (run.path / "report.html").write_text("x") and run.path)
    assert (tmp_path / "run" / "report.html").read_text() == "x" and RunFolder.read(tmp_path / "run").results() is None
