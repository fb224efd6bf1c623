"""What is said while a command works: short enough for 80 columns, and in a pipe too."""

import io
import time

import pytest
from rich.console import Console

from vestige.cli import progress
from vestige.cli.progress import Clock, progress_bar
from vestige.core.outcome import Step


def test_the_time_left_is_told_from_the_speed_of_the_phase(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    clock = Clock("auditing")
    clock.see(Step(1, 1501, 0.5, "reconstructing"))
    now[0] += 60
    clock.see(Step(301, 1501, 0.4, "reconstructing"))
    assert clock.words() == "301/1,501 steps, 0:01:00 so far, 0:04:00 left"  # 300 steps a minute, 1,200 to go
    clock.see(Step(1, 20, 0.4, "scoring"))
    assert clock.name == "scoring" and clock.words() == "1/20 steps, 0:01:00 so far"
    now[0] += 10
    assert "left" not in clock.words()  # no step of this phase has been timed


def test_it_is_told_once_and_early_how_long_everything_takes(monkeypatch):
    now, said = [0.0], io.StringIO()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(progress, "err", Console(file=said, width=80))
    clock = Clock("auditing", share=0.4)
    for k in range(1, 1501):  # 100 steps a second: 15 s, which are four tenths of 37 s
        clock.see(Step(k, 1500, 0.5, "round 1"))
        now[0] += 0.01
        assert bool(said.getvalue()) == (k > 300) or 295 < k < 305  # after three seconds
    assert said.getvalue() == "auditing: about 40 s in all\n"
    for share, each in ((0.4, 0.04), (None, 1.0)):  # ten seconds, and work whose parts are not known
        clock = Clock("auditing", share)
        for k in range(1, 101):
            clock.see(Step(k, 100, 0.5, "round 1"))
            now[0] += each
    assert said.getvalue().count("in all") == 1


def test_a_phase_without_an_end_in_sight_is_not_taken_for_a_measure(monkeypatch):
    now, said = [0.0], io.StringIO()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(progress, "err", Console(file=said, width=80))
    clock = Clock("auditing", share=0.5)
    for k in range(1, 2001):
        open_end = k <= 1000
        clock.see(Step(k, 0 if open_end else 2000, 0.5, "columns" if open_end else "round 1"))
        now[0] += 0.02
        assert not (open_end and said.getvalue())
    assert said.getvalue() == "auditing: about 40 s in all\n"


def test_a_pipe_gets_a_line_now_and_then(monkeypatch):
    said = io.StringIO()
    monkeypatch.setattr(progress, "err", Console(file=said, width=80))
    monkeypatch.setattr(progress, "HEARTBEAT", 0.02)
    with progress_bar("checking") as on_step:
        time.sleep(0.1)  # a phase without a step speaks too
        on_step(Step(3, 9, 0.1, "first\x1b[2J round"))
        time.sleep(0.1)
    lines = said.getvalue().splitlines()
    assert lines[0].startswith("checking: 0:00:0") and any(line.startswith("first?[2J round: 3/9") for line in lines)
    count = len(lines)
    time.sleep(0.1)
    assert len(said.getvalue().splitlines()) == count  # it ends with the work


def test_short_work_is_silent_in_a_pipe(monkeypatch):
    said = io.StringIO()
    monkeypatch.setattr(progress, "err", Console(file=said))
    with pytest.raises(KeyError), progress_bar("checking") as on_step:
        on_step(Step(1, 2, 0.1))
        raise KeyError
    assert said.getvalue() == ""


def test_the_line_fits_80_columns(monkeypatch):
    said = io.StringIO()
    monkeypatch.setattr(progress, "err", Console(file=said, width=80, force_terminal=True, color_system=None))
    with progress_bar("auditing") as on_step:
        on_step(Step(438, 1500, 0.037, "reconstructing: round 1: 0 of at most 465 samples verified"))
        time.sleep(0.2)
    shown = [part for part in said.getvalue().replace("\r", "\n").splitlines() if "438" in part]
    assert shown and "reconstructing" in shown[-1] and "438/1,500 steps, 0:00:00 so far" in shown[-1]
