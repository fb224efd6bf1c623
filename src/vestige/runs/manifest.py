"""The manifest of a run: what it holds, how two differ."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vestige.core.choices import ChoiceEnum

FORMAT = 1
NO_RUN = "holds no run: there is no manifest.json. Give the folder that was given as out."
_ABSENT = "(absent)"
_FIELDS = {"key": str, "config": dict, "environment": dict, "started": str}


class RunState(ChoiceEnum):
    """Where a run stands."""

    STARTED = "started"
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    FINISHED = "finished"


def is_manifest(read: object) -> bool:
    """Whether everything that others rely on is there."""
    if not isinstance(read, dict) or read.get("format") != FORMAT or read.get("state") not in set(RunState):
        return False
    return all(isinstance(read.get(k), kind) for k, kind in _FIELDS.items())


def difference(path: Path, there: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Which fields of two configurations differ, one a line, and what to do."""
    fields = [
        f"  {name}: {there.get(name, _ABSENT)!r} there, {wanted.get(name, _ABSENT)!r} now"
        for name in sorted({*there, *wanted})
        if there.get(name, _ABSENT) != wanted.get(name, _ABSENT)
    ]
    return (
        f"{path} holds a run with another configuration:\n"
        + "\n".join(fields)
        + "\nGive another folder as out (--out), or the old values."
    )
