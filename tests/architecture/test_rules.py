"""The rules of the house, read off the source."""

import ast
import inspect
import typing
from pathlib import Path

import pytest

import vestige

ROOT = Path(vestige.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
ROOMS = {"reconstruct", "attack", "unlearning", "construct", "graphs", "optim", "convex", "landscape", "probe"}
GROUND = {"core", "nets", "data"}
ALLOWED = {
    "core": {"core"},
    "nets": {"core", "nets"},
    "data": {"core", "data"},
    "runs": {"core", "runs"},
    "report": {"core", "runs", "report"},
    **{room: {*GROUND, room} for room in ROOMS},
    "audit": {*GROUND, *ROOMS, "runs", "report", "audit"},
    "papers": {*GROUND, *ROOMS, "runs", "report", "audit", "papers"},
    "cli": {*GROUND, *ROOMS, "runs", "report", "audit", "papers", "cli"},
    "": {*GROUND, *ROOMS, "runs", "report", "audit", "papers", "cli"},
}


def name_of(path):
    return str(path.relative_to(ROOT))


def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def room_of(path):
    parts = path.relative_to(ROOT).parts
    return parts[0] if len(parts) > 1 else ""


def imported_modules(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the direction of an arrow"
            base = node.module or ""
            yield base
            if base == "vestige":
                yield from (f"vestige.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_arrows_point_one_way(path):
    room = room_of(path)
    assert room in ALLOWED, f"{room} is no room of the house; add it here with the rooms it may import"
    used = {m.split(".")[1] for m in imported_modules(tree_of(path)) if m.startswith("vestige.")}
    used = {name for name in used if (ROOT / name).is_dir()}
    assert used <= ALLOWED[room], f"{name_of(path)} imports {sorted(used - ALLOWED[room])}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_and_functions_fit(path):
    assert path.name != "utils.py"
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
    lengths = {n.name: code_lines(n) for n in ast.walk(tree_of(path)) if isinstance(n, ast.FunctionDef)}
    assert not {name: lines for name, lines in lengths.items() if lines > 80}


def code_lines(function):
    """Lines without the docstring: a complete description of the arguments must not count against a function."""
    first = function.body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return function.end_lineno - function.lineno + 1 - documented * (first.end_lineno - first.lineno + 1)


def forbidden(tree):
    """Names of what no file may do, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            yield "from __future__"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {a.name for a in node.names} | {getattr(node, "module", "") or ""}
            yield from (n for n in names if n in {"pickle", "yaml", "torchvision", "pyplot", "matplotlib.pyplot"})
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in {"eval", "exec", "torch.manual_seed", "np.random.seed", "random.seed", "logging.basicConfig"}:
                yield called
            if any(k.arg == "weights_only" and ast.unparse(k.value) != "True" for k in node.keywords):
                yield "weights_only"
            if called == "torch.load" and not any(k.arg == "weights_only" for k in node.keywords):
                yield "torch.load without weights_only"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nothing_forbidden(path):
    assert not list(forbidden(tree_of(path)))


@pytest.mark.parametrize("path", [p for p in FILES if room_of(p) != "cli"], ids=name_of)
def test_libraries_never_print(path):
    calls = [ast.unparse(n.func) for n in ast.walk(tree_of(path)) if isinstance(n, ast.Call)]
    standalone = path.name == "unpickle_worker.py"  # a process of its own: its output is its answer
    assert standalone or "print" not in calls


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_module_says_what_it_is(path):
    text = path.read_text(encoding="utf-8")
    assert not text or ast.get_docstring(ast.parse(text))


def public():
    """(dotted name, thing) of every public name, each once."""
    rooms = [(room, getattr(vestige, room)) for room in vestige.__all__ if inspect.ismodule(getattr(vestige, room))]
    found = [("", vestige), *((f"{name}.", room) for name, room in rooms if hasattr(room, "__all__"))]
    pairs = [(f"{prefix}{name}", getattr(room, name)) for prefix, room in found for name in room.__all__]
    return list({id(thing): (name, thing) for name, thing in reversed(pairs) if not inspect.ismodule(thing)}.values())


@pytest.mark.parametrize(("name", "thing"), public(), ids=[name for name, _ in public()])
def test_public_names_are_documented_and_typed(name, thing):
    assert inspect.getdoc(thing), f"{name} has no docstring"
    if not inspect.isfunction(thing):
        return
    signature = inspect.signature(thing)
    assert signature.return_annotation is not inspect.Signature.empty
    untyped = [p.name for p in signature.parameters.values() if p.annotation is inspect.Parameter.empty]
    assert not untyped
    assert typing.get_type_hints(inspect.unwrap(thing)) is not None
    positional = [p for p in signature.parameters.values() if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    assert len(positional) <= 4


def test_a_docstring_is_not_code():
    function = ast.parse('def f():\n    """One.\n\n    Two.\n    """\n    return 1\n').body[0]
    assert code_lines(function) == 2


def test_the_rules_can_fail():
    bad = ast.parse(
        "from __future__ import annotations\nimport pickle\ntorch.load(f)\ntorch.load(f, weights_only=False)\neval(x)"
    )
    assert set(forbidden(bad)) == {
        "from __future__",
        "pickle",
        "torch.load without weights_only",
        "weights_only",
        "eval",
    }
    assert set(imported_modules(ast.parse("from vestige import cli\nimport vestige.report.html"))) == {
        "vestige",
        "vestige.cli",
        "vestige.report.html",
    }
