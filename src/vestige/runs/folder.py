"""A run is a folder: the manifest first, the results last, and a kill at any moment in between loses only seconds.

manifest.json         config, content key, environment, state
progress.jsonl        one line a step, appended; a torn last line is ignored
NAME.safetensors      tensors: checkpoints and outputs
results.json          written last: its presence means that the run is finished
.lock                 held by the process that works in the folder; the system releases it when that process dies
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from vestige.core.files import canonical, read_json, write_atomically, write_json
from vestige.runs.environment import environment, versions
from vestige.runs.manifest import FORMAT, NO_RUN, RunState, difference, is_manifest

LOCK = ".lock"
RUN = "run"  # metadata of tensors: the key of the run that wrote them


class RunError(ValueError):
    """A run folder cannot be used."""


class RunMismatch(RunError):
    """A run folder holds a run with another configuration."""


def content_key(config: Mapping[str, Any]) -> str:
    """Hash of everything that a result depends on; equal keys may share a folder, others may not.

    >>> content_key({"seed": 0, "loss": "mse"}) == content_key({"loss": "mse", "seed": 0})
    True
    """
    return hashlib.sha256(canonical(dict(config)).encode()).hexdigest()


@dataclass(frozen=True)
class Checkpoint:
    """One named set of tensors in a run: what a long method is given to save its state with and to go on from."""

    run: "RunFolder"
    name: str

    def save(self, tensors: Mapping[str, Tensor]) -> None:
        """Replace the saved state."""
        self.run.save_tensors(self.name, tensors)

    def load(self) -> dict[str, Tensor] | None:
        """The saved state, or None at the start."""
        return self.run.load_tensors(self.name)

    def discard(self) -> None:
        """Forget the saved state, once the results are written."""
        self.run._tensor_path(self.name).unlink(missing_ok=True)


class RunFolder:
    """One run in its folder. Make it with `RunFolder.open` (to work in it) or `RunFolder.read` (to look).

    As a context manager it writes down how the work ended, an interrupt or an error, before that goes on to the caller,
    and unlocks the folder:

        with RunFolder.open("run", {"seed": 0}) as run:
            run.finish({"value": 1})
    """

    def __init__(self, path: Path, manifest: dict[str, Any], lock: FileLock | None = None):
        self.path = path
        self.manifest = manifest
        self._lock = lock

    @classmethod
    def open(cls, path: Path | str, config: Mapping[str, Any], *, resume: bool = True) -> "RunFolder":
        """Start a run in a folder, or continue the one that is there; nobody else can until it is closed.

        Args:
            path: the folder; made when missing.
            config: JSON values that determine the result, with the hashes of weights and data and the seed. The
                package version is added here: another version never reuses a result.
            resume: False refuses a folder that holds a run already.

        Returns:
            The run; `state` is FINISHED when there is nothing left to do.

        Raises:
            RunMismatch: the folder holds a run whose configuration differs; the fields are named. One that failed
                before it kept anything gives way.
            RunError: the folder is in use, holds other files, or a run when resume=False.
        """
        path = Path(path)
        wanted = json.loads(canonical({**config, "vestige": versions(("vestige",))["vestige"]}))
        lock = _locked(path)
        try:
            return cls._opened(path, wanted, resume, lock)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def _opened(cls, path: Path, wanted: dict[str, Any], resume: bool, lock: FileLock) -> "RunFolder":
        if not (path / "manifest.json").exists():
            return cls._start(path, wanted, lock)
        run = cls.read(path)
        if not resume:
            raise RunError(
                f"{path} already holds a run ({run.state}) and resume is off; give another folder as out (--out), or "
                "remove this one."
            )
        if run.manifest["key"] != content_key(wanted):
            if run.state is RunState.FAILED and not any(path.glob("*.safetensors")):  # before it kept anything
                (path / "progress.jsonl").unlink(missing_ok=True)
                return cls._start(path, wanted, lock)
            raise RunMismatch(difference(path, run.config, wanted))
        for leftover in path.glob(".*.tmp"):  # of a write that a kill cut short
            leftover.unlink(missing_ok=True)
        run._lock = lock
        if run.state is not RunState.FINISHED:
            run._set_state(RunState.STARTED, resumed=_now(), environment=environment())
        return run

    @classmethod
    def read(cls, path: Path | str) -> "RunFolder":
        """An existing run, to look at.

        Raises:
            RunError: the folder holds no run, or its manifest is not one.
        """
        path = Path(path)
        special = (p for p in path.glob("*") if p.exists() and not p.is_file() and not p.is_dir())
        if odd := next(special, None):  # a pipe would be waited for
            raise RunError(f"{odd} is no plain file; remove it and run the same command again.")
        try:
            manifest = read_json(path / "manifest.json")
        except FileNotFoundError:
            raise RunError(f"{path} {NO_RUN}") from None
        except (ValueError, OSError) as error:
            raise RunError(
                f"{path / 'manifest.json'} cannot be read: {error}. Remove the folder and start again."
            ) from None
        if not is_manifest(manifest):
            raise RunError(
                f"{path / 'manifest.json'} is not a manifest of format {FORMAT}: another version wrote it, or it is "
                "damaged. Give another folder as out (--out), or remove this one."
            )
        return cls(path, manifest)

    @classmethod
    def _start(cls, path: Path, config: dict[str, Any], lock: FileLock) -> "RunFolder":
        manifest = {
            "format": FORMAT,
            "state": RunState.STARTED,
            "key": content_key(config),
            "config": config,
            "environment": environment(),
            "started": _now(),
        }
        write_json(path / "manifest.json", manifest)
        return cls(path, manifest, lock)

    def close(self) -> None:
        """Let others work in the folder."""
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.state is not RunState.FINISHED:
            if isinstance(error, KeyboardInterrupt):
                self.interrupt()
            elif error is not None:
                self.fail(f"{type(error).__name__}: {error}")
        self.close()

    @property
    def config(self) -> dict[str, Any]:
        """The configuration, with the package version."""
        return self.manifest["config"]

    @property
    def state(self) -> RunState:
        """Finished while results are there, whatever the manifest says: they are written after everything else."""
        if (self.path / "results.json").exists():
            return RunState.FINISHED
        said = RunState(self.manifest["state"])
        return RunState.STARTED if said is RunState.FINISHED else said  # somebody removed the results

    def _set_state(self, state: RunState, **fields: Any) -> None:
        self.manifest = {**self.manifest, "state": state, **fields}
        write_json(self.path / "manifest.json", self.manifest)

    def log(self, step: Mapping[str, Any]) -> None:
        """Append one line to progress.jsonl.

        Raises:
            ValueError: a number is NaN or infinite.
        """
        line = json.dumps(dict(step), allow_nan=False, ensure_ascii=False)
        progress = self.path / "progress.jsonl"
        torn = progress.exists() and progress.stat().st_size > 0 and _last_byte(progress) != b"\n"
        with progress.open("ab") as file:
            # A kill may have torn the last line: close it, so that this one is whole.
            file.write((b"\n" if torn else b"") + line.encode() + b"\n")

    def progress(self) -> list[dict[str, Any]]:
        """Every whole line of progress.jsonl; torn ones are skipped."""
        progress = self.path / "progress.jsonl"
        lines = progress.read_bytes().splitlines() if progress.exists() else []
        return [step for step in map(_parsed, lines) if step is not None]

    def save_tensors(self, name: str, tensors: Mapping[str, Tensor]) -> Path:
        """Write NAME.safetensors in one step, for its owner alone; returns its path."""
        path = self._tensor_path(name)
        plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
        content = to_bytes(plain, {RUN: self.manifest["key"]})
        write_atomically(path, content, private=True)
        return path

    def load_tensors(self, name: str) -> dict[str, Tensor] | None:
        """The tensors of NAME.safetensors, or None when there are none yet.

        Raises:
            RunError: a file that is damaged, or that this run did not write.
        """
        path = self._tensor_path(name)
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                if (file.metadata() or {}).get(RUN) != self.manifest["key"]:
                    raise ValueError("this run did not write it")
                # clone: what is loaded must outlive the map of a file that may be replaced
                return {key: file.get_tensor(key).clone() for key in file.keys()}
        except (SafetensorError, OSError, ValueError) as error:
            raise RunError(
                f"{path} is damaged ({error}); remove it, and results.json if there is one, and run the same command "
                "again."
            ) from None

    def _tensor_path(self, name: str) -> Path:
        if not name.replace("-", "_").isidentifier():
            raise ValueError(
                f"name {name!r} given; letters, digits, - and _ are allowed, so that it stays in the folder."
            )
        return self.path / f"{name}.safetensors"

    def checkpoint(self, name: str = "checkpoint") -> Checkpoint:
        """Where a long method saves its state."""
        return Checkpoint(self, name)

    def interrupt(self) -> None:
        """Record that the run was stopped from outside; opening it again continues it."""
        self._set_state(RunState.INTERRUPTED, stopped=_now())

    def fail(self, reason: str) -> None:
        """Record that the run ended in an error."""
        self._set_state(RunState.FAILED, stopped=_now(), reason=reason)

    def finish(self, results: Mapping[str, Any]) -> None:
        """Write results.json, after everything else, and mark the run finished.

        Raises:
            ValueError: a number is NaN or infinite.
        """
        write_json(self.path / "results.json", dict(results), private=True)
        self._set_state(RunState.FINISHED, stopped=_now())

    def results(self) -> dict[str, Any] | None:
        """The results, or None while there are none."""
        path = self.path / "results.json"
        try:
            found = read_json(path) if path.exists() else None
        except (ValueError, OSError) as error:
            raise RunError(f"{path} is damaged ({error}); remove it and run the same command again.") from None
        if found is not None and not isinstance(found, dict):
            raise RunError(f"{path} is damaged (no results); remove it and run the same command again.")
        return found


def _locked(path: Path) -> FileLock:
    """The folder, made where it is missing, for this process alone."""
    ours = (LOCK, "manifest.json")
    if path.exists() and not (path / "manifest.json").exists():
        if not path.is_dir() or any(p.name not in ours and p.suffix != ".tmp" for p in path.iterdir()):
            raise RunError(f"{path} exists and is not an empty folder or a run; give another folder as out (--out).")
    path.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path / LOCK, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(
            f"{path} is in use by another process; wait until it has finished, or give another folder as out (--out)."
        ) from None
    return lock


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1)


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        step = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return step if isinstance(step, dict) else None
