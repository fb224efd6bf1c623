"""Reading tensors that others made: sizes and magic bytes before parsing, names and finite values after.

A safetensors file holds 8 bytes of header length, a JSON header and raw numbers, so reading one runs no code. A pickle
is a program; it is refused here and only ever opened by `vestige.nets.convert`.
"""

import hashlib
import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vestige.nets.file_formats import KINDS, folder_kind, format_of
from vestige.nets.parts import doubts_of, part_of
from vestige.nets.quantized import SAID

LARGEST_FILE = 8 * 2**30
LARGEST_HEADER = 100 * 2**20
ORDER = "tensor_order"  # metadata: names in the order of the checkpoint, which safetensors does not keep
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_\-]*(\.[A-Za-z0-9_\-]+)*")


class CheckpointError(ValueError):
    """A weights file that is refused, damaged or does not fit its architecture."""


@dataclass(frozen=True)
class WeightsFile:
    """What a safetensors file holds: named finite tensors, text metadata, and the SHA-256 of its bytes.

    `ordered` says that the tensors stand in the order of the checkpoint that they were converted from; `notes`, what
    was done to read them.
    """

    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    sha256: str
    ordered: bool = False
    notes: tuple[str, ...] = ()


def file_kind(path: Path, max_bytes: int = LARGEST_FILE) -> str:
    """ "safetensors", or one of `file_formats.KINDS`, judged by size and first bytes, never by the name.

    Raises:
        CheckpointError: missing, empty, too large, a web page or another format.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is {folder_kind(path) if path.is_dir() else 'not there; give a file'}")
    size = path.stat().st_size
    if not 8 < size <= max_bytes:
        raise CheckpointError(
            f"{path} has {size:,} bytes; allowed are 9 to {max_bytes:,}. "
            + ("Was the download cut off?" if size <= 8 else "Raise max_bytes if you trust its source")
        )
    with path.open("rb") as stream:
        head = stream.read(64)
    header = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and header < 2**48:
        if header + 8 > size or header > LARGEST_HEADER:
            raise CheckpointError(
                f"{path}: its header claims {header:,} bytes, the file has {size:,} (headers up to "
                f"{LARGEST_HEADER:,} are read): truncated or hostile; download it again"
            )
        return "safetensors"
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") and not head.startswith(b"<?xml"):
        raise CheckpointError(f"{path} is a web page, not weights: the download failed; open the link in a browser")
    found = format_of(path)
    if found in KINDS:
        return found
    raise CheckpointError(f"{path} is {found or 'not a safetensors file (no header at its start)'}")


def read_weights(path: Path, *, max_bytes: int = LARGEST_FILE, sha256: str | None = None) -> WeightsFile:
    """Read a safetensors file whole.

    Args:
        path: the file.
        max_bytes: refuse larger files before parsing.
        sha256: expected digest, compared before parsing.

    Raises:
        CheckpointError: a pickle, a damaged file, another digest, odd tensor names, NaN or infinite values.
    """
    kind = file_kind(path, max_bytes)
    if kind not in ("safetensors", "pickle"):
        raise CheckpointError(f"{path} is {KINDS[kind]}; where tensors alone are needed, give a .safetensors file")
    if kind == "pickle":
        beside = path.with_suffix(".safetensors")
        target = path.with_name(f"{path.stem}-converted.safetensors") if beside == path else beside
        raise CheckpointError(
            f"{path} is a pickle (a PyTorch .pt file): opening one can run code. Convert it once with\n"
            f"    vestige convert {shlex.quote(str(path))} {shlex.quote(str(target))}\n"
            "which reads tensors only, in a process of its own; or pass trust_pickle=True (--trust-pickle) to do so now"
        )
    refuse_part(path)
    digest = checked_digest(path, sha256)
    tensors, metadata = read_tensors(path)
    check_finite(path, tensors)
    order = _order(metadata, tensors)
    notes = ((SAID,) if metadata.get("dequantized") == "true" else ()) + doubts_of(path, metadata)
    kept = {name: tensors[name] for name in order or tensors}
    return WeightsFile(kept, metadata, digest, ordered=order is not None, notes=notes)


def refuse_part(path: Path) -> None:
    """A model in several files is read whole or not at all.

    Raises:
        CheckpointError: the name says that there are others.
    """
    if part := part_of(path):
        index = "give their index, such as model.safetensors.index.json"
        whole = "load it whole where it was made, and save one file"
        raise CheckpointError(
            f"{path} is part {part} of a model in several files; {index if path.suffix == '.safetensors' else whole}"
        )


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors, finite or not, and metadata of one safetensors file.

    Raises:
        CheckpointError: damaged, or odd tensor names.
    """
    if file_kind(path) != "safetensors":
        raise CheckpointError(f"{path} is not a safetensors file")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = dict(file.metadata() or {})
            # Names are checked before a tensor is built; clones do not depend on the mapped file staying as it is.
            return {n: file.get_tensor(n).clone() for n in check_names(path, list(file.keys()))}, metadata
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path} is not a valid safetensors file ({error}): truncated or damaged") from error


def _order(metadata: dict[str, str], tensors: dict[str, Tensor]) -> list[str] | None:
    """The order that `convert` wrote into the metadata, if it names these very tensors."""
    try:
        order = json.loads(metadata.get(ORDER, "null"))
    except (ValueError, RecursionError):
        return None
    known = isinstance(order, list) and all(isinstance(name, str) for name in order)
    return order if known and sorted(order) == sorted(tensors) else None


def checked_digest(path: Path, expected: str | None) -> str:
    """SHA-256 of the file's bytes; refuses a file that differs from the expected digest."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if expected is not None and digest != expected.lower():
        raise CheckpointError(f"{path} has SHA-256 {digest}, expected {expected}: it is another or a changed file")
    return digest


def check_names(path: Path, names: list[str]) -> list[str]:
    """Refuse names that no module attribute has; they end up in reports and must not look like paths or markup."""
    bad = [name for name in names if len(name) > 500 or _NAME.fullmatch(name) is None]
    if bad:
        raise CheckpointError(
            f"{path}: {len(bad)} of {len(names)} tensors have names that no layer can have, first {bad[0][:80]!r}; "
            "letters, digits, '_', '-' and single dots are allowed"
            + ("; names of Keras? Rebuild it in torch" if re.fullmatch(r"[\w/:.-]*[/:][\w/:.-]*", bad[0]) else "")
        )
    return sorted(names)


def check_finite(path: Path, tensors: dict[str, Tensor]) -> None:
    """Refuse NaN and infinite values: safetensors does not look at them."""
    bad = {
        name: t for name, t in tensors.items() if t.is_floating_point() and not bool(torch.isfinite(widened(t)).all())
    }
    if bad:
        first, tensor = next(iter(bad.items()))
        count = int((~torch.isfinite(widened(tensor))).sum())
        raise CheckpointError(
            f"{path}: {len(bad)} of {len(tensors)} tensors hold NaN or infinite values, first {first!r} ({count:,} of "
            f"{tensor.numel():,} entries): training diverged or the file is damaged; use an earlier checkpoint"
        )


def widened(tensor: Tensor) -> Tensor:
    """float32 and float64 as they are, narrower floats as float32 (exact)."""
    narrow = tensor.is_floating_point() and tensor.dtype not in (torch.float32, torch.float64)
    return tensor.float() if narrow else tensor
