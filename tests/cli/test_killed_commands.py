"""SIGKILL at random moments of each verb that keeps state: going on gives what an undisturbed run gives."""

import os

import numpy as np
import pytest
from killing import compare, finish
from sklearn.kernel_ridge import KernelRidge

import vestige as vg

KILLS = int(os.environ.get("VESTIGE_KILLS", "2"))  # 20 to look closer: seconds become minutes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("killed")
    finish(["train", "--n", "10", "--arch", "mlp:64-40-10", "--out", str(made / "m.safetensors")])
    x, y = np.random.default_rng(0).random((12, 16)), np.arange(12) % 3
    machine = KernelRidge(alpha=1e-3, kernel="rbf", gamma=0.5).fit(x, np.eye(3)[y])
    vg.kernels.save_kernel_model(machine, made / "k.safetensors", input_shape=(16,))
    return made


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals; run it on Linux or macOS")
@pytest.mark.parametrize("verb", ["train", "train-auto", "reconstruct", "audit", "unlearn", "attack", "kernel"])
def test_a_killed_command_ends_as_an_undisturbed_one(verb, folder):
    hits = compare(verb, folder, KILLS, seed=0)
    print(f"{verb}: {hits} of {KILLS} kills hit a process at work")
    assert hits == KILLS
