"""The rules of the house, read off the source. Each rule is one loop, and a failure lists every offender."""

import ast
import dataclasses
import importlib.util
import inspect
import typing

from house import (
    CONTRIBUTING,
    FILES,
    PACKAGE,
    REPOSITORY,
    code_lines,
    dotted,
    functions,
    imported_modules,
    name_of,
    public,
    public_functions,
    room_of,
    stub_names,
    table,
    ticked,
    tree_of,
)

import vestige
from vestige.core.choices import ChoiceEnum

GROUND = {"core", "nets", "data"}
ROOMS = {"reconstruct", "membership", "attack", "unlearning", "construct", "landscape", "convex"}
ROOMS |= {"optim", "graphs", "probe"}
DESKS = {"runs", "report"}
ALLOWED = {
    "core": set(),
    "nets": {"core"},
    "data": {"core"},
    **{room: GROUND for room in ROOMS},
    "runs": {"core"},
    "report": {"core", "runs"},
    "audit": GROUND | ROOMS | DESKS,
    "papers": GROUND | ROOMS | DESKS | {"audit"},
    "cli": GROUND | ROOMS | DESKS | {"audit", "papers"},
}
LINES, FUNCTION_LINES, RESULT_FIELDS = 350, 40, 6
# function: why it is longer than a screen. An option takes a line in a signature, and one more where it is handed on.
LONG: dict[str, str] = {
    "cli/audit.py:audit": "mostly its signature",
    "reconstruct/embeddings/from_embeddings.py:reconstruct_from_embeddings": "mostly its signature",
    "reconstruct/invariant/from_invariant.py:reconstruct_invariant": "mostly its signature, and the options handed on",
    "reconstruct/kernels/from_queries.py:reconstruct_from_queries": "mostly its signature, and the options handed on",
}
# What is still above the limits; each list can only get shorter, since a name that no longer belongs fails too.
LONG_FILES: set[str] = set()
TERMINAL = {"rich", "typer", "click"}


def listed(offenders):
    """One offender a line, for pytest to print."""
    return "\n".join(["", *map(str, offenders)])


def test_the_house_in_contributing_is_the_house_that_is_checked():
    rows = {ticked(room)[0]: set(ticked(imports)) for room, _, imports in table(CONTRIBUTING, "## The house")}
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert rows == ALLOWED
    assert folders == set(ALLOWED)
    assert f"at most {LINES} lines" in CONTRIBUTING and f"at most {FUNCTION_LINES} (docstrings" in CONTRIBUTING


def test_arrows_point_one_way():
    wrong = []
    for path in FILES:
        room, used = room_of(path), set()
        for module in imported_modules(tree_of(path)):
            assert not module.startswith("."), f"{name_of(path)}: relative imports hide the direction of an arrow"
            used |= {module.split(".")[1]} if module.startswith("vestige.") else set()
        used = {name for name in used if (PACKAGE / name).is_dir()} - {room} - ALLOWED.get(room, set(ALLOWED))
        wrong += [f"{name_of(path)} imports {name}" for name in sorted(used)]
    assert not wrong, listed(wrong)


def test_only_the_command_line_knows_a_terminal():
    wrong = []
    for path in FILES:
        if room_of(path) in ("cli", "") or path.name == "unpickle_worker.py":  # a process: its output is its answer
            continue
        calls = {ast.unparse(n.func) for n in ast.walk(tree_of(path)) if isinstance(n, ast.Call)}
        imports = {module.split(".")[0] for module in imported_modules(tree_of(path))}
        found = (calls & {"print", "input", "sys.stdout.write", "sys.stderr.write"}) | (imports & TERMINAL)
        wrong += [f"{name_of(path)}: {what}" for what in sorted(found)]
    assert not wrong, listed(wrong)


def test_files_are_short():
    here = [REPOSITORY / "tests", REPOSITORY / "benchmarks"]
    paths = [*FILES, *(path for folder in here for path in sorted(folder.rglob("*.py")))]
    sizes = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
    long = {name for name, size in sizes.items() if size > LINES or name.endswith("utils.py")}
    assert long == LONG_FILES, listed(f"{name}: {sizes[name]} lines" for name in sorted(long ^ LONG_FILES))


def test_scripts_import_what_exists():
    """At the top; what only a function imports may be an extra that is not installed."""
    folder = REPOSITORY / "benchmarks"
    beside = {path.stem for path in folder.glob("*.py")}
    wrong = [
        f"{path.name}: {name}"
        for path in sorted(folder.glob("*.py"))
        for node in tree_of(path).body
        for name in ([node.module] if isinstance(node, ast.ImportFrom) and node.module else [])
        if name not in beside and importlib.util.find_spec(name.split(".")[0]) is None
    ]
    assert not wrong, listed(wrong)


def test_functions_fit_a_screen():
    sizes = {f"{name_of(path)}:{f.name}": code_lines(f) for path in FILES for f in functions(tree_of(path))}
    long = {name for name, size in sizes.items() if size > FUNCTION_LINES}
    wrong = [f"{name}: {sizes[name]} lines" for name in sorted(long - set(LONG))]
    assert not wrong, listed(wrong)
    assert set(LONG) <= long, f"these are short now: {sorted(set(LONG) - long)}"


def forbidden(tree):
    """What no file may do."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            yield "from __future__"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {a.name for a in node.names} | {getattr(node, "module", "") or ""}
            yield from (n for n in names if n in {"pickle", "yaml", "torchvision", "random", "matplotlib.pyplot"})
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in {"eval", "exec", "torch.manual_seed", "np.random.seed", "random.seed", "logging.basicConfig"}:
                yield called
            if any(k.arg == "weights_only" and ast.unparse(k.value) != "True" for k in node.keywords):
                yield "weights_only"
            if called == "torch.load" and not any(k.arg == "weights_only" for k in node.keywords):
                yield "torch.load without weights_only"
        if isinstance(node, ast.ClassDef) and node.name != "ChoiceEnum":
            yield from (
                f"{node.name}: take ChoiceEnum"
                for base in node.bases
                if ast.unparse(base).endswith("Enum") and ast.unparse(base) != "ChoiceEnum"
            )


def test_nothing_forbidden():
    wrong = [f"{name_of(path)}: {what}" for path in FILES for what in forbidden(tree_of(path))]
    assert not wrong, listed(wrong)


def test_every_module_says_what_it_is():
    wrong = [name_of(path) for path in FILES if tree_of(path).body and not ast.get_docstring(tree_of(path))]
    assert not wrong, listed(wrong)


def test_a_public_name_stands_in_one_stub_only_and_exists():
    lines = stub_names()
    names = [name for _, name, _ in lines]
    wrong = [f"{name} stands in several stubs" for name in sorted({n for n in names if names.count(n) > 1})]
    for room, name, module in lines:
        if not hasattr(importlib.import_module(module), name):
            wrong.append(f"{room}: {module} has no {name}")
        elif getattr(importlib.import_module(room), name) is not getattr(importlib.import_module(module), name):
            wrong.append(f"{room}.{name} is something else")
    top = [node for node in tree_of(PACKAGE / "__init__.pyi").body if isinstance(node, ast.ImportFrom)]
    known = {name.rpartition(".")[2] for name in public()} | {dotted(path).rpartition(".")[2] for path in FILES}
    wrong += [f"vestige.{a.name} stands in no room" for node in top for a in node.names if a.name not in known]
    assert not wrong, listed(wrong)


def test_public_names_are_documented_and_typed():
    wrong = [f"{name} has no docstring" for name, thing in public().items() if not inspect.getdoc(thing)]
    for name, function in public_functions().items():
        signature = inspect.signature(function)
        given = signature.parameters.values()
        wrong += [f"{name}: {p.name} has no type" for p in given if p.annotation is inspect.Parameter.empty]
        if signature.return_annotation is inspect.Signature.empty:
            wrong.append(f"{name} does not say what it returns")
        if sum(p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for p in given) > 4:
            wrong.append(f"{name} takes more than 4 positional arguments")
        typing.get_type_hints(inspect.unwrap(function))
    assert not wrong, listed(wrong)


def test_results_with_many_fields_are_keyword_only():
    wrong = []
    for name, found in public().items():
        fields = [f for f in dataclasses.fields(found) if f.init] if dataclasses.is_dataclass(found) else []
        if len(fields) > RESULT_FIELDS and not all(f.kw_only for f in fields):
            wrong.append(f"{name}: {len(fields)} fields")
    assert not wrong, listed(wrong)


def classes():
    """Every class of the package, once."""
    for path in FILES:
        if path.name in ("__main__.py", "unpickle_worker.py"):  # importing them runs them
            continue
        module = importlib.import_module(dotted(path))
        yield from (c for c in vars(module).values() if inspect.isclass(c) and c.__module__ == module.__name__)


def test_every_choice_lists_what_is_allowed():
    wrong = []
    for found in classes():
        if issubclass(found, ChoiceEnum) and found is not ChoiceEnum:
            try:
                found("no such choice")
            except ValueError as error:
                wrong += [f"{found.__name__} does not name {c!s}" for c in found if str(c) not in str(error)]
            else:
                wrong.append(f"{found.__name__} takes anything")
    assert not wrong, listed(wrong)


def test_no_module_carries_the_name_of_a_public_function():
    """Importing `attack/apgd.py` would put the module in the place of the function `vg.attack.apgd`."""
    wrong = []
    for name in public_functions():
        room, _, function = name.rpartition(".")
        folder = PACKAGE.joinpath(*room.split("."))
        wrong += [f"{name_of(p)}: {name}" for p in folder.rglob("*.py") if p.stem == function]
    assert not wrong, listed(wrong)


def test_a_docstring_is_not_code():
    function = ast.parse('def f():\n    """One.\n\n    Two.\n    """\n    return 1\n').body[0]
    assert code_lines(function) == 2


def test_the_rules_can_fail():
    bad = ast.parse(
        "from __future__ import annotations\nimport pickle\ntorch.load(f)\ntorch.load(f, weights_only=False)\neval(x)\n"
        "class Color(StrEnum): pass"
    )
    assert set(forbidden(bad)) == {
        "from __future__",
        "pickle",
        "torch.load without weights_only",
        "weights_only",
        "eval",
        "Color: take ChoiceEnum",
    }
    imported = set(imported_modules(ast.parse("from vestige import cli\nimport vestige.report.html\nfrom . import x")))
    assert imported == {"vestige", "vestige.cli", "vestige.report.html", "."}
    assert table("x\n## House\nA\n\n| a | b |\n|---|---|\n| `x` | y, `z` |\n\n", "## House") == [["`x`", "y, `z`"]]
    assert ticked("y, `z`, `a b`") == ["z", "a b"]
    assert vestige.attack.apgd is public()["attack.apgd"]


def test_no_two_test_files_share_a_name():
    """There are no packages in tests: pytest imports each file by its name alone."""
    names = [path.name for path in (REPOSITORY / "tests").rglob("test_*.py")]
    assert not sorted({name for name in names if names.count(name) > 1})
