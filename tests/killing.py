"""Commands that are killed at random moments and started again until they end."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

from safetensors.torch import load_file

# State is saved ten times a second, so that a short run has a checkpoint to lose.
EAGER = (
    "import sys; from vestige.core import descent; descent.SECONDS = 0.1; from vestige.cli import run; "
    "sys.exit(run(sys.argv[1:]))"
)
TIMES = ("seconds", "cost", "started", "stopped", "resumed")  # cost: seconds over seconds


def start(line: list[str]) -> subprocess.Popen:
    """The command in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", EAGER, *line], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment
    )


def finish(line: list[str]) -> float:
    """Run a command to its end; the seconds it took."""
    begun, worker = time.monotonic(), start(line)
    _, said = worker.communicate(timeout=1200)
    assert worker.returncode == 0, said.decode()
    return time.monotonic() - begun


def killed(line: list[str], place: Path, whole: Path, kills: int, longest: float, seed: int) -> int:
    """SIGKILL at random moments, then run to the end; a run that ends before is compared, and a new one killed.

    Returns:
        How many kills hit a process at work: all, unless three of four come too late.
    """
    draw, hits = random.Random(seed), 0
    for _ in range(4 * kills):
        worker = start([*line, str(place)])
        time.sleep(draw.uniform(0.1, 0.5) * longest)  # a run may be twice as fast as the first
        hits += worker.poll() is None
        worker.kill()
        worker.communicate()
        if hits == kills:
            break
        if worker.returncode == 0:
            assert kept(place) == kept(whole)
            remove(place)
    finish([*line, str(place)])
    return hits


def remove(place: Path) -> None:
    """A file or a folder."""
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink()


def kept(folder: Path) -> dict:
    """Every result and tensor of a run, without clocks."""
    if folder.is_file():
        return {"file": folder.read_bytes()}
    assert not list(folder.glob(".*.tmp")) and not list(folder.glob("checkpoint*"))
    tensors = {
        p.name: {k: t.tolist() for k, t in load_file(p).items() if k not in TIMES} for p in folder.glob("*.safetensors")
    }
    return {"results": timeless(json.loads((folder / "results.json").read_text())), **tensors}


def timeless(value):
    """Without what depends on the clock."""
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if k not in TIMES}
    return [timeless(v) for v in value] if isinstance(value, list) else value


def lines(folder: Path) -> dict[str, list[str]]:
    """A command of each verb that keeps state, on a model and data that `prepare` has made; the place comes last."""
    model, data = str(folder / "m.safetensors"), ["--data", "digits"]
    few = ["--restarts", "1", "--n-candidates", "12"]
    return {
        "train": ["train", "--n", "10", "--arch", "mlp:64-40-10", "--out"],
        "train-auto": ["train", "--n", "10", "--arch", "mlp:64-40-10", "--step-size", "auto", "--out"],
        "reconstruct": ["reconstruct", model, *few, "--out"],
        "audit": ["audit", model, *data, *few, "--out"],
        "unlearn": ["unlearn", model, *data, "--forget", "1,2", "--repair", "300", *few, "--out"],
        "attack": ["attack", model, *data, "--n", "100", "--preset", "standard", "--out"],
        "kernel": ["audit", str(folder / "k.safetensors"), "--kernel", "auto", "--out"],
    }


def compare(verb: str, folder: Path, kills: int, seed: int) -> int:
    """A run that is killed so often ends as one that is not; how many kills hit it at work."""
    line, suffix = lines(folder)[verb], ".safetensors" if verb.startswith("train") else ""
    whole, parts = folder / f"{verb}-whole{suffix}", folder / f"{verb}-parts{suffix}"
    took = finish([*line, str(whole)])
    hits = killed(line, parts, whole, kills, took, seed)
    assert kept(parts) == kept(whole)
    for made in (whole, parts):
        remove(made)
    return hits
