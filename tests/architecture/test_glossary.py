"""A parameter means one thing: every public signature against the glossary of CONTRIBUTING."""

import ast
import dataclasses
import inspect
import re
from pathlib import Path

from house import CONTRIBUTING, functions, public, table, ticked, tree_of

GLOSSARY = {
    name: (set(ticked(types)), set(ticked(instead)))
    for cell, _, types, instead in table(CONTRIBUTING, "## Glossary")
    for name in ticked(cell)
}
FORBIDDEN = {synonym: name for name, (_, synonyms) in GLOSSARY.items() for synonym in synonyms}
# parameter: why it keeps its own word or type.
ALLOWED: dict[str, str] = {
    "core.lp_norm(p)": "the exponent itself, a number",
    "core.project_ball(p)": "the exponent itself, a number",
    "core.project_ball(radius)": "the geometry: any ball around any center",
    "core.check_theory(x)": "or the shape of one sample, for which probes are drawn",
    "construct.narrow(x)": "where the network must agree; None for a claim about a whole ball",
    "construct.prune_to_target(x)": "where the error is measured; None for a claim about a whole ball",
    "construct.memorize_robustly(eps)": "'max' asks for the largest that the points allow",
}


def listed(offenders):
    return "\n".join(["", *offenders])


def definition(function):
    """The function's own lines, where annotations still read as they were written."""
    plain = inspect.unwrap(function)
    tree = tree_of(Path(inspect.getsourcefile(plain)))
    (found,) = (
        f
        for f in functions(tree)
        if f.name == plain.__name__
        and plain.__code__.co_firstlineno
        in range(min([f.lineno, *(d.lineno for d in f.decorator_list)]), f.body[0].lineno + 1)
    )
    return found


def signatures():
    """(name, function) of all public functions, and of the constructors of all classes that are no dataclass."""
    for name, thing in public().items():
        if inspect.isfunction(thing):
            yield name, thing
        elif inspect.isclass(thing) and not dataclasses.is_dataclass(thing) and "__init__" in vars(thing):
            yield name, vars(thing)["__init__"]


def parameters(function):
    """(name, annotation as written) of each argument."""
    arguments = definition(function).args
    return [
        (a.arg, "" if a.annotation is None else ast.unparse(a.annotation))
        for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    ]


def members(annotation):
    """The parts of a union; a tensor of any shape and kind is `Tensor`.

    Float[Tensor, 'n ...'] | None has Tensor and None.
    """
    plain = re.sub(r"\w+\[(?:torch\.)?(Tensor|np\.ndarray), '[^']*'\]", r"\1", annotation)
    tree = ast.parse(plain, mode="eval").body

    def parts(node):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return [*parts(node.left), *parts(node.right)]
        return [ast.unparse(node)]

    return parts(tree)


def test_no_synonym_stands_for_a_word_of_the_glossary():
    wrong = []
    for name, function in signatures():
        for parameter, _ in parameters(function):
            if parameter in FORBIDDEN and f"{name}({parameter})" not in ALLOWED:
                wrong.append(f"{name}({parameter}): say {FORBIDDEN[parameter]}")
    assert not wrong, listed(wrong)


def test_a_word_of_the_glossary_has_one_of_its_types():
    wrong = []
    for name, function in signatures():
        for parameter, annotation in parameters(function):
            if parameter in GLOSSARY and f"{name}({parameter})" not in ALLOWED:
                others = set(members(annotation)) - GLOSSARY[parameter][0]
                wrong += [f"{name}({parameter}): {other}" for other in sorted(others)]
    assert not wrong, listed(wrong)


def test_a_model_and_its_data_come_first_and_in_this_order():
    wrong = []
    for name, function in signatures():
        given = inspect.signature(function).parameters
        if {"model", "x", "y"} <= set(given):
            positional = [k for k, p in given.items() if p.kind is not inspect.Parameter.KEYWORD_ONLY]
            if positional not in (["model", "x", "y"], ["model", "x", "y", "forget"]):
                wrong.append(f"{name}({', '.join(positional)}, *)")
    assert not wrong, listed(wrong)


def test_only_jobs_take_a_seed():
    taken = {name for name, function in signatures() for parameter, _ in parameters(function) if parameter == "seed"}
    assert not [name for name in sorted(taken) if not name.startswith("audit.")]


def test_every_exception_is_still_needed():
    there = {f"{name}({parameter})" for name, function in signatures() for parameter, _ in parameters(function)}
    assert set(ALLOWED) <= there


def test_the_glossary_is_read():
    assert {"model", "eps", "held_out"} <= set(GLOSSARY) and FORBIDDEN["epsilon"] == "eps"
    assert "Sequence[Stage | str]" in GLOSSARY["attacks"][0]
    assert members("Float[Tensor, 'n ...'] | tuple[Float[Tensor, 't ...'], Shaped[Tensor, ' t']] | None") == [
        "Tensor",
        "tuple[Tensor, Tensor]",
        "None",
    ]
