"""What the library says of its arguments, in the words of the command that was typed.

The library writes `step='resolve'` and `retrain=True`; a command has `--step resolve` and `--retrain`. An argument
without an option stays as it is, and so does a text that names the option itself.
"""

import re
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, NamedTuple

from typer.core import TyperOption

_ARGUMENT = re.compile(r"(?<![\w:,.(/-])([a-z_]+)=('[^']*'|[+-]?[\w.]*\w|\([^()]*\)|\[[^][]*\])")
_WORD = re.compile(r"(?<![\w:.(/'\"<-])([a-z]+(?:_[a-z]+)+)(?![\w=(/'\"-]|\.\w)")  # of two parts: no word of English


class _Asked(NamedTuple):
    options: Mapping[str, TyperOption] = MappingProxyType({})
    words: str = ""  # as they were typed, such as names of files, which stay as they are


_asked: ContextVar[_Asked] = ContextVar("the command that runs", default=_Asked())  # noqa: B039  # cannot be changed


def listen(arguments: Sequence[str], command: Any) -> None:
    """From here on texts are for whoever typed these arguments of `command`, a group or a verb."""
    for argument in arguments:
        command = getattr(command, "commands", {}).get(argument, command)
    options = {p.name: p for p in getattr(command, "params", ()) if isinstance(p, TyperOption) and p.name}
    _asked.set(_Asked(options, "\n".join(arguments)))


def as_typed(text: str) -> str:
    """The text with the options of the command in place of the arguments of the library."""
    text = _ARGUMENT.sub(_option, text)
    return text if "column" in text else _WORD.sub(_named, text)  # those of a table may be called like options


def _named(found: re.Match[str]) -> str:
    """An argument that is named without a value."""
    options, words = _asked.get()
    known = options.get(found[1])
    return found[0] if known is None or known.opts[0] in found.string or found[0] in words else known.opts[0]


def _option(found: re.Match[str]) -> str:
    options, words = _asked.get()
    known = options.get(found[1])
    if known is None or known.opts[0] in found.string or found[0] in words:
        return found[0]
    name, value = known.opts[0], re.sub(r", *", ",", found[2].strip("'()[]"))
    if value == "None" or (value == "False" and not known.secondary_opts):
        return f"leaving out {name}"
    if value == "False":
        return known.secondary_opts[0]
    return name if value == "True" else f"{name} {value}"
