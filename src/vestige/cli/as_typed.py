"""What the library says of its arguments, in the words of the command that was typed.

The library writes `step='resolve'` and `retrain=True`; a command has `--step resolve` and `--retrain`. An argument
without an option stays as it is, and so does a text that names the option itself.
"""

import re
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from typing import Any

from typer.core import TyperOption

_ARGUMENT = re.compile(r"(?<![\w:,.(])([a-z_]+)=('[^']*'|[+-]?[\w.]*\w)")
_NONE: Mapping[str, Any] = {}
_asked: ContextVar[Mapping[str, Any]] = ContextVar("options of the command that runs", default=_NONE)


def listen(arguments: Iterable[str], command: Any) -> None:
    """From here on texts are for whoever typed these arguments of `command`, a group or a verb."""
    for argument in arguments:
        command = getattr(command, "commands", {}).get(argument, command)
    _asked.set({p.name: p for p in getattr(command, "params", ()) if isinstance(p, TyperOption)})


def as_typed(text: str) -> str:
    """The text with the options of the command in place of the arguments of the library."""
    return _ARGUMENT.sub(_option, text)


def _option(found: re.Match[str]) -> str:
    known = _asked.get().get(found[1])
    if known is None or known.opts[0] in found.string:
        return found[0]
    name, value = known.opts[0], found[2].strip("'")
    if value == "None" or (value == "False" and not known.secondary_opts):
        return f"leaving out {name}"
    if value == "False":
        return known.secondary_opts[0]
    return name if value == "True" else f"{name} {value}"
