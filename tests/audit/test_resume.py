"""Stopped anywhere, an audit of every kind continues in its folder, bit for bit, without doing the work again."""

import functools
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import vestige as vg
from vestige.nets.architecture import parse_architecture
from vestige.nets.checkpoint import save_model
from vestige.nets.fully_connected import mlp
from vestige.runs.folder import RunFolder, RunState

FAST = {"restarts": 2, "n_candidates": 6, "steps": 60}  # a search saves its state after 50


class Halves(torch.nn.Module):
    """Images to the means of their halves."""

    def forward(self, x):
        return x.flatten(1).reshape(len(x), -1, 2).mean(2)


def plain(case, folder):
    given = {"data": case.data, "held_out": case.held_out}
    return lambda **more: vg.audit(case.model, **given, **FAST, **more)


def head(case, folder):
    model = mlp([4, 12, 2], dtype=torch.float32, generator=torch.Generator().manual_seed(0))
    save_model(model, folder / "head.safetensors", metadata={"loss": "cross_entropy"})
    return lambda **more: vg.audit(
        folder / "head.safetensors", backbone=f"{__name__}:Halves", data=case.data, **FAST, **more
    )


def invariant(case, folder):
    net = parse_architecture("c4@1x4x4:mlp:16-10-3", dtype=torch.float32, generator=torch.Generator().manual_seed(0))
    save_model(net, folder / "c4.safetensors", metadata={"input_shape": "[1, 4, 4]", "loss": "cross_entropy",
                                                      "weight_decay": "0.001"})  # fmt: skip
    x = torch.rand(4, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    return lambda **more: vg.audit(folder / "c4.safetensors", group="c4", data=(x, torch.arange(4) % 3), **FAST, **more)


def unlearning(case, folder):
    given = {"data": case.data, "held_out": case.held_out, "forget": [1, 4], "repair": 20}
    return lambda **more: vg.audit_unlearning(case.model, **given, **FAST, **more)


KINDS = {
    "plain": (plain, "reconstructing", 55, "reconstructing"),
    "untrained": (plain, "the same on an untrained network", 55, "the same on an untrained network"),
    "head": (head, "reconstructing", 55, "reconstructing"),
    "invariant": (invariant, "reconstructing", 55, "reconstructing"),
    "unlearning before": (unlearning, "reconstructing before", 55, "reconstructing before"),
    "unlearning repair": (unlearning, "repairing", 10, "reconstructing before"),
    "unlearning retrained": (unlearning, "reconstructing retrained", 55, "reconstructing retrained"),
}


@pytest.fixture(scope="module")
def undisturbed(case, tmp_path_factory, interrupter):
    """How a job of each sort ends if nobody stops it: its call, what it returned, its folder and its steps."""

    @functools.cache
    def done(make):
        folder, steps = tmp_path_factory.mktemp(make.__name__), interrupter()
        run = make(case, folder)
        return run, run(out=folder / "whole", on_step=steps), folder / "whole", steps

    return done


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_audit_continues_bit_for_bit(kind, undisturbed, tmp_path, eager, interrupter):
    make, phase, after, saved = KINDS[kind]
    run, whole, folder, steps = undisturbed(make)
    broken, stop = tmp_path / "broken", interrupter(phase, after)
    with pytest.raises(KeyboardInterrupt):
        run(out=broken, on_step=stop)
    assert RunFolder.read(broken).state is RunState.INTERRUPTED and stop.counts[phase] == after
    rest = interrupter()
    found = run(out=broken, on_step=rest)
    check_equal(folder, broken)
    assert found.verdict == whole.verdict and found.results.get("score") == whole.results.get("score")
    assert rest.counts.get(saved, 0) < steps.counts[saved]  # what was saved is not done again


def test_a_stopped_audit_of_scores_asks_for_none_twice(case, tmp_path, eager, interrupter):
    x = torch.from_numpy(np.random.default_rng(0).random((12, 16)))
    weight, asked = torch.eye(12, 3, dtype=torch.float64), []

    def scores(z):
        asked.append(len(z))
        return torch.exp(-0.05 * torch.cdist(torch.as_tensor(z), x).square()) @ weight

    def run(**more):
        asked.clear()
        found = vg.audit_queries(scores, kernel="rbf:gamma=0.05", input_shape=(16,), **more)
        return found, sum(asked)

    whole, total = run(out=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(out=tmp_path / "broken", on_step=interrupter("querying", 10))
    first = sum(asked)
    found, rest = run(out=tmp_path / "broken")
    check_equal(tmp_path / "whole", tmp_path / "broken")
    assert found.results["queried"] == whole.results["queried"] and found.results["queried"]["validated"] == 3
    assert 0 < first < total and rest <= total - first + 100  # the last batch, and one query that knows the model


def check_equal(first, second):
    """Two folders of the same job: equal samples, and no checkpoint is left."""
    tensors, others = (load_file(place / "samples.safetensors") for place in (first, second))
    assert tensors.keys() == others.keys() and all(torch.equal(tensors[key], others[key]) for key in tensors)
    assert {path.name for path in first.iterdir()} == {path.name for path in second.iterdir()}


def test_a_phase_that_is_done_is_not_done_again(case, tmp_path, eager, interrupter):
    run = unlearning(case, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(out=tmp_path / "r", on_step=interrupter("reconstructing retrained", 3))
    rest = interrupter()
    run(out=tmp_path / "r", on_step=rest)
    assert "retraining" not in rest.counts and "repairing" not in rest.counts


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals; run it on Linux or macOS")
def test_ctrl_c_stops_between_two_steps_and_the_handlers_are_put_back(case, tmp_path):
    before = signal.getsignal(signal.SIGINT)

    def press(step):
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        plain(case, tmp_path)(out=tmp_path / "r", on_step=press)
    assert signal.getsignal(signal.SIGINT) is before
    assert RunFolder.read(tmp_path / "r").state is RunState.INTERRUPTED


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals; run it on Linux or macOS")
@pytest.mark.slow
def test_killed_and_resumed_equals_undisturbed(case, tmp_path):
    def start(out):
        command = [sys.executable, "-m", "vestige", "audit", str(case.model), "--out", str(out)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        options = ("--restarts", "2", "--n-candidates", "6")
        return subprocess.Popen([*command, *options], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    whole = start(tmp_path / "whole")
    assert whole.communicate(timeout=300) and whole.returncode == 0
    broken = tmp_path / "broken"
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        process, begun = start(broken), time.monotonic()
        seen = len(RunFolder.read(broken).progress()) if (broken / "manifest.json").exists() else 0
        while process.poll() is None and time.monotonic() - begun < 120:
            if (broken / "manifest.json").exists() and len(RunFolder.read(broken).progress()) > seen:
                break
            time.sleep(0.01)
        process.send_signal(number)
        process.communicate(timeout=120)
    last = start(broken)
    assert last.communicate(timeout=300) and last.returncode == 0
    assert RunFolder.read(broken).state is RunState.FINISHED
    first, second = (load_file(folder / "samples.safetensors") for folder in (tmp_path / "whole", broken))
    assert all(torch.equal(first[key], second[key]) for key in first)
