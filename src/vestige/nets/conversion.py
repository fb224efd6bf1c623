"""From a PyTorch pickle to safetensors, without running what the pickle says.

torch.load(weights_only=True) had CVE-2025-32434 (code execution, fixed in 2.6) and CVE-2026-24747 (memory corruption,
fixed in 2.10), hence the version that is asked for and the separate process.
"""

import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import save

from vestige.core.files import write_atomically
from vestige.nets import unpickle_worker
from vestige.nets.file_formats import KINDS
from vestige.nets.parts import doubts_of
from vestige.nets.quantized import SAID
from vestige.nets.weights_file import (
    LARGEST_FILE,
    ORDER,
    CheckpointError,
    WeightsFile,
    file_kind,
    read_weights,
    refuse_part,
)

SAFE_TORCH = (2, 10)
MEMORY_BASE = 16 * 2**30  # address space that importing torch reserves, with room; files come on top
WORKER = Path(unpickle_worker.__file__)


def convert(
    path_in: Path | str,
    path_out: Path | str,
    *,
    key: str = "",
    max_bytes: int = LARGEST_FILE,
    seconds: float | int = 600,
) -> tuple[str, ...]:
    """Write the tensors of a .pt file as safetensors, with the order of its tensors in the metadata.

    Args:
        path_in: a pickle of a state dict, or of dictionaries with exactly one of them somewhere inside.
        path_out: a new .safetensors file; written whole or not at all.
        key: of the state dict where there are several, such as "ema", or the beginning of the names of its tensors;
            with it, part of a safetensors file can be written too.
        max_bytes: refuse larger files.
        seconds: time allowed.

    Returns:
        What was said: where the tensors were, and what was left out.

    Raises:
        CheckpointError: already safetensors, not a pickle, no or several state dicts, NaN, the output exists.
    """
    source, target = Path(path_in), Path(path_out)
    kind = file_kind(source, max_bytes)
    if kind != "pickle" and not key:
        said = "a safetensors file already" if kind == "safetensors" else f"{KINDS[kind]}, which is read as it is"
        raise CheckpointError(f"{source} is {said}: nothing to convert")
    refuse_part(source)
    if target.exists():
        raise CheckpointError(f"{target} exists and is not overwritten; choose another name")
    if not target.parent.is_dir():
        raise CheckpointError(f"the folder {target.parent} does not exist; create it first")
    if kind != "pickle":
        write_atomically(target, _part(source, read_weights(source, max_bytes=max_bytes), key), private=True)
        return (f"only the tensors under {key!r} were written",)
    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if version < SAFE_TORCH:
        raise CheckpointError(
            f"torch {torch.__version__} reads pickles unsafely (CVE-2026-24747); install torch >= 2.10"
        )
    with tempfile.TemporaryDirectory(prefix="vestige-") as folder:
        written = Path(folder) / "weights.safetensors"
        said = _run_worker(source, written, key, seconds, max_bytes)
        try:
            read_weights(written, max_bytes=4 * max_bytes)
        except CheckpointError as error:
            raise CheckpointError(str(error).replace(str(written), str(source))) from error
        write_atomically(target, written.read_bytes(), private=True)
    return said


def beginning(names: Iterable[str], key: str) -> str:
    """How the names below a key begin, whatever wrappers stand before it; "" where none do, or not all alike.

    >>> beginning(["module.net.0.weight", "module.ema.0.weight"], "net")
    'module.net.'
    """
    found = unpickle_worker.beginnings(names, key)
    return f"{key}." if f"{key}." in found else found.pop() if len(found) == 1 else ""


def _part(source: Path, weights: WeightsFile, key: str) -> bytes:
    """The tensors below a prefix, without it."""
    start = beginning(weights.tensors, key)
    below = {name.removeprefix(start): t for name, t in weights.tensors.items() if start and name.startswith(start)}
    if not below:
        first = sorted({name.partition(".")[0] for name in weights.tensors})[:8]
        raise CheckpointError(f"{source} holds no tensors under {key!r}; its names begin with {', '.join(first)}")
    kept = {name: text for name, text in weights.metadata.items() if name not in (ORDER, "architecture")}
    return save(below, kept | ({ORDER: json.dumps(list(below))} if weights.ordered else {}))


def _run_worker(source: Path, written: Path, key: str, seconds: float | int, max_bytes: int) -> tuple[str, ...]:
    memory = MEMORY_BASE + 6 * source.stat().st_size
    _check_unpacked(source, max_bytes)
    # -P keeps the working directory and this folder off the import path: neither may shadow torch.
    command = [sys.executable, "-P", str(WORKER), str(source.resolve()), str(written.resolve()), str(memory)]
    command += [str(4 * max_bytes), key]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise CheckpointError(f"{source} was not read within {seconds:g} s; it was given up") from error
    if done.returncode or not written.is_file():
        said = (done.stderr.strip().splitlines() or [f"the reader ended with status {done.returncode}"])[-1]
        if done.returncode == unpickle_worker.REFUSED:
            raise CheckpointError(f"{source}: {said[:500]}")
        raise CheckpointError(
            f"{source} holds more than tensors, or is damaged; it was not run: {said[:500].rstrip('.?')}. Save "
            "model.state_dict() where the model was made"
        )
    told = json.loads(done.stdout.strip().splitlines()[-1])
    where = (f"the tensors under {told['key']!r} were taken",) if told["key"] else ()
    where += doubts_of(source, {})
    where += (SAID,) if told.get("dequantized") else ()
    return (*where, *((f"left out: {', '.join(told['left'])}",) if told["left"] else ()))


def _check_unpacked(source: Path, max_bytes: int) -> None:
    """Refuse an archive whose members are larger than the limit once unpacked."""
    if not zipfile.is_zipfile(source):
        return
    with zipfile.ZipFile(source) as archive:
        unpacked = sum(info.file_size for info in archive.infolist())
        packed = any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist())
    if unpacked > max_bytes or (packed and unpacked > 100 * source.stat().st_size):
        raise CheckpointError(
            f"{source} unpacks to {unpacked:,} bytes from {source.stat().st_size:,}; at most {max_bytes:,}, and 100 "
            "times its size, are read. PyTorch does not compress: where is it from?"
        )
