"""From a PyTorch pickle to safetensors, without running what the pickle says.

torch.load(weights_only=True) had CVE-2025-32434 (code execution, fixed in 2.6) and CVE-2026-24747 (memory corruption,
fixed in 2.10), hence the version that is asked for and the separate process.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from vestige.core.files import write_atomically
from vestige.nets.weights_file import LARGEST_FILE, CheckpointError, file_kind, read_weights

SAFE_TORCH = (2, 10)
MEMORY_BASE = 16 * 2**30  # address space that importing torch reserves, with room; files come on top
WORKER = Path(__file__).with_name("unpickle_worker.py")


def convert(
    path_in: Path | str, path_out: Path | str, *, max_bytes: int = LARGEST_FILE, seconds: float | int = 600
) -> None:
    """Write the tensors of a .pt file as safetensors.

    Args:
        path_in: a pickle of a state dict, or of a dictionary that holds one under "state_dict" or "model".
        path_out: a new .safetensors file; written whole or not at all.
        max_bytes: refuse larger files.
        seconds: time allowed.

    Raises:
        CheckpointError: already safetensors, not a pickle, more than tensors inside, NaN, the output exists.
    """
    source, target = Path(path_in), Path(path_out)
    if file_kind(source, max_bytes) != "pickle":
        raise CheckpointError(f"{source} is a safetensors file already: nothing to convert")
    if target.exists():
        raise CheckpointError(f"{target} exists and is not overwritten; choose another name")
    if not target.parent.is_dir():
        raise CheckpointError(f"the folder {target.parent} does not exist; create it first")
    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if version < SAFE_TORCH:
        raise CheckpointError(
            f"torch {torch.__version__} reads pickles unsafely (CVE-2026-24747); install torch >= 2.10"
        )
    with tempfile.TemporaryDirectory(prefix="vestige-") as folder:
        written = Path(folder) / "weights.safetensors"
        _run_worker(source, written, seconds)
        read_weights(written, max_bytes=4 * max_bytes)
        write_atomically(target, written.read_bytes(), private=True)


def _run_worker(source: Path, written: Path, seconds: float | int) -> None:
    memory = MEMORY_BASE + 6 * source.stat().st_size
    # -P keeps the working directory and this folder off the import path: neither may shadow torch.
    command = [sys.executable, "-P", str(WORKER), str(source.resolve()), str(written.resolve()), str(memory)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise CheckpointError(f"{source} was not read within {seconds:g} s; it was given up") from error
    if done.returncode or not written.is_file():
        said = (done.stderr.strip().splitlines() or [f"the reader ended with status {done.returncode}"])[-1]
        raise CheckpointError(
            f"{source} holds more than tensors, or is damaged; it was not run. Save model.state_dict() where "
            f"the model was made. The reader said: {said[:700]}"
        )
