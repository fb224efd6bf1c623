"""Can this installation do a job? What is installed, and three small things that must work."""

import importlib.util
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from vestige.core.kkt import stationarity_residual
from vestige.data.named import cache_folder
from vestige.nets.checkpoint import load_model, save_model
from vestige.nets.fully_connected import mlp
from vestige.runs.environment import environment, versions
from vestige.runs.folder import RunFolder


def facts() -> Iterator[tuple[str, str, bool | None]]:
    """Name, value and whether it is good (None where that is no question) of each thing installed."""
    for name, found in versions().items():
        yield name, found or "absent", found is not None
    machine = environment()
    yield "python", str(machine["python"]), None
    yield "system", f"{machine['system']}, {machine['cpus']} CPUs, {machine['threads']} threads for torch", None
    build = "CPU build" if torch.version.cuda is None else f"CUDA {torch.version.cuda} build"
    yield "torch", f"{build}, CUDA device {'present' if torch.cuda.is_available() else 'absent'}", None
    vision = importlib.util.find_spec("torchvision") is not None
    yield "torchvision", "present, not used" if vision else "absent, not needed", None
    cache = cache_folder()
    yield "cache", f"{cache} ({'there' if cache.is_dir() else 'made when first needed'})", None


def self_tests() -> Iterator[tuple[str, str, bool | None]]:
    """The same of each self-test; the value is its time, or what went wrong."""
    for test in (_stationarity, _weights_file, _run_folder):
        begun = time.perf_counter()
        try:
            test()
            problem = None
        except Exception as error:  # whatever it is, the user wants to read it here
            problem = f"{type(error).__name__}: {error}"
        yield f"self-test: {test.__doc__}", problem or f"{time.perf_counter() - begun:.2f} s", problem is None


def _stationarity() -> None:
    """a linear model built from two samples explains itself exactly"""
    x = torch.tensor([[1.0, 2.0], [-3.0, 0.5]], dtype=torch.float64)
    coefficients = torch.tensor([[0.5], [2.0]], dtype=torch.float64)
    model = torch.nn.Linear(2, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(coefficients.T @ x)
    residual = float(stationarity_residual(model, x, coefficients))
    if not residual <= 1e-24:
        raise RuntimeError(f"residual {residual}, expected 0")


def _weights_file() -> None:
    """weights come back from a file bit for bit"""
    model = mlp([4, 8, 2], generator=torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory(prefix="vestige-") as folder:
        save_model(model, Path(folder) / "m.safetensors")
        loaded = load_model(Path(folder) / "m.safetensors").model
    if not all(torch.equal(a, b) for a, b in zip(model.parameters(), loaded.parameters(), strict=True)):
        raise RuntimeError("the weights differ")


def _run_folder() -> None:
    """a run folder is written and read again"""
    with tempfile.TemporaryDirectory(prefix="vestige-") as folder:
        RunFolder.open(Path(folder) / "run", {"seed": 0}).finish({"value": 1})
        if RunFolder.read(Path(folder) / "run").results() != {"value": 1}:
            raise RuntimeError("the results differ")
