"""Files that are either the old one or the new one, never half of it, whenever the process dies."""

import contextlib
import hashlib
import json
import os
import secrets
from functools import partial
from pathlib import Path
from typing import Any

PUBLIC, PRIVATE = 0o666, 0o600  # before the umask, which the kernel takes off


def write_atomically(path: Path | str, content: bytes, *, private: bool = False) -> None:
    """Replace a file in one step: a reader, or a crash at any moment, sees the old content or the new.

    The temporary file is in the same folder (a rename between file systems is not atomic), and both it and the folder
    are flushed to the disk, so that the new name survives a power cut.

    Args:
        path: the file; its folder must exist.
        content: what it holds afterwards.
        private: only its owner may read it, because it can hold personal data; otherwise the umask decides alone.
    """
    path = Path(path)
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb", opener=partial(os.open, mode=PRIVATE if private else PUBLIC)) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    if os.name != "posix":  # a folder cannot be opened elsewhere
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Some network file systems refuse; the rename itself has happened.
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def canonical(value: Any) -> str:
    """JSON text that equal values share: sorted keys, no spaces, no NaN.

    >>> canonical({"b": 1, "a": [1.5, None]})
    '{"a":[1.5,null],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def write_json(path: Path | str, value: Any, *, private: bool = False) -> None:
    """Write strict JSON as `write_atomically` does.

    Raises:
        ValueError: a number is NaN or infinite; a missing number is None with a reason beside it.
    """
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False)
    write_atomically(path, (text + "\n").encode(), private=private)


def read_json(path: Path | str) -> Any:
    """Read JSON that `write_json` wrote.

    Raises:
        ValueError: no JSON, or one that is nested without end.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def sha256_of(path: Path | str) -> str:
    """Hex digest of a file's content."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
