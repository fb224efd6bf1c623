"""SIGKILL at many moments: JSON always parses, and going on gives what an undisturbed run gives."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch

from vestige.core.files import read_json
from vestige.runs.folder import RunFolder, RunState
from vestige.runs.signals import EXIT_STATUS, Interrupted, stop_requests

# A stand-in for a long method: a chain of products whose end depends on every step.
WORKER = """
import sys, torch
torch.set_num_threads(1)
from vestige.runs.folder import RunFolder, RunState
from vestige.runs.signals import stop_requests, Interrupted
run = RunFolder.open(sys.argv[1], {"seed": 0})  # the lock ends with the process
if run.state is RunState.FINISHED: sys.exit(0)
saved = run.checkpoint().load() or {"x": torch.full((64,), .3, dtype=torch.float64), "step": torch.tensor(0)}
x, start = saved["x"], int(saved["step"])
print("ready", flush=True)
try:
    with stop_requests() as stop:
        for step in range(start, int(sys.argv[2])):
            x = 3.7 * x * (1 - x)
            run.log({"step": step, "value": float(x[0])})
            run.checkpoint().save({"x": x, "step": torch.tensor(step + 1)})
            stop.check()
except Interrupted:
    run.interrupt(); sys.exit(130)
run.save_tensors("out", {"x": x})
run.finish({"value": float(x[0])})
"""
STEPS = 150


def start(folder):
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(folder), str(STEPS)],
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert worker.stdout is not None
    worker.stdout.readline()  # "ready", or the end of the file when finished
    return worker


def end(worker):
    status = worker.wait(timeout=60)
    worker.stdout.close()
    return status


def expected():
    x = torch.full((64,), 0.3, dtype=torch.float64)
    for _ in range(STEPS):
        x = 3.7 * x * (1 - x)
    return x


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals; run it on Linux or macOS")
def test_killed_at_random_moments(tmp_path):
    draw = random.Random(0)
    for _ in range(8):
        worker = start(tmp_path)
        time.sleep(draw.uniform(0, 0.05))
        worker.kill()
        end(worker)
        for path in tmp_path.glob("*.json"):
            read_json(path)
        run = RunFolder.read(tmp_path)
        run.load_tensors("checkpoint")
        assert all(set(step) == {"step", "value"} for step in run.progress())
    assert end(start(tmp_path)) == 0
    run = RunFolder.read(tmp_path)
    out = run.load_tensors("out")
    assert run.state is RunState.FINISHED and out is not None
    assert torch.equal(out["x"], expected())
    assert run.results() == {"value": float(expected()[0])}
    assert not list(tmp_path.glob(".*.tmp"))


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals; run it on Linux or macOS")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_polite_signal_saves_first(number, tmp_path):
    worker = start(tmp_path)
    time.sleep(0.02)
    worker.send_signal(number)
    assert end(worker) == EXIT_STATUS
    assert RunFolder.read(tmp_path).state is RunState.INTERRUPTED
    assert end(start(tmp_path)) == 0
    out = RunFolder.read(tmp_path).load_tensors("out")
    assert out is not None and torch.equal(out["x"], expected())


def test_a_signal_that_nobody_checked_for_is_not_lost():
    with pytest.raises(Interrupted), stop_requests():
        signal.raise_signal(signal.SIGTERM)


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted), stop_requests() as stop:
        stop.check()
        signal.raise_signal(signal.SIGINT)
        stop.check()
    assert signal.getsignal(signal.SIGINT) is before
