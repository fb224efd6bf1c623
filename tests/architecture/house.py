"""The source, its imports and its public names, read once for the rules."""

import ast
import functools
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import vestige

PACKAGE = Path(vestige.__file__).parent
REPOSITORY = Path(__file__).parents[2]
FILES = sorted(PACKAGE.rglob("*.py"))
STUBS = sorted(PACKAGE.rglob("*.pyi"))


def name_of(path: Path) -> str:
    """`core/kkt.py`; outside the package from the root of the repository."""
    return str(path.relative_to(PACKAGE if path.is_relative_to(PACKAGE) else REPOSITORY))


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def room_of(path: Path) -> str:
    """The folder directly under the package; "" for the package itself."""
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


def dotted(path: Path) -> str:
    """`vestige.core.kkt`."""
    parts = ("vestige", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(tree: ast.Module) -> Iterator[str]:
    """Every module that is imported anywhere in a file; for `from vestige import x` also vestige.x."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield base
            if base == "vestige":
                yield from (f"vestige.{alias.name}" for alias in node.names)


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines without the docstring: a complete description of the arguments must not count against a function."""
    first = function.body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return function.end_lineno - function.lineno + 1 - documented * (first.end_lineno - first.lineno + 1)


def stub_names() -> list[tuple[str, str, str]]:
    """(room, public name, module that the stub takes it from) of every line of every stub but the package's own."""
    found = []
    for stub in STUBS:
        room = dotted(stub)
        if room == "vestige":
            continue
        for node in tree_of(stub).body:
            if isinstance(node, ast.ImportFrom) and node.module:  # `from . import kernels` names a room, not a name
                found += [(room, alias.asname or alias.name, f"{room}.{node.module}") for alias in node.names]
    return found


@functools.cache
def public() -> dict[str, object]:
    """What users reach, by its name behind `vg.`: `attack.apgd`, `reconstruct.kernels.Laplace`."""
    return {
        f"{room}.{name}".removeprefix("vestige."): getattr(importlib.import_module(room), name)
        for room, name, _ in stub_names()
    }


def public_functions() -> dict[str, object]:
    return {name: thing for name, thing in public().items() if inspect.isfunction(thing)}


def table(document: str, heading: str) -> list[list[str]]:
    """The cells of the first table under a heading of CONTRIBUTING, without its head."""
    section = document.split(f"\n{heading}\n", 1)[1]
    rows = re.findall(r"(?:^\|.*\n)+", section, flags=re.MULTILINE)[0].splitlines()[2:]
    return [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", row.strip()[1:-1])] for row in rows]


def ticked(cell: str) -> list[str]:
    """Words in backticks."""
    return re.findall(r"`([^`]+)`", cell)


CONTRIBUTING = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
