"""Write names.md: every public name by room, from the stubs and the first line of each docstring.

$ python docs/names.py
"""

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import vestige

PAGE = Path(__file__).with_name("names.md")
TOP = """# Public names

What is typed first is at the top of the package: `vg.NAME`. Everything else is in its room: `vg.ROOM.NAME`.
`python docs/names.py` writes this page from the stubs and docstrings; `help(vg.ROOM.NAME)` shows all of one.
"""


def rooms() -> list[str]:
    """Dotted names of the packages with a stub, the top first."""
    root = Path(vestige.__file__).parent
    stubs = sorted(root.rglob("__init__.pyi"), key=lambda stub: stub.parent.relative_to(root).parts)
    return [".".join(("vestige", *stub.parent.relative_to(root).parts)) for stub in stubs]


def names(room: str) -> Iterator[str]:
    """What the stub of a room imports from its modules."""
    stub = Path(importlib.import_module(room).__file__ or "").with_suffix(".pyi")
    for node in ast.parse(stub.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module:  # `from . import kernels` names a room
            yield from (alias.name for alias in node.names if not inspect.ismodule(thing(room, alias.name)))


def thing(room: str, name: str) -> object:
    return getattr(importlib.import_module(room), name)


def says(found: object) -> str:
    """First line of a docstring; a constant has none of its own."""
    text = (inspect.getdoc(found) or "").partition("\n")[0] if callable(found) else "a constant"
    return text.replace("|", r"\|").replace("<", "&lt;")


def page() -> str:
    """The page as text."""
    parts = [TOP]
    for room in rooms():
        last = room.rpartition(".")[2]  # `vg.audit` is the function, and its room `vestige.audit`
        called = "vg" if room == "vestige" else f"vg.{last}" if inspect.ismodule(getattr(vestige, last)) else room
        line = (inspect.getdoc(importlib.import_module(room)) or "").partition("\n")[0]
        rows = [f"| `{name}` | {says(thing(room, name))} |" for name in sorted(names(room), key=str.lower)]
        parts.append("\n".join([f"## `{called}`", "", line, "", "| name | what it is |", "|---|---|", *rows, ""]))
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
